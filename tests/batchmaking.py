"""Batches made the way a route makes them, for tests of what is under the routes."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from nightkiln.app.servedmodels import ServedModels
from nightkiln.config import Settings, Source, file_layer, flag_layer, parse
from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.files import FileId, Purpose, StoredFile
from nightkiln.core.ids import ProjectId
from nightkiln.service import files, wirebatches
from nightkiln.service.answering import Models
from nightkiln.service.context import Context
from nightkiln.service.files import NewFile
from nightkiln.service.wirebatches import NewBatch, Shown
from nightkiln.store.keys import ensure_project
from nightkiln.wire.openai.refusals import Refusal
from nightkiln.wire.openai.repeats import Asked
from nightkiln.wire.openai.status import batch_of

URL = "/v1/chat/completions"
DEADLINE_S = 90.0
DAY_S = 86_400.0
MOST = 1 << 30


def settings_for(url: str, *models: str, **more: Any) -> Settings:
    """Settings in which one endpoint lists these models."""
    said = {"endpoints": {"sim": {"url": url, "models": list(models or ("m",))}}, **more}
    layer = file_layer(said, file="nightkiln.toml", folder=Path("/p"), is_user=False)
    return parse([layer], {"HOME": "/h"}, flag_layer({}, folder=Path("/p"), source=Source.FLAG))


def line(number: int, *, model: str = "m", **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": f"line {number}"}]}
    return {"custom_id": f"c-{number}", "method": "POST", "url": URL, "body": body, **more}


def text_of(lines: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def pieces_of(data: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def uploaded(context: Context, data: bytes, *, name: str = "in.jsonl") -> StoredFile:
    new = NewFile(name=name, purpose=Purpose.BATCH)
    return await files.receive(context, new, pieces_of(data), most=MOST)


async def read(context: Context, file: str) -> bytes:
    async with await files.open_file(context, FileId(file)) as found:
        return b"".join([piece async for piece in found.pieces()])


def asked(context: Context, what: str, **more: Any) -> Asked:
    digest = hashlib.sha256(what.encode()).hexdigest()
    return Asked(caller="default/k", digest=digest, at=context.clock(), **more)


async def created(
    context: Context,
    file: StoredFile | str,
    models: Models | None = None,
    *,
    may: Callable[[str, str], bool] = lambda _url, _model: True,
    retries: int | None = 0,
    live_s: float = DAY_S,
    **more: Any,
) -> Batch:
    """A batch over a file."""
    name = file if isinstance(file, str) else file.id
    new = NewBatch(
        endpoint=URL,
        window="24h",
        expires_at=context.clock() + live_s,
        input_file=FileId(name),
        asked=asked(context, name, retries=retries),
        **more,
    )
    found = await wirebatches.create(context, new, models or served(), may)
    assert not isinstance(found, Refusal), found
    return found


def served(url: str = "http://127.0.0.1:9/v1", *names: str) -> ServedModels:
    return ServedModels(settings_for(url, *names))


async def shown(context: Context, batch: Batch | BatchId | str) -> Shown:
    name = batch.id if isinstance(batch, Batch) else BatchId(batch)
    return await wirebatches.show(context, name, Dialect.OPENAI)


async def object_of(context: Context, batch: Batch) -> Any:
    """The batch as OpenAI's clients read it."""
    return batch_of(wirebatches.view_of(await shown(context, batch)))


async def ended(context: Context, batch: Batch) -> Any:
    """The batch as OpenAI's clients read it, once it is over."""
    async with asyncio.timeout(DEADLINE_S):
        while (await shown(context, batch)).batch.ended_at is None:
            await asyncio.sleep(0.02)
    return await object_of(context, batch)


async def with_project(context: Context, name: str) -> Context:
    project = ProjectId(name)
    await context.store.write(lambda tx: ensure_project(tx, project, now=0.0))
    return context.of(project)


def replies(data: bytes) -> list[Any]:
    return [json.loads(one) for one in data.splitlines()]
