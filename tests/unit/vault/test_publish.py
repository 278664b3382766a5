"""Publishing: public names for immutable files, and the list of them, written last."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nightkiln.core.answer import Answer
from nightkiln.core.chunk import Chunk, ChunkState
from nightkiln.core.ids import JobId
from nightkiln.core.usage import Totals
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import table_of, write_part
from nightkiln.vault.publish import MANIFEST, Manifest, publish, read_manifest

JOB = JobId("job_1")


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    made = JobFiles(tmp_path)
    made.make()
    return made


def committed(files: JobFiles, number: int, *, epoch: int = 1) -> Chunk:
    answers = [Answer(row=row, text=f"e{epoch}") for row in range(10 * number, 10 * number + 10)]
    sha256, _ = write_part(files.part(number, epoch), table_of(answers, {}))
    return Chunk(
        job=JOB,
        number=number,
        first_row=10 * number,
        rows=10,
        segment=0,
        row_group=number,
        state=ChunkState.COMMITTED,
        epoch=epoch,
        committed_epoch=epoch,
        sha256=sha256,
    )


def manifest(generation: int = 1) -> Manifest:
    return Manifest(
        job=JOB,
        generation=generation,
        outcome="succeeded",
        rows=20,
        totals=Totals(ok=20),
        files=(),
    )


def test_the_manifest_names_every_part_in_order(files: JobFiles) -> None:
    chunks = [committed(files, 0), committed(files, 1)]
    whole = publish(files, chunks, manifest())
    assert whole == read_manifest(files, 1)
    assert [(f.name, f.chunk, f.first_row, f.rows) for f in whole.files] == [
        ("part-00000.parquet", 0, 0, 10),
        ("part-00001.parquet", 1, 10, 10),
    ]
    assert [f.sha256 for f in whole.files] == [chunk.sha256 for chunk in chunks]


def test_what_is_published_is_a_parquet_dataset(files: JobFiles) -> None:
    publish(files, [committed(files, 0), committed(files, 1)], manifest())
    table = pq.read_table(sorted(map(str, files.published(1).glob("*.parquet"))))
    assert table.column("row").to_pylist() == list(range(20))


def test_publishing_costs_no_second_copy(files: JobFiles) -> None:
    publish(files, [committed(files, 0)], manifest())
    assert (files.published(1) / "part-00000.parquet").samefile(files.part(0, 1))


def test_publishing_again_is_the_same(files: JobFiles) -> None:
    chunks = [committed(files, 0)]
    assert publish(files, chunks, manifest()) == publish(files, chunks, manifest())
    assert sorted(path.name for path in files.published(1).iterdir()) == [
        MANIFEST,
        "part-00000.parquet",
    ]


def test_without_a_manifest_nothing_is_published(files: JobFiles) -> None:
    files.published(1).mkdir(parents=True)
    assert read_manifest(files, 1) is None


def test_an_older_generation_stays_readable(files: JobFiles) -> None:
    publish(files, [committed(files, 0)], manifest())
    publish(files, [committed(files, 0, epoch=2)], manifest(2))
    files.part(0, 1).unlink()
    old = pq.read_table(files.published(1) / "part-00000.parquet")
    assert set(old.column("answer").to_pylist()) == {"e1"}
