"""`AsyncOpenAI` with a semaphore and `asyncio.gather`: what most teams write first.

The drivers that tune its HTTP client call `run` with a client of their own.
"""

import asyncio

import rowfiles
from openai import AsyncOpenAI


async def run(task: rowfiles.Task, client: AsyncOpenAI) -> None:
    """Ask every row, so many at once, and write the answers when all are there."""
    slots = asyncio.Semaphore(task.concurrency)

    async def ask(row: dict[str, str]) -> str | None:
        async with slots:
            reply = await client.chat.completions.create(
                model=rowfiles.MODEL, messages=rowfiles.messages(row)
            )
        return reply.choices[0].message.content

    async with client:
        answers = await asyncio.gather(*map(ask, task.rows), return_exceptions=True)
    rowfiles.write(task, answers)


async def main() -> None:
    """Ask every row with the client as it comes."""
    task = rowfiles.task()
    client = AsyncOpenAI(base_url=task.url, api_key=rowfiles.KEY, max_retries=rowfiles.RETRIES)
    await run(task, client)


if __name__ == "__main__":
    asyncio.run(main())
