"""Several jobs of one process by the library; says which they are and when each ended, as JSON.

Arguments: the endpoint, the home, then the inputs.
"""

import asyncio
import json
import sys
import time

import nightkiln as nk


async def main(url: str, home: str, sources: list[str]) -> list[tuple[str, float]]:
    """All of them at once."""
    began = time.monotonic()

    async def one(client: nk.AsyncClient, source: str) -> tuple[str, float]:
        job = await client.infer(source, column="text", model="stub", endpoint=url)
        await client.job(job).over()
        return job, time.monotonic() - began

    async with nk.AsyncClient(home=home) as client:
        return await asyncio.gather(*(one(client, source) for source in sources))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))))
