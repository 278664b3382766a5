"""The results of Anthropic's batches: what was answered, translated back, a line each.

They come in the order of the requests, also where these asked several models and so
were several jobs.
"""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from nightkiln.core.batches import Batch, BatchStatus, Dialect
from nightkiln.core.errors import NotFound
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job
from nightkiln.service.anthropicsplitting import About
from nightkiln.service.context import Context
from nightkiln.service.results import published
from nightkiln.service.wirebatches import Shown
from nightkiln.store import batches, jobs
from nightkiln.store.tx import Tx
from nightkiln.tables.batch_out import BatchWriter
from nightkiln.tables.pieces import bounded
from nightkiln.wire.anthropic import batch as wire
from nightkiln.wire.anthropic.results import result_line
from nightkiln.wire.batchlines import Outcome

_PIECE_BYTES: Final = 1 << 20
_Placed = tuple[int, bytes]  # a result, and the place of its request in the document


async def result_lines(context: Context, shown: Shown) -> AsyncGenerator[bytes, None]:
    """The results of a batch that ended, as pieces of lines in the order of its requests.

    Raises NotFound before, and when a job of it has been deleted.
    """
    if shown.batch.ended_at is None:
        raise NotFound(f"no results of batch {shown.batch.id}")
    found = await context.store.read(lambda tx: _jobs_of(tx, shown.batch))
    lines = [await _lines_of(context, batch, job) for batch, job in found]
    gathered = _gathered(lines[0] if len(lines) == 1 else heapq.merge(*lines, key=_place))
    while piece := await asyncio.to_thread(next, gathered, b""):
        yield piece


async def _jobs_of(tx: Tx, batch: Batch) -> list[tuple[Batch, Job]]:
    found = []
    for one in await parts_of(tx, batch) if batch.parts else [batch]:
        job = None if one.job is None else await jobs.find(tx, one.job)
        if job is None:
            raise NotFound(f"no results of batch {batch.id}")
        found.append((one, job))
    return found


async def parts_of(tx: Tx, batch: Batch) -> list[Batch]:
    """The parts of a batch, as far as they are there still; it may have none."""
    found = []
    for part in batch.parts:
        with contextlib.suppress(NotFound):
            found.append(await batches.get(tx, part, project=batch.project, dialect=Dialect.PART))
    return found


async def _lines_of(context: Context, batch: Batch, job: Job) -> Iterator[_Placed]:
    if not job.rows:
        return _never_read(job, rest_of(batch))
    return _results(job, await published(context, job, batch.generation))


def rest_of(batch: Batch) -> FaultClass:
    """What became of requests that were never answered."""
    ends = {BatchStatus.EXPIRED: FaultClass.EXPIRED, BatchStatus.FAILED: FaultClass.LOCAL}
    end = batch.moments.end
    return FaultClass.CANCELLED if end is None else ends.get(end, FaultClass.CANCELLED)


def _place(placed: _Placed) -> int:
    return placed[0]


def _gathered(lines: Iterator[_Placed]) -> Iterator[bytes]:
    held, size = [], 0
    for _, line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


class _Asked(msgspec.Struct):
    custom_id: str = ""
    asked: About = About()


_decode: Final = msgspec.json.Decoder(_Asked).decode


def _results(job: Job, pieces: Iterator[tuple[pa.Table, pa.Table]]) -> Iterator[_Placed]:
    writer = BatchWriter(job.id, job.spec.task)
    for inputs, part in bounded(pieces):
        for row, line, outcome in writer.outcomes(inputs, part):
            about = _about(line)
            yield about.at, _result(job, row, outcome, about)


def _about(line: str | None) -> About:
    try:
        return _decode(line or "{}").asked
    except msgspec.DecodeError:  # a line that was too long to be read is bad, and has no asked
        return About()


def _result(job: Job, row: int, outcome: Outcome, about: About) -> bytes:
    said = outcome.message
    if outcome.status is None:  # of a bad row, whose place in our own lines means nothing
        said = said.removeprefix(f"line {row + 1}: ")
    named = msgspec.structs.replace(outcome, id=wire.message_id(job.id, row), message=said)
    return result_line(named, model=about.model, thinking=about.thinking)


def _never_read(job: Job, rest: FaultClass) -> Iterator[_Placed]:
    """The results of a batch that ended before its lines were read."""
    with Path(job.spec.source.path).open("rb") as lines:
        for row, line in enumerate(lines):
            found = _decode(line)
            outcome = Outcome(id="", custom_id=found.custom_id, fault=rest)
            yield found.asked.at, _result(job, row, outcome, found.asked)
