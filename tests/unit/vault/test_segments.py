"""Input segments: whole, in order, and enough to go on from."""

from pathlib import Path

import pyarrow as pa
import pytest

from nightkiln.core.chunk import Chunk
from nightkiln.core.ids import JobId
from nightkiln.vault import segments
from nightkiln.vault.home import JobFiles
from nightkiln.vault.segments import InputReader, SegmentWriter, notes, stored_ids

JOB = JobId("job_1")


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    made = JobFiles(tmp_path)
    made.make()
    return made


def batch(first: int, count: int) -> pa.RecordBatch:
    values = [f"row {row}" for row in range(first, first + count)]
    return pa.RecordBatch.from_arrays([pa.array(values)], names=["text"])


def ids(first: int, count: int) -> pa.Array:
    return pa.array([f"id {row}" for row in range(first, first + count)])


def place(row: int) -> bytes:
    return b'{"row":%d}' % row


def chunk(number: int, first: int, rows: int, *, segment: int, group: int) -> Chunk:
    return Chunk(
        job=JOB, number=number, first_row=first, rows=rows, segment=segment, row_group=group
    )


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 200)


def write(files: JobFiles, *, start: int, sizes: list[int], finish: bool = True) -> None:
    found = notes(files)
    row = start
    with SegmentWriter(files, next_segment=len(found), next_row=start) as writer:
        for size in sizes:
            writer.add(batch(row, size), ids(row, size), end=place(row + size))
            row += size
        if finish:
            writer.finish()


def test_chunks_are_read_back_as_they_came(files: JobFiles) -> None:
    write(files, start=0, sizes=[3, 5, 2])
    reader = InputReader(files)
    got = reader.read(chunk(1, 3, 5, segment=0, group=1))
    reader.close()
    assert got.rows.to_pydict() == {"text": [f"row {row}" for row in range(3, 8)]}
    assert got.ids is not None
    assert got.ids.to_pylist() == [f"id {row}" for row in range(3, 8)]


@pytest.mark.usefixtures("_small_segments")
def test_a_segment_says_where_to_go_on(files: JobFiles) -> None:
    write(files, start=0, sizes=[10] * 7)
    found = notes(files)
    assert len(found) > 1
    row = 0
    for note in found:
        assert note.first_row == row
        row += sum(note.group_rows)
        assert bytes(note.end) == place(row)
    assert row == 70


@pytest.mark.usefixtures("_small_segments")
def test_a_killed_ingest_goes_on_after_its_last_sealed_segment(files: JobFiles) -> None:
    write(files, start=0, sizes=[10] * 5, finish=False)
    sealed = sum(sum(note.group_rows) for note in notes(files))
    assert 0 < sealed <= 50
    write(files, start=sealed, sizes=[10] * ((70 - sealed) // 10))
    every = [value for ids in stored_ids(files, len(notes(files))) for value in ids.to_pylist()]
    assert every == [f"id {row}" for row in range(70)]


def test_an_ingest_that_gave_up_leaves_no_scratch_file(files: JobFiles) -> None:
    write(files, start=0, sizes=[3], finish=False)
    assert list(files.input.iterdir()) == []


@pytest.mark.usefixtures("_small_segments")
def test_nothing_after_a_missing_segment_counts(files: JobFiles) -> None:
    write(files, start=0, sizes=[10] * 7)
    assert len(notes(files)) >= 3
    files.segment(1).unlink()
    assert len(notes(files)) == 1


@pytest.mark.usefixtures("_small_segments")
def test_a_segment_never_ends_at_a_place_from_which_nobody_can_go_on(files: JobFiles) -> None:
    with SegmentWriter(files, next_segment=0, next_row=0) as writer:
        for row in range(0, 50, 10):
            writer.add(batch(row, 10), None, end=place(50) if row == 40 else None)
        writer.finish()
    (note,) = notes(files)
    assert (note.group_rows, bytes(note.end)) == ((10,) * 5, place(50))


def test_columns_of_the_user_never_meet_ours(files: JobFiles) -> None:
    rows = pa.RecordBatch.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["id", "c:id"])
    with SegmentWriter(files, next_segment=0, next_row=0) as writer:
        writer.add(rows, pa.array(["mine"]), end=place(1))
        writer.finish()
    reader = InputReader(files)
    got = reader.read(chunk(0, 0, 1, segment=0, group=0))
    reader.close()
    assert got.rows.to_pydict() == {"id": ["x"], "c:id": ["y"]}
    assert got.ids is not None
    assert got.ids.to_pylist() == ["mine"]


def test_no_segments_mean_no_notes(files: JobFiles) -> None:
    assert notes(files) == []
    assert list(stored_ids(files, 0)) == []
