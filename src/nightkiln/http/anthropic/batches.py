"""/v1/messages/batches: made from one document, looked at, listed, cancelled, deleted, read.

The document goes to the spool as it comes and is never in memory; results come from
the parts of the job, a piece at a time.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nightkiln.core.batches import BatchId, Dialect
from nightkiln.core.errors import InputError, NotFound
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_bytes
from nightkiln.http.anthropic.asking import Versioned, good, refused, rules_of
from nightkiln.http.anthropic.described import (
    BATCH,
    BATCH_BODY,
    BATCH_DELETED,
    BATCHES_PAGE,
    RESULTS,
    VERSIONED,
)
from nightkiln.http.anthropic.streaming import LinesAnswer
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.service import anthropicbatches, files, wirebatches
from nightkiln.service.anthropicbatches import NewMessages, object_of
from nightkiln.service.anthropicresults import result_lines
from nightkiln.service.wirebatches import Shown
from nightkiln.store.paging import Page
from nightkiln.vault.arrivals import Sealed
from nightkiln.wire.anthropic import batch as wire
from nightkiln.wire.anthropic.rules import Version
from nightkiln.wire.openai.repeats import Asked, key_of, retries_of

router: Final = APIRouter(tags=["Anthropic: message batches"])
_BAD: Final = 400
_MISSING: Final = 404
_MOST: Final = 1000  # batches of a page
_USUAL: Final = 20
_IN_PROGRESS: Final = "batch_in_progress"
_Mark = Annotated[str | None, Query(max_length=200)]


@router.post("/messages/batches", openapi_extra=BATCH_BODY, responses=BATCH)
async def create_batch(
    request: Request, caller: Writer, parts: Serving, version: Versioned
) -> Response:
    """Make a batch; a create that is sent again is the same batch."""
    key = good(key_of(request.headers, None))
    async with _received(request, caller, parts) as document:
        asked = Asked(
            caller=caller.name,
            digest=_digest(document, version),
            key=key,
            retries=retries_of(request.headers),
            at=parts.clock(),
        )
        new = NewMessages(
            rules=rules_of(version, parts),
            expires_at=asked.at + wire.WINDOW_S,
            key=caller.key.id,
            asked=asked,
        )
        made = await anthropicbatches.create(
            caller.context, document, new, parts.models, caller.may_ask
        )
    _wake(parts)
    return _object(await _shown(caller, good(made).id))


@asynccontextmanager
async def _received(request: Request, caller: Caller, parts: Parts) -> AsyncIterator[Sealed]:
    """The body in the spool, for as long as it is looked at."""
    most = parts.settings.max_batch_body_bytes
    async with files.begin(caller.context, most=most) as incoming:
        async for piece in request.stream():
            await incoming.append(piece)
        document = await incoming.seal()
    try:
        yield document
    finally:
        await asyncio.to_thread(document.path.unlink, missing_ok=True)


def _digest(document: Sealed, version: Version) -> str:
    """What tells one create from another: the document, and by what rules it is read."""
    return hashlib.sha256(f"anthropic {version} {document.sha256}".encode()).hexdigest()


@router.get("/messages/batches", openapi_extra=VERSIONED, responses=BATCHES_PAGE)
async def list_batches(
    caller: Reader,
    parts: Serving,
    _: Versioned,
    *,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = _USUAL,
    before_id: _Mark = None,
    after_id: _Mark = None,
) -> Response:
    """List batches, the newest first. `after_id` gives older ones, `before_id` newer ones."""
    if before_id and after_id:
        raise refused(_BAD, "before_id and after_id cannot be given both")
    page = Page(
        limit=min(limit, parts.settings.page_limit),
        after=after_id or None,
        before=before_id or None,
    )
    try:
        found, more = await wirebatches.pages(caller.context, page, Dialect.ANTHROPIC)
    except NotFound as error:
        raise _no_such(before_id or after_id or "") from error
    return json_bytes(wire.batch_page([object_of(one) for one in found], has_more=more))


@router.get("/messages/batches/{batch_id}", openapi_extra=VERSIONED, responses=BATCH)
async def get_batch(batch_id: str, caller: Reader, _: Versioned) -> Response:
    """Describe a batch."""
    return _object(await _shown(caller, batch_id))


@router.post("/messages/batches/{batch_id}/cancel", openapi_extra=VERSIONED, responses=BATCH)
async def cancel_batch(batch_id: str, caller: Writer, parts: Serving, _: Versioned) -> Response:
    """Cancel a batch. What has an answer by then keeps it; a batch that has ended stays so."""
    try:
        shown = await wirebatches.cancel(caller.context, BatchId(batch_id), Dialect.ANTHROPIC)
    except NotFound as error:
        raise _no_such(batch_id) from error
    _wake(parts)
    return _object(shown)


@router.delete("/messages/batches/{batch_id}", openapi_extra=VERSIONED, responses=BATCH_DELETED)
async def delete_batch(batch_id: str, caller: Writer, _: Versioned) -> Response:
    """Delete a batch that has ended, and its results."""
    shown = await _shown(caller, batch_id)
    try:
        await anthropicbatches.delete(caller.context, BatchId(batch_id))
    except NotFound as error:
        raise _no_such(batch_id) from error
    except InputError as error:
        if error.reason != _IN_PROGRESS:
            raise
        message = f"Batch {batch_id} is in progress; cancel it, or wait until it has ended."
        raise refused(_BAD, message) from error
    return json_bytes(wire.deleted_object(object_of(shown).job))


@router.get("/messages/batches/{batch_id}/results", openapi_extra=VERSIONED, responses=RESULTS)
async def get_results(batch_id: str, caller: Reader, _: Versioned) -> Response:
    """The results of a batch that has ended, a line each, in the order of its requests."""
    shown = await _shown(caller, batch_id)
    if shown.batch.ended_at is None:
        raise refused(_MISSING, f"Batch {batch_id} has no results before it has ended.")
    lines = result_lines(caller.context, shown)
    return await LinesAnswer.of(lines)


async def _shown(caller: Caller, batch_id: str) -> Shown:
    try:
        return await wirebatches.show(caller.context, BatchId(batch_id), Dialect.ANTHROPIC)
    except NotFound as error:
        raise _no_such(batch_id) from error


def _object(shown: Shown) -> Response:
    return json_bytes(wire.batch_object(object_of(shown)))


def _no_such(batch_id: str) -> Exception:
    return refused(_MISSING, f"Batch {batch_id[:100]} was not found.")


def _wake(parts: Parts) -> None:
    if parts.roster is not None:
        parts.roster.wake()
