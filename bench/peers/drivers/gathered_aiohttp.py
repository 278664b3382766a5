"""`AsyncOpenAI` over its optional aiohttp client, on uvloop: its fastest documented way."""

import gathered
import rowfiles
import uvloop
from openai import AsyncOpenAI, DefaultAioHttpClient


async def main() -> None:
    """Ask every row."""
    task = rowfiles.task()
    client = AsyncOpenAI(
        base_url=task.url,
        api_key=rowfiles.KEY,
        max_retries=rowfiles.RETRIES,
        http_client=DefaultAioHttpClient(),
    )
    await gathered.run(task, client)


if __name__ == "__main__":
    uvloop.run(main())
