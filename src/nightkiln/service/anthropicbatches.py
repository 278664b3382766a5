"""Anthropic's batches of messages, over jobs of ours.

The document that asks for one has been spooled. It is split into lines of our own
batch kind: each holds the chat that a request translates to, and what translating
the answer back will need. A request that cannot be said, or whose model this batch
does not ask, keeps its place as a line with the reason: it ends as `errored`, and
nobody is asked. One batch asks one model at one place; requests may call it by any of
its names.
"""

import asyncio
import contextlib
import mmap
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from nightkiln.core.batches import Batch, BatchId, BatchStatus, Dialect
from nightkiln.core.errors import InputError, NotFound
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.job import BatchHead, Job, JobState, Label, SourceSpec, Task, Wanted
from nightkiln.service import deletion
from nightkiln.service.answering import Allow, Models, Served
from nightkiln.service.context import Context
from nightkiln.service.results import published
from nightkiln.service.wirebatches import (
    Shown,
    new_job,
    record,
    repeated,
    show,
    with_source,
)
from nightkiln.store import batches, jobs
from nightkiln.tables.batch_in import BATCH, ID
from nightkiln.tables.batch_out import BatchWriter
from nightkiln.tables.pieces import bounded
from nightkiln.vault.arrivals import Sealed
from nightkiln.vault.durable import disk_errors, fsync_dir
from nightkiln.vault.parts import PartWriter
from nightkiln.wire.anthropic import batch as wire
from nightkiln.wire.anthropic.create import Created, Entry, read_create
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.params import model_of, shows_thinking, translate
from nightkiln.wire.anthropic.results import result_line
from nightkiln.wire.anthropic.rules import Rules
from nightkiln.wire.batchlines import Outcome
from nightkiln.wire.openai.refusals import Refusal as KeyTaken
from nightkiln.wire.openai.repeats import Asked

URL: Final = "/v1/chat/completions"
_NAME: Final = "messages.jsonl"
_PIECE_BYTES: Final = 1 << 20
_encode: Final = msgspec.json.Encoder().encode


class NewMessages(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of messages that is asked for."""

    rules: Rules
    expires_at: float
    priority: int = 1
    key: str = ""  # the id of the API key it came with
    asked: Asked  # its digest is of the document and the version


class _About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line keeps for its answer."""

    model: str = ""
    thinking: bool = False


class _Why(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as a line of our own batch kind."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw
    asked: _About
    refused: _Why | None = None


# -- making one


async def create(
    context: Context, document: Sealed, new: NewMessages, models: Models, allow: Allow
) -> Batch | Refusal:
    """The batch that a document asks for, or the one that it repeats; the document goes.

    Whoever runs jobs has to be woken afterwards. Raises DiskError.
    """
    try:
        known = await repeated(context, new.asked)
        if known is not None:
            return _said(known)
        splitting = _Splitting(new.rules, models, allow)
        lines = context.home.spool / context.new_job_id()
        made = await asyncio.to_thread(_split, document.path, lines, splitting)
    finally:
        await asyncio.to_thread(document.path.unlink, missing_ok=True)
    if isinstance(made, Refusal):
        return made
    source = _source(made)
    label = Label(name=_NAME, priority=new.priority, key=new.key)
    job = new_job(context, source, splitting.chosen, label)
    placed = await asyncio.to_thread(_placed, context, job)
    batch = Batch(
        id=BatchId(wire.batch_id(job.id)),
        project=context.project,
        dialect=Dialect.ANTHROPIC,
        job=job.id,
        endpoint=URL,
        created_at=job.created_at,
        expires_at=new.expires_at,
        caller=new.asked.caller,
        digest=new.asked.digest,
        idempotency_key=new.asked.key,
        rows=splitting.count,
    )
    order = None if splitting.chosen is None else splitting.chosen.order
    return _said(await record(context, new.asked, batch, job=placed, order=order))


def _said(known: Batch | KeyTaken) -> Batch | Refusal:
    """A batch, or a refusal in Anthropic's words."""
    if isinstance(known, Batch):
        return known
    return Refusal(status=known.status, message=known.message)


def _source(lines: Sealed) -> SourceSpec:
    return SourceSpec(
        kind=BATCH,
        path=str(lines.path),
        name=_NAME,
        size_bytes=lines.size_bytes,
        sha256=lines.sha256,
        spooled=True,
        id_column=ID,
        batch=BatchHead(url=URL, translated=True),
    )


def _placed(context: Context, job: Job) -> Job:
    """The job's folders, with the lines moved in. Blocking. Raises DiskError."""
    found = context.files(job.id)
    with disk_errors("making the job's folders"):
        found.make()
        Path(job.spec.source.path).rename(found.source)
        fsync_dir(found.root)
    return with_source(context, job)


class _Splitting:
    """Makes lines of requests, and finds out which model they ask."""

    def __init__(self, rules: Rules, models: Models, allow: Allow) -> None:
        self.chosen: Served | None = None  # by the first request that names one
        self.count = 0
        self._rules = rules
        self._models = models
        self._allow = allow
        self._known: dict[str, Served | None] = {}

    def line(self, entry: Entry) -> bytes:
        """A request as a line."""
        self.count += 1
        model = model_of(entry.params)
        refusal = self._refusal(model)
        body = refusal or translate(entry.params, rules_for(self._rules, self._known.get(model)))
        why = _Why(body.code, body.message) if isinstance(body, Fault) else None
        line = _Line(
            custom_id=entry.custom_id,
            method="POST",
            url=URL,
            body=msgspec.Raw(b"{}" if isinstance(body, Fault) else body.json),
            asked=_About(model=model, thinking=shows_thinking(entry.params)),
            refused=why,
        )
        return _encode(line) + b"\n"

    def _refusal(self, model: str) -> Fault | None:
        """Why this batch does not ask this model; None where it does, or none can be read."""
        if not model:
            return None
        served = self._served(model)
        if served is None:
            return _fault("model_not_found", f"model: {model[:100]} is not served here")
        self.chosen = self.chosen or served
        if served.place == self.chosen.place:
            return None
        return _fault(
            "model_mismatch",
            f"model: the requests before ask {self.chosen.model}, and a batch here asks one"
            " model; put this request into another batch",
        )

    def _served(self, model: str) -> Served | None:
        if model not in self._known:
            found = self._models.served(model, Task.CHAT)
            self._known[model] = found if found and self._allow(URL, model) else None
        return self._known[model]


def rules_for(rules: Rules, served: Served | None) -> Rules:
    """The rules where a model's backends can be told what they can be told."""
    if served is None:
        return rules
    return msgspec.structs.replace(rules, thinking=served.thinking, prefill=served.prefill)


def _fault(code: str, message: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=message)


def _split(document: Path, lines: Path, splitting: _Splitting) -> Sealed | Refusal:
    """Write a document's requests as lines, durably. Blocking. Raises DiskError."""
    with document.open("rb") as data:
        if not document.stat().st_size:
            created = read_create(b"")
        else:
            # Its requests are views into the map, which goes when the last of them does.
            created = read_create(memoryview(mmap.mmap(data.fileno(), 0, prot=mmap.PROT_READ)))
    if isinstance(created, Refusal):
        return created
    is_whole = False
    try:
        sealed = _written(created, lines, splitting.line)
        is_whole = True
    finally:
        if not is_whole:
            lines.unlink(missing_ok=True)
    return sealed


def _written(created: Created, lines: Path, line: Callable[[Entry], bytes]) -> Sealed:
    with disk_errors("writing the requests of a batch"), lines.open("xb") as out:
        hashing = PartWriter(out)
        for entry in created.requests:
            hashing.write(line(entry))
        out.flush()
        os.fsync(out.fileno())
    return Sealed(path=lines, size_bytes=hashing.size, sha256=hashing.digest.hexdigest())


# -- looking


def object_of(shown: Shown) -> wire.Batch:
    """What Anthropic's wire says of a batch."""
    batch, job = shown.batch, shown.job
    name = batch.job or JobId("")
    status = wire.Status.IN_PROGRESS
    counts = wire.counts_so_far((job.rows if job is not None else 0) or batch.rows)
    asked = job is not None and (job.wanted is Wanted.CANCEL or job.state is JobState.CANCELLING)
    if batch.ended_at is not None:
        status = wire.Status.ENDED
        counts = wire.counts_at_end(batch.rows, batch.totals, rest=_rest(batch))
    elif asked or batch.moments.cancelling_at is not None:
        status = wire.Status.CANCELING
    return wire.Batch(
        job=name,
        status=status,
        counts=counts,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        ended_at=batch.ended_at,
        cancel_initiated_at=batch.moments.cancelling_at,
    )


def _rest(batch: Batch) -> FaultClass:
    """What became of requests that were never answered."""
    ends = {BatchStatus.EXPIRED: FaultClass.EXPIRED, BatchStatus.FAILED: FaultClass.LOCAL}
    end = batch.moments.end
    return FaultClass.CANCELLED if end is None else ends.get(end, FaultClass.CANCELLED)


# -- the results


async def result_lines(context: Context, shown: Shown) -> AsyncGenerator[bytes, None]:
    """The results of a batch that ended, as pieces of lines in the order of its requests.

    Raises NotFound before, and when its job has been deleted.
    """
    batch = shown.batch
    job = None
    if batch.ended_at is not None and batch.job is not None:
        name = batch.job
        job = await context.store.read(lambda tx: jobs.find(tx, name))
    if job is None:
        raise NotFound(f"no results of batch {batch.id}")
    lines = _never_read(job, _rest(batch))
    if job.rows:
        lines = _results(job, await published(context, job, batch.generation))
    gathered = _gathered(lines)
    while piece := await asyncio.to_thread(next, gathered, b""):
        yield piece


def _gathered(lines: Iterator[bytes]) -> Iterator[bytes]:
    held, size = [], 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


class _Asked(msgspec.Struct):
    custom_id: str = ""
    asked: _About = _About()


_decode: Final = msgspec.json.Decoder(_Asked).decode


def _results(job: Job, pieces: Iterator[tuple[pa.Table, pa.Table]]) -> Iterator[bytes]:
    writer = BatchWriter(job.id, job.spec.task)
    for inputs, part in bounded(pieces):
        for row, line, outcome in writer.outcomes(inputs, part):
            about = _about(line)
            yield _result(job, row, outcome, about)


def _about(line: str | None) -> _About:
    try:
        return _decode(line or "{}").asked
    except msgspec.DecodeError:  # a line that was too long to be read is bad, and has no asked
        return _About()


def _result(job: Job, row: int, outcome: Outcome, about: _About) -> bytes:
    said = outcome.message
    if outcome.status is None:  # of a bad row, whose place in our own lines means nothing
        said = said.removeprefix(f"line {row + 1}: ")
    named = msgspec.structs.replace(outcome, id=wire.message_id(job.id, row), message=said)
    return result_line(named, model=about.model, thinking=about.thinking)


def _never_read(job: Job, rest: FaultClass) -> Iterator[bytes]:
    """The results of a batch that ended before its lines were read."""
    with Path(job.spec.source.path).open("rb") as lines:
        for row, line in enumerate(lines):
            found = _decode(line)
            outcome = Outcome(id="", custom_id=found.custom_id, fault=rest)
            yield _result(job, row, outcome, found.asked)


async def delete(context: Context, batch: BatchId) -> None:
    """Remove a batch that is over, with its results. Raises NotFound, InputError, HomeBusy."""
    shown = await show(context, batch, Dialect.ANTHROPIC)
    if shown.batch.ended_at is None:
        raise InputError(f"the batch {batch} is in progress", reason="batch_in_progress")
    if shown.batch.job is not None:
        with contextlib.suppress(NotFound):  # somebody deleted the job itself
            await deletion.delete(context, shown.batch.job)
    await context.store.write(lambda tx: batches.remove(tx, batch, project=context.project))
