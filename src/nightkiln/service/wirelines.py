"""The lines of a batch while it runs: replies and failures together, in the order of its input.

Every row that is given is final, and none is left out before it; so whoever has N
lines asks for what comes after N, and gets each line once. A batch that is over
gives all of its lines in the same way.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator

import pyarrow as pa

from nightkiln.core.batches import BatchId, Dialect
from nightkiln.core.errors import NotFound
from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.service.results import committed, published
from nightkiln.store import batches, jobs
from nightkiln.store.tx import Tx
from nightkiln.tables.batch_out import BatchWriter
from nightkiln.tables.pieces import bounded


async def lines(context: Context, batch: BatchId, *, after: int) -> AsyncIterator[bytes]:
    """Pieces of the lines behind the first `after`; none while there are no more.

    Raises NotFound, also when the job has been deleted.
    """

    async def query(tx: Tx) -> tuple[Job | None, int | None]:
        found = await batches.get(tx, batch, project=context.project, dialect=Dialect.OPENAI)
        job = None if found.job is None else await jobs.find(tx, found.job)
        return job, None if found.ended_at is None else found.generation

    job, ended = await context.store.read(query)
    if job is None:
        raise NotFound(f"no lines of batch {batch}")
    if not job.rows:
        return _sent(iter(()))
    if ended is None:
        return _sent(_written(job, await committed(context, job), after))
    return _sent(_written(job, await published(context, job, ended), after))


async def _sent(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def _written(job: Job, pieces: Iterator[tuple[pa.Table, pa.Table]], after: int) -> Iterator[bytes]:
    """Lines in pieces of bounded size. Blocking."""
    writer = BatchWriter(job.id, job.spec.task)
    for one in bounded(_behind(pieces, after)):
        out = io.BytesIO()
        writer.write(out, out, [one])
        if written := out.getvalue():
            yield written


def _behind(
    pieces: Iterator[tuple[pa.Table, pa.Table]], after: int
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """What is left of aligned tables without the first rows."""
    left = after
    for inputs, part in pieces:
        if left < part.num_rows:
            yield inputs.slice(left), part.slice(left)
        left = max(0, left - part.num_rows)
