"""LiteLLM's `Router` with `acompletion`, retries on, under a semaphore."""

import asyncio
import os

# Read at import: without it every start asks the network for a list of prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import rowfiles
from litellm import Router


async def main() -> None:
    """Ask every row, so many at once, and write the answers when all are there."""
    task = rowfiles.task()
    deployment = {
        "model_name": rowfiles.MODEL,
        "litellm_params": {
            "model": f"openai/{rowfiles.MODEL}",
            "api_base": task.url,
            "api_key": rowfiles.KEY,
        },
    }
    # There is one deployment: to cool it down would stop everything.
    router = Router(model_list=[deployment], num_retries=rowfiles.RETRIES, disable_cooldowns=True)
    slots = asyncio.Semaphore(task.concurrency)

    async def ask(row: dict[str, str]) -> str | None:
        async with slots:
            reply = await router.acompletion(model=rowfiles.MODEL, messages=rowfiles.messages(row))
        content: str | None = reply.choices[0].message.content
        return content

    answers = await asyncio.gather(*map(ask, task.rows), return_exceptions=True)
    rowfiles.write(task, answers)


if __name__ == "__main__":
    asyncio.run(main())
