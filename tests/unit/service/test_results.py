"""What a user gets: every row once, in order, the implied ones too."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nightkiln.app.finishing import finish_cancel
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.job import JobState
from nightkiln.service import moves
from nightkiln.service.finalize import finalize
from nightkiln.service.results import export
from nightkiln.service.summary import RunFigures, summarise

from .conftest import Kilnful

FIGURES = RunFigures(reused=0, elapsed_s=2.0, rows=40, tokens=80)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_row_is_there_in_order(kiln: Kilnful, tmp_path: Path) -> None:
    job = await kiln.ended(kiln.order(2500))
    assert job.state is JobState.SUCCEEDED
    assert await export(kiln.context, job, str(tmp_path / "out.jsonl"), None) == 2500
    found = rows_of(tmp_path / "out.jsonl")
    assert [row["answer"] for row in found] == [f"ROW {row}" for row in range(2500)]
    assert [row["text"] for row in found] == [f"row {row}" for row in range(2500)]


async def test_rows_without_an_answer_are_cancelled_with_their_job(
    kiln: Kilnful, tmp_path: Path
) -> None:
    job = await kiln.queued(kiln.order(40))
    await kiln.answered(job, rows=20)
    job = await finish_cancel(kiln.context, job.id)
    assert job.state is JobState.CANCELLED
    assert job.totals.ok == 20
    assert await export(kiln.context, job, str(tmp_path / "out.jsonl"), None) == 40
    faults = [row["fault"] for row in rows_of(tmp_path / "out.jsonl")]
    assert faults == [None] * 20 + ["cancelled"] * 20


async def test_a_job_that_runs_has_no_results_yet(kiln: Kilnful, tmp_path: Path) -> None:
    job = await kiln.queued(kiln.order(40))
    with pytest.raises(NotFound, match="no results"):
        await export(kiln.context, job, str(tmp_path / "out.jsonl"), None)


async def test_the_last_generation_stays_readable_while_the_next_one_runs(
    kiln: Kilnful, tmp_path: Path
) -> None:
    job = await kiln.ended(kiln.order(40), failing=frozenset({3, 30}))
    assert job.state is JobState.COMPLETED_WITH_ERRORS
    again = await moves.retry(kiln.context, job.id)
    assert (again.generation, again.totals.answered) == (2, 38)
    assert again.live is not None
    assert again.live.totals.answered == 38
    await kiln.answered(again, rows=1)
    await export(kiln.context, await kiln.job(job), str(tmp_path / "out.jsonl"), None)
    faults = {row["fault"] for row in rows_of(tmp_path / "out.jsonl")}
    assert faults == {None, "permanent"}


async def test_a_retry_asks_only_what_has_no_result(kiln: Kilnful, tmp_path: Path) -> None:
    job = await kiln.ended(kiln.order(40), failing=frozenset({3, 30}))
    again = await moves.retry(kiln.context, job.id)
    window = await kiln.window(again)
    opened = await window.lease_more(8)
    assert [try_.row for chunk in opened for try_ in chunk.tries()] == [3, 30]
    for chunk in opened:
        await window.leave(chunk)
    await window.aclose()
    await kiln.answered(await kiln.job(job), rows=40)
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    done = await finalize(kiln.context, job.id)
    assert (done.state, done.totals.ok, done.spent.attempts) == (JobState.SUCCEEDED, 40, 42)


async def test_what_is_published_and_what_is_counted_agree_after_a_cancelled_retry(
    kiln: Kilnful, tmp_path: Path
) -> None:
    job = await kiln.ended(kiln.order(40), failing=frozenset({3, 30}))
    await moves.retry(kiln.context, job.id)
    done = await finish_cancel(kiln.context, job.id)
    await export(kiln.context, done, str(tmp_path / "out.jsonl"), None)
    faults = [row["fault"] for row in rows_of(tmp_path / "out.jsonl")]
    assert (done.totals.ok, done.totals.failed) == (38, 0)
    assert [row for row, kind in enumerate(faults) if kind == "cancelled"] == [3, 30]


async def test_a_folder_becomes_a_dataset(kiln: Kilnful, tmp_path: Path) -> None:
    job = await kiln.ended(kiln.order(40))
    out = tmp_path / "dataset"
    out.mkdir()
    await export(kiln.context, job, str(out), None)
    table = pq.read_table(sorted(map(str, out.glob("*.parquet"))))
    assert table.column("row").to_pylist() == list(range(40))
    assert (out / "_manifest.json").exists()


async def test_the_summary_shows_one_row_of_every_kind_of_error(kiln: Kilnful) -> None:
    job = await kiln.ended(kiln.order(40), failing=frozenset({17, 30}))
    ended = await summarise(kiln.context, job, FIGURES, output=None)
    (sample,) = ended.faults
    assert (sample.fault, sample.count, sample.row) == ("permanent", 2, 17)
    assert sample.fix
    assert (ended.rows_per_s, ended.tokens_per_s) == (20.0, 40.0)


async def test_publishing_again_after_a_crash_is_the_same(kiln: Kilnful) -> None:
    from nightkiln.core import crashpoints

    job = await kiln.queued(kiln.order(40))
    await kiln.answered(job, rows=40)
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    crashpoints.arm("publish.manifest", nth=1, action=_die)
    try:
        with pytest.raises(ZeroDivisionError):
            await finalize(kiln.context, job.id)
    finally:
        crashpoints.disarm()
    assert (await finalize(kiln.context, job.id)).state is JobState.SUCCEEDED


def _die() -> None:
    raise ZeroDivisionError


async def test_a_job_that_is_not_over_cannot_be_retried(kiln: Kilnful) -> None:
    job = await kiln.queued(kiln.order(40))
    with pytest.raises(UsageError, match="nothing to retry yet"):
        await moves.retry(kiln.context, job.id)
    assert (await kiln.job(job)).generation == 1
