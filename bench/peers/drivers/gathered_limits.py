"""`AsyncOpenAI` over a pool that keeps exactly as many connections as it uses, on uvloop."""

import gathered
import httpx2
import rowfiles
import uvloop
from openai import AsyncOpenAI, DefaultAsyncHttpxClient


async def main() -> None:
    """Ask every row."""
    task = rowfiles.task()
    limits = httpx2.Limits(
        max_connections=task.concurrency, max_keepalive_connections=task.concurrency
    )
    client = AsyncOpenAI(
        base_url=task.url,
        api_key=rowfiles.KEY,
        max_retries=rowfiles.RETRIES,
        http_client=DefaultAsyncHttpxClient(limits=limits),
    )
    await gathered.run(task, client)


if __name__ == "__main__":
    uvloop.run(main())
