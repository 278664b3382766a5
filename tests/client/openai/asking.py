"""How tests ask with either of OpenAI's clients, whichever release is installed.

What only some releases have is asked for by the fields of the wire (`extra_body`).
"""

import asyncio
import inspect
import io
import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from openai import AsyncOpenAI, OpenAI
from tests.scenario.place import DEADLINE_S

Client: TypeAlias = OpenAI | AsyncOpenAI
ENDS = ("completed", "failed", "cancelled", "expired")
CHAT: Any = "/v1/chat/completions"  # clients differ in what they call its type
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Say {row}"}]},
    "/v1/completions": {"prompt": "Say {row}"},
    "/v1/embeddings": {"input": "Say {row}"},
    "/v1/responses": {"input": "Say {row}"},
}


async def got(asked: Any) -> Any:
    """What a call of either client gives."""
    return await asked if inspect.isawaitable(asked) else asked


async def everything(page: Any) -> list[Any]:
    """All objects of a list, page by page."""
    page = await got(page)
    if hasattr(page, "__aiter__"):
        return [one async for one in page]
    return list(page)


async def text_of(client: Client, file: str) -> str:
    content = await got(client.files.content(file))
    return str(content.text)


def lines_of(rows: int, endpoint: str = CHAT, model: str = "m") -> bytes:
    body = {"model": model, **BODIES[endpoint]}
    made = [
        {"custom_id": f"r{row}", "method": "POST", "url": endpoint, "body": body}
        for row in range(rows)
    ]
    return b"".join(
        json.dumps(one).replace("{row}", str(row)).encode() + b"\n" for row, one in enumerate(made)
    )


async def uploaded(client: Client, lines: bytes, name: str = "in.jsonl") -> Any:
    return await got(client.files.create(file=(name, io.BytesIO(lines)), purpose="batch"))


async def asked(client: Client, lines: bytes, endpoint: Any = CHAT, **more: Any) -> Any:
    file = await uploaded(client, lines)
    return await got(
        client.batches.create(
            input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
        )
    )


async def once(client: Client, batch: Any, *states: str) -> Any:
    """The batch as soon as it has one of these states, or is over."""
    deadline = time.monotonic() + DEADLINE_S
    while batch.status not in (*states, *ENDS):
        assert time.monotonic() < deadline, f"the batch is still {batch.status}"
        tick = 0.05
        await asyncio.sleep(tick)
        batch = await got(client.batches.retrieve(batch.id))
    return batch


async def fails(kind: type[Exception], asking: Callable[[], Any]) -> Any:
    """The error that a call ends with."""

    async def call() -> None:
        await got(asking())

    with pytest.raises(kind) as failed:
        await call()
    return failed.value
