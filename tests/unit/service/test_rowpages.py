"""Pages of rows: which chunks a filter reads, and which its counts spare it."""

import msgspec
import pytest
from tests.unit.service.conftest import Kilnful

from nightkiln.core.answer import Attempt
from nightkiln.core.errors import DamagedError
from nightkiln.core.job import Job, JobState
from nightkiln.service import moves
from nightkiln.service.finalize import finalize
from nightkiln.service.rowpages import RowsWanted, rows_of
from nightkiln.store import chunks
from nightkiln.testing.backends import answer_to

ROWS = 100
CUT = 40  # the one row whose answer is cut


@pytest.fixture
async def job(kiln: Kilnful) -> Job:
    """A job that is over, of several chunks; one row of one of them was cut."""
    job = await kiln.queued(kiln.order(ROWS))
    window = await kiln.window(job)
    while opened := await window.lease_more(8):
        for chunk in opened:
            for try_ in list(chunk.tries()):
                end = Attempt(number=try_.number + 1, backend="b", sent_at=1.0, latency_ms=1.0)
                reply = answer_to(f"row {try_.row}")
                reason = "length" if try_.row == CUT else "stop"
                reply = msgspec.structs.replace(reply, finish_reason=reason)
                chunk.answered(try_.row, end, reply)
            await window.seal(chunk, backend="b")
    await window.aclose()
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    return await finalize(kiln.context, job.id)


async def leave_only(kiln: Kilnful, job: Job, row: int) -> int:
    """Remove the part of every chunk that has not this row; how many went."""
    known = await kiln.context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    files, gone = kiln.context.files(job.id), 0
    for chunk in known:
        if not chunk.first_row <= row < chunk.first_row + chunk.rows:
            assert chunk.committed_epoch is not None
            files.part(chunk.number, chunk.committed_epoch).unlink()
            gone += 1
    return gone


def by_finish(*reasons: str) -> RowsWanted:
    return RowsWanted(finish_reason=frozenset(reasons))


async def found(kiln: Kilnful, job: Job, wanted: RowsWanted) -> list[int]:
    return [one.row for one in (await rows_of(kiln.context, job, wanted)).data]


async def test_a_search_for_cut_answers_reads_only_the_chunks_that_have_one(
    kiln: Kilnful, job: Job
) -> None:
    assert await leave_only(kiln, job, CUT) > 1
    assert await found(kiln, job, by_finish("length")) == [CUT]  # no other part is there to read
    with pytest.raises(DamagedError):
        await found(kiln, job, by_finish("length", "stop"))


async def test_other_finish_reasons_are_found_in_every_chunk(kiln: Kilnful, job: Job) -> None:
    others = [row for row in range(ROWS) if row != CUT]
    assert await found(kiln, job, by_finish("stop")) == others
    assert await found(kiln, job, by_finish("stop", "length")) == list(range(ROWS))
    assert await found(kiln, job, by_finish("content_filter")) == []
