"""A frame on its way into the home: durable, typed, and named by its rows alone."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightkiln.core.errors import InputError
from nightkiln.service.staging import GROUP_ROWS, origin_in, stage
from nightkiln.tables.frames import frame_of
from nightkiln.vault.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    home.hold()
    yield home
    home.release()


def test_a_frame_comes_back_with_its_types_its_index_and_its_columns(home: Home) -> None:
    frame = pd.DataFrame({"text": ["a", None], "n": [1, 2]}, index=pd.Index(["i", "j"], name="k"))
    staged = stage(home, frame_of(frame))
    assert staged.columns == ("text", "n")
    table = pq.read_table(staged.path)
    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    origin = origin_in(table.schema)
    assert origin is not None
    assert (str(origin.kind), origin.hidden) == ("pandas", ("k",))


def test_the_rows_name_the_file_however_they_are_cut_and_kept(home: Home) -> None:
    table = pa.table({"text": [f"row {row}" for row in range(10_000)], "n": range(10_000)})
    pieces = pa.concat_tables([table.slice(0, 3), table.slice(3, 5000), table.slice(5003)])
    batches = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=777))
    names = {stage(home, frame_of(data)).sha256 for data in (table, pieces, batches)}
    assert len(names) == 1
    other = table.set_column(1, "n", pa.array([0, *range(1, 9999), 7]))
    assert stage(home, frame_of(other)).sha256 not in names
    wider = table.set_column(1, "n", table.column("n").cast(pa.float64()))
    assert stage(home, frame_of(wider)).sha256 not in names
    assert stage(home, frame_of(pl.DataFrame(table))).sha256 not in names  # goes back as polars


def test_what_lies_under_a_null_does_not_matter(home: Home) -> None:
    values = pa.array([1, 2, 3], mask=None)
    bitmap = pa.array([True, False, True]).buffers()[1]
    dirty = pa.Array.from_buffers(values.type, 3, [bitmap, values.buffers()[1]])
    clean = pa.array([1, None, 3])
    names = {stage(home, frame_of(pa.table({"n": column}))).sha256 for column in (dirty, clean)}
    assert len(names) == 1


def test_types_that_widen_late_are_written_again(home: Home) -> None:
    def rows() -> Iterator[dict[str, object]]:
        for row in range(2 * GROUP_ROWS):
            yield {"v": row, "w": row}
        yield {"v": 0.5, "w": "text", "late": True}

    staged = stage(home, frame_of(rows()))
    table = pq.read_table(staged.path)
    assert table.schema.types == [pa.float64(), pa.string(), pa.bool_()]
    assert table.num_rows == 2 * GROUP_ROWS + 1
    assert table.slice(2 * GROUP_ROWS - 1).to_pylist() == [
        {"v": float(2 * GROUP_ROWS - 1), "w": str(2 * GROUP_ROWS - 1), "late": None},
        {"v": 0.5, "w": "text", "late": True},
    ]
    assert [path.name for path in home.spool.iterdir()] == [Path(staged.path).name]


@pytest.mark.parametrize("data", [[], {"text": []}, pd.DataFrame({"text": []}), iter(())])
def test_a_frame_without_rows_is_refused_and_leaves_nothing(home: Home, data: object) -> None:
    with pytest.raises(InputError, match="has no rows"):
        stage(home, frame_of(data))
    assert list(home.spool.iterdir()) == []


def test_a_row_that_does_not_fit_leaves_nothing(home: Home) -> None:
    with pytest.raises(InputError, match="row 9000"):
        stage(home, frame_of(["a"] * 9000 + [7]))
    assert list(home.spool.iterdir()) == []


def test_a_column_without_a_name_is_said_of_the_frame_and_never_of_a_file(home: Home) -> None:
    with pytest.raises(InputError, match=r"^the dict of columns has a column without a name"):
        stage(home, frame_of({"": ["a"]}))
    assert not list(home.spool.iterdir())
