"""Scans over rows: what they find, in which order, how they end, and how many there may be."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from tests.unit.service.conftest import Kilnful

from nightkiln.core.chunk import Chunk
from nightkiln.core.errors import UsageError
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import Job
from nightkiln.service import rowscan
from nightkiln.service.rowpages import RowsWanted
from nightkiln.service.rowscan import (
    CLIPPED,
    EACH,
    Hit,
    ScanEnd,
    ScanProgress,
    Scans,
    ScanWanted,
    scan,
)
from nightkiln.vault.segments import InputReader

ROWS = 100
DEADLINE_S = 60.0


@pytest.fixture
async def job(kiln: Kilnful) -> Job:
    return await kiln.ended(kiln.order(ROWS), failing=frozenset({3, 40}))


async def scanned(
    kiln: Kilnful, job: Job, *, rows: RowsWanted | None = None, **wanted: Any
) -> tuple[list[Hit], ScanEnd]:
    """The hits of a scan, and its last word."""
    asked = ScanWanted(rows=rows or RowsWanted(limit=200), **wanted)
    events = [one async for one in scan(kiln.context, job, asked, Scans())]
    *before, end = events
    assert isinstance(before[0], ScanProgress)
    assert isinstance(end, ScanEnd)
    return [one for one in before if isinstance(one, Hit)], end


def numbers(hits: list[Hit]) -> list[int]:
    return [hit.row for hit in hits]


async def test_a_text_is_found_in_inputs_in_either_case_and_in_row_order(
    kiln: Kilnful, job: Job
) -> None:
    hits, end = await scanned(kiln, job, text="ROW 7", column="text")
    assert numbers(hits) == [7, *range(70, 80)]
    assert (end.reason, end.scanned, end.found, end.next) == ("complete", ROWS, 11, None)
    assert hits[0].input == {"text": "row 7"}
    assert hits[0].answer["status"] == "ok"
    assert not hits[0].clipped


async def test_a_text_is_no_pattern(kiln: Kilnful, job: Job) -> None:
    assert numbers((await scanned(kiln, job, text="row .", column="text"))[0]) == []


async def test_answers_and_faults_are_looked_through_too(kiln: Kilnful, job: Job) -> None:
    by_answer, _ = await scanned(kiln, job, text="R", column="answer", rows=RowsWanted(limit=5))
    assert len(by_answer) == 5
    failed = RowsWanted(limit=200, status=frozenset({"error"}))
    assert numbers((await scanned(kiln, job, rows=failed))[0]) == [3, 40]
    assert numbers((await scanned(kiln, job, rows=failed, text="40", column="text"))[0]) == [40]


@pytest.mark.parametrize("limit", [1, 7, 31, 50])
async def test_a_scan_with_enough_rows_ends_early_and_is_gone_on_with(
    kiln: Kilnful, job: Job, limit: int
) -> None:
    found: list[int] = []
    start: int | None = 0
    while start is not None:
        rows = RowsWanted(limit=limit, start=start)
        hits, end = await scanned(kiln, job, rows=rows, text="row")
        assert len(hits) <= limit
        found += numbers(hits)
        start = end.next
    assert found == list(range(ROWS))


@pytest.mark.parametrize("descending", [False, True])
async def test_rows_are_sorted_by_any_column(kiln: Kilnful, job: Job, descending: bool) -> None:
    hits, end = await scanned(
        kiln, job, rows=RowsWanted(limit=9), sort="text", descending=descending
    )
    by_text = sorted((f"row {row}", row) for row in range(ROWS))
    wanted = [row for _, row in (by_text[::-1] if descending else by_text)][:9]
    assert numbers(hits) == wanted
    assert (end.reason, end.found) == ("complete", ROWS)


@pytest.mark.parametrize("descending", [False, True])
async def test_rows_without_a_value_come_last_and_equal_ones_in_row_order(
    kiln: Kilnful, job: Job, descending: bool
) -> None:
    hits, _ = await scanned(kiln, job, sort="answer", descending=descending)
    assert numbers(hits)[-2:] == [3, 40]
    same, _ = await scanned(kiln, job, sort="status", descending=descending)
    good = [row for row in range(ROWS) if row not in (3, 40)]
    assert numbers(same) == ([*good, 3, 40] if descending else [3, 40, *good])


async def test_a_scan_that_lasts_too_long_says_where_it_stands(kiln: Kilnful, job: Job) -> None:
    hits, end = await scanned(kiln, job, text="row", longest_s=-1.0)
    assert hits == []
    assert (end.reason, end.next) == ("deadline", 0)


async def test_long_texts_of_hits_are_clipped(kiln: Kilnful) -> None:
    order = kiln.order(1, name="long.txt")
    (kiln.folder / "long.txt").write_text("x" * 50_000 + " needle\n")
    job = await kiln.ended(order)
    (hit,), _ = await scanned(kiln, job, text="needle")
    assert hit.input == {"text": "x" * CLIPPED}
    assert hit.clipped


async def test_a_job_without_rows_has_no_hits(kiln: Kilnful) -> None:
    job = await kiln.accepted(kiln.order(5))
    hits, end = await scanned(kiln, job, text="row")
    assert (hits, end.reason, end.scanned) == ([], "complete", 0)


@pytest.mark.parametrize("named", ["column", "sort"])
async def test_an_unknown_column_is_refused(kiln: Kilnful, job: Job, named: str) -> None:
    wanted: dict[str, Any] = {named: "texts"}
    with pytest.raises(UsageError, match="no column 'texts'"):
        await scanned(kiln, job, **wanted)


async def test_a_scan_that_is_closed_looks_no_further(kiln: Kilnful, job: Job) -> None:
    looked: list[int] = []

    class Watched(Scans):
        async def look(self, scan: Any, chunk: Any) -> list[Hit]:
            looked.append(chunk.number)
            return await super().look(scan, chunk)

    events: AsyncIterator[Any] = scan(
        kiln.context, job, ScanWanted(text="row", column="text"), Watched()
    )
    while not isinstance(await anext(events), Hit):
        pass
    await events.aclose()  # type: ignore[attr-defined]
    assert looked == [0]
    assert job.rows == ROWS


class Slow:
    """Looks that last until they are let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def wait(self) -> None:
        self.begun.release()
        assert self.go_on.wait(DEADLINE_S)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=DEADLINE_S)


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.go_on.set()


async def test_what_reads_on_after_its_client_left_keeps_its_place(slow: Slow) -> None:
    class Looking:
        def look(self, _chunk: Any) -> list[Hit]:
            slow.wait()
            return []

    scans, looking = Scans(), Looking()
    chunk = Chunk(job=JobId("job"), number=0, first_row=0, rows=1, segment=0, row_group=0)
    for _ in range(2):
        left = asyncio.create_task(scans.look(looking, chunk))  # type: ignore[arg-type]
        await slow.has_begun()
        left.cancel()
        await asyncio.wait({left})
    third = asyncio.create_task(scans.look(looking, chunk))  # type: ignore[arg-type]
    assert not await asyncio.to_thread(slow.begun.acquire, timeout=0.05)
    slow.go_on.set()
    assert await third == []


async def test_files_are_closed_only_after_the_last_look(
    kiln: Kilnful, job: Job, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    closed = threading.Event()

    class Reader(InputReader):
        def read(self, chunk: Chunk) -> Any:
            slow.wait()
            found = super().read(chunk)  # which may close another segment's file
            done[:] = ["read"]
            return found

        def close(self) -> None:
            done.append("closed")
            super().close()
            if done[0] == "read":
                closed.set()

    monkeypatch.setattr(rowscan, "InputReader", Reader)
    asking = asyncio.create_task(scanned(kiln, job, text="row"))
    await slow.has_begun()
    asking.cancel()
    await asyncio.wait({asking}, timeout=0.05)
    slow.go_on.set()
    assert await asyncio.to_thread(closed.wait, DEADLINE_S)
    assert done == ["read", "closed"]


def test_a_project_has_so_many_scans_at_once() -> None:
    scans, one, other = Scans(), ProjectId("one"), ProjectId("other")
    assert all(scans.begin(one) for _ in range(EACH))
    assert not scans.begin(one)
    assert scans.begin(other)
    scans.end(one)
    assert scans.begin(one)


def test_hits_are_told_without_losing_types() -> None:
    hit = Hit(row=1, custom_id=None, input={"n": 1}, answer={"status": "ok"}, clipped=False)
    assert msgspec.json.decode(msgspec.json.encode(hit), type=Hit) == hit
