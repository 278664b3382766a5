"""From a source to chunks: how many, how resumed, and what is refused."""

import time
from pathlib import Path

import msgspec
import pytest

from nightkiln.core import crashpoints
from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import Job, PromptSpec
from nightkiln.service import ingest as ingesting
from nightkiln.service import planning
from nightkiln.service.ingest import Ingested, Stopped, chunk_rows
from nightkiln.vault import segments
from nightkiln.vault.segments import InputReader, notes

from .conftest import Kilnful


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1, 16), (1024, 16), (1088, 17), (6400, 100), (64_000, 1000), (10_000_000, 1000)],
)
def test_a_job_has_about_64_chunks_within_bounds(rows: int, size: int) -> None:
    assert chunk_rows(rows) == size


def texts(kiln: Kilnful, job: Job, done: Ingested) -> list[str]:
    reader = InputReader(kiln.context.files(job.id))
    found = [text for c in done.chunks for text in reader.read(c).rows.column(0).to_pylist()]
    reader.close()
    return found


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 1000, 1001, 2500])
async def test_chunks_hold_every_row_in_order(kiln: Kilnful, rows: int) -> None:
    job = await kiln.accepted(kiln.order(rows))
    done = kiln.taken(job)
    assert done.rows == rows
    assert texts(kiln, job, done) == [f"row {row}" for row in range(rows)]
    ends = [chunk.first_row + chunk.rows for chunk in done.chunks]
    assert [chunk.first_row for chunk in done.chunks] == [0, *ends[:-1]]
    assert max(chunk.rows for chunk in done.chunks) <= chunk_rows(rows)


async def test_a_large_input_is_not_held_back_in_memory(
    kiln: Kilnful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_LOOKAHEAD_ROWS", 3000)
    job = await kiln.accepted(kiln.order(5000))
    assert [chunk.rows for chunk in kiln.taken(job).chunks] == [1000] * 5


async def test_a_stopped_ingest_goes_on_from_its_last_segment(
    kiln: Kilnful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_LOOKAHEAD_ROWS", 1000)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    job = await kiln.accepted(kiln.order(6000))
    with pytest.raises(Stopped):
        kiln.taken(job, stop_at=3000)
    before = len(notes(kiln.context.files(job.id)))
    assert 1 <= before <= 3
    done = kiln.taken(job)
    assert texts(kiln, job, done) == [f"row {row}" for row in range(6000)]


async def test_a_stop_is_heard_while_a_template_is_slow(kiln: Kilnful) -> None:
    loop = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    order = kiln.order(name="in.csv")
    Path(order.input).write_text("q\n" + "a\n" * 9)
    order = msgspec.structs.replace(order, prompt=PromptSpec(jinja=loop + "{{ q }}"))
    job = await kiln.accepted(order)
    started = time.monotonic()
    await planning.check_head(job.spec)  # renders nothing: nobody could stop it
    unknown = msgspec.structs.replace(job.spec, prompt=PromptSpec(jinja="{{ p }}"))
    with pytest.raises(UsageError, match='"p"'):
        await planning.check_head(unknown)
    with pytest.raises(Stopped):
        ingesting.ingest(
            job,
            kiln.context.files(job.id),
            on_rows=lambda _: None,
            stop=lambda: time.monotonic() - started > 1.5,
        )
    assert time.monotonic() - started < 8.0


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", ["segment.written", "segment.renamed"])
@pytest.mark.parametrize("nth", [1, 2, 4])
async def test_an_ingest_that_died_between_segments_loses_and_doubles_nothing(
    kiln: Kilnful, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    monkeypatch.setattr(ingesting, "_LOOKAHEAD_ROWS", 1000)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    job = await kiln.accepted(kiln.order(6000))

    def die() -> None:
        raise Killed

    crashpoints.arm(point, nth=nth, action=die)
    try:
        with pytest.raises(Killed):
            kiln.taken(job)
    finally:
        crashpoints.disarm()
    done = kiln.taken(job)
    assert texts(kiln, job, done) == [f"row {row}" for row in range(6000)]


async def test_a_source_that_changed_is_refused(kiln: Kilnful) -> None:
    order = kiln.order(20)
    job = await kiln.accepted(order)
    Path(order.input).write_text("row X\n" + "".join(f"row {row}\n" for row in range(1, 20)))
    with pytest.raises(InputError, match="changed"):
        kiln.taken(job)


async def test_a_source_that_is_gone_is_refused(kiln: Kilnful) -> None:
    order = kiln.order(20)
    job = await kiln.accepted(order)
    Path(order.input).unlink()
    with pytest.raises(InputError, match="gone"):
        kiln.taken(job)


async def test_a_table_without_rows_is_refused(kiln: Kilnful) -> None:
    order = kiln.order(name="in.csv")
    Path(order.input).write_text("text\n")
    job = await kiln.accepted(order)
    with pytest.raises(InputError, match="no rows"):
        kiln.taken(job)
