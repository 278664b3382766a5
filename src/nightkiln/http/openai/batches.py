"""/v1/batches: made from a file, looked at, listed, cancelled; and their lines while they run."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from nightkiln.core.batches import BatchId, BatchStatus, Dialect
from nightkiln.core.errors import NotFound, QuotaError
from nightkiln.core.files import FileId
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.errors import Refuse
from nightkiln.http.openai.described import (
    BATCH,
    BATCH_BODY,
    BATCH_LINES,
    BATCH_LIST,
    BATCHES_PAGE,
    LINES,
    MOST_ROWS,
)
from nightkiln.http.openai.shaping import batch_object, good, page_object
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.service import batchrecords, files, wirebatches, wirelines
from nightkiln.service.wirebatches import NewBatch, Shown
from nightkiln.store.paging import Page
from nightkiln.wire.openai import fields, orders
from nightkiln.wire.openai.creation import CreateBatch, read_creation
from nightkiln.wire.openai.objects import Batch
from nightkiln.wire.openai.refusals import Refusal, no_such_batch, not_cancellable
from nightkiln.wire.openai.repeats import Asked, key_of, retries_of

router: Final = APIRouter(tags=["OpenAI: batches"])
_CANCELS: Final = (BatchStatus.CANCELLING, BatchStatus.CANCELLED)
_LINES: Final = "application/jsonl"


@router.post("/batches", openapi_extra=BATCH_BODY, responses=BATCH)
async def create_batch(request: Request, caller: Writer, parts: Serving) -> Response:
    """Make a batch; a create that is sent again is the same batch."""
    now = parts.clock()
    windows = parts.settings.completion_windows
    wanted = good(read_creation(await request.body(), now=now, windows=windows))
    asked = Asked(
        caller=caller.name,
        digest=wanted.digest,
        key=good(key_of(request.headers, wanted.idempotency_key)),
        retries=retries_of(request.headers),
        at=now,
    )
    batch = good(await batchrecords.repeated(caller.context, asked))
    if batch is None:
        lines = await _lines_of(caller, FileId(wanted.input_file_id))
        new = _new_batch(caller, wanted, asked, lines=lines)
        try:
            made = await wirebatches.create(caller.context, new, parts.models, caller.may_ask)
            batch = good(made)
        except QuotaError as error:
            raise _past_caps(error) from error
        _wake(parts)
    return json_answer(await _shown(caller, batch.id))


def _new_batch(caller: Caller, wanted: CreateBatch, asked: Asked, *, lines: int) -> NewBatch:
    priority = wanted.settings.priority
    return NewBatch(
        endpoint=wanted.endpoint,
        window=wanted.completion_window,
        expires_at=wanted.expires_at(asked.at),
        input_file=FileId(wanted.input_file_id),
        metadata=wanted.metadata,
        outputs_live_s=wanted.output_expires_after_s,
        priority=1 if priority is None else priority,
        budget_usd=wanted.settings.budget_usd,
        route=wanted.settings.route,
        asked=asked,
        key=caller.key.id,
        lines=lines,
    )


def _past_caps(error: QuotaError) -> Refuse:
    """The refusal of what is past the caps of a key; sending it again is no use."""
    return Refuse(
        Refusal(
            status=429,
            message=f"{error.message[:1].upper()}{error.message[1:]}.",
            type="insufficient_quota",
            code="insufficient_quota",
            retry=False,
        )
    )


async def _lines_of(caller: Caller, file: FileId) -> int:
    """The lines of a file, for a key whose rows are capped; none where there is no file.

    That shows in the batch, and so does what is wrong with the lines.
    """
    if caller.key.caps.rows is None:
        return 0
    try:
        opened = await files.open_file(caller.context, file)
    except NotFound:
        return 0
    async with opened:
        lines, last = 0, b"\n"
        async for piece in opened.pieces():
            lines, last = lines + piece.count(b"\n"), piece[-1:]
    return lines + (last != b"\n")


@router.get("/batches", openapi_extra=BATCH_LIST, responses=BATCHES_PAGE)
async def list_batches(request: Request, caller: Reader, parts: Serving) -> Response:
    """List batches, the newest first."""
    asked = good(orders.read_listing(request.query_params, orders.BATCHES))
    page = Page(limit=min(asked.limit, parts.settings.page_limit), after=asked.after)
    try:
        found, more = await wirebatches.pages(caller.context, page, Dialect.OPENAI)
    except NotFound as error:
        raise Refuse(no_such_batch(asked.after or "")) from error
    there = [batch for one in found if (batch := batch_object(one)) is not None]
    return json_answer(page_object(there, more=more))


@router.get("/batches/{batch_id}", responses=BATCH)
async def get_batch(batch_id: str, caller: Reader) -> Response:
    """Describe a batch."""
    return json_answer(await _shown(caller, batch_id))


@router.post("/batches/{batch_id}/cancel", responses=BATCH)
async def cancel_batch(batch_id: str, caller: Writer, parts: Serving) -> Response:
    """Cancel a batch. What has an answer by then is in its files."""
    try:
        shown = await wirebatches.cancel(caller.context, BatchId(batch_id), Dialect.OPENAI)
    except NotFound as error:
        raise Refuse(no_such_batch(batch_id)) from error
    _wake(parts)
    batch = _there(batch_id, shown)
    if batch.status not in _CANCELS:
        raise Refuse(not_cancellable(batch.status))
    return json_answer(batch)


@router.get("/batches/{batch_id}/lines", openapi_extra=BATCH_LINES, responses=LINES)
async def get_lines(batch_id: str, request: Request, caller: Reader) -> Response:
    """The lines of a batch so far, replies and failures in the order of the input.

    `after` is how many of them the caller has. No part of OpenAI's API.
    """
    after = fields.whole(request.query_params, "after", least=0, most=MOST_ROWS)
    try:
        lines = await wirelines.lines(caller.context, BatchId(batch_id), after=after or 0)
    except NotFound as error:
        raise Refuse(no_such_batch(batch_id)) from error
    return StreamingResponse(lines, media_type=_LINES)


async def _shown(caller: Caller, batch_id: str) -> Batch:
    try:
        shown = await wirebatches.show(caller.context, BatchId(batch_id), Dialect.OPENAI)
    except NotFound as error:
        raise Refuse(no_such_batch(batch_id)) from error
    return _there(batch_id, shown)


def _there(batch_id: str, shown: Shown) -> Batch:
    """The batch as it is shown. Raises Refuse while it is being deleted."""
    batch = batch_object(shown)
    if batch is None:
        raise Refuse(no_such_batch(batch_id))
    return batch


def _wake(parts: Parts) -> None:
    if parts.roster is not None:
        parts.roster.wake()
