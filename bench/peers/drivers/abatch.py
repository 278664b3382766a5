"""LangChain's `ChatOpenAI.abatch` with `max_concurrency`."""

import asyncio

import rowfiles
from langchain_openai import ChatOpenAI


async def main() -> None:
    """Ask every row, so many at once, and write the answers when all are there."""
    task = rowfiles.task()
    model = ChatOpenAI(
        model=rowfiles.MODEL,
        base_url=task.url,
        api_key=rowfiles.KEY,
        max_retries=rowfiles.RETRIES,
    )
    replies = await model.abatch(
        [row["text"] for row in task.rows],
        config={"max_concurrency": task.concurrency},
        return_exceptions=True,
    )
    rowfiles.write(task, (getattr(reply, "content", None) for reply in replies))


if __name__ == "__main__":
    asyncio.run(main())
