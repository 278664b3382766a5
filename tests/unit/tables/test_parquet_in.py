"""Parquet in: types stay, files add up, and any row is a place to resume."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import told
from nightkiln.tables.base import Place
from nightkiln.tables.parquet_in import FLAWS, ParquetReader, files_of, is_among


def spec(path: Path | str, **options: object) -> SourceSpec:
    fields = {"kind": "parquet", "name": "in", "size_bytes": 0, "sha256": "", **options}
    return SourceSpec(path=str(path), **fields)  # type: ignore[arg-type]


def numbered(first: int, last: int) -> pa.Table:
    return pa.table({"n": range(first, last), "s": [f"row {n}" for n in range(first, last)]})


def rows_of(source: SourceSpec, start: Place | None = None, *, rows: int = 7) -> list[int]:
    blocks = ParquetReader(source).blocks(start or Place(), rows=rows)
    return [n for block in blocks for n in block.rows.column("n").to_pylist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for name, first, last in (("b", 10, 23), ("a", 0, 10), ("c", 23, 24)):
        pq.write_table(numbered(first, last), data / f"{name}.parquet", row_group_size=3)
    (data / "notes.txt").write_text("no table")
    (data / "_metadata.parquet").write_text("no table")
    return data


def test_types_stay_as_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "d": pa.array([dt.date(2024, 1, 1)]),
            "t": pa.array([0], pa.timestamp("us", "Europe/Berlin")),
            "l": pa.array([["x"]], pa.large_list(pa.large_string())),
            "k": pa.array(["a"]).dictionary_encode(),
            "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    (block,) = ParquetReader(spec(tmp_path / "in.parquet")).blocks(Place(), rows=10)
    assert block.rows.schema.equals(table.schema)
    assert block.rows.to_pylist() == table.to_pylist()
    assert (block.lines, block.starts, block.end.columns) == ((1, 1), (1,), tuple("dtlkm"))


def test_a_folder_is_read_in_the_order_of_names(folder: Path) -> None:
    assert rows_of(spec(folder)) == list(range(24))
    assert rows_of(spec(folder / "[ab].parquet")) == list(range(23))


def test_blocks_have_the_size_that_was_asked_for_across_row_groups_and_files(folder: Path) -> None:
    sizes = [b.rows.num_rows for b in ParquetReader(spec(folder)).blocks(Place(), rows=7)]
    assert sizes == [7, 7, 7, 3]


@pytest.mark.parametrize("at", range(25))
def test_reading_goes_on_from_any_row(folder: Path, at: int) -> None:
    assert rows_of(spec(folder), Place(row=at)) == list(range(at, 24))


@pytest.mark.parametrize("limit", [1, 7, 11, 24, 100])
def test_a_limit_counts_from_the_first_row(folder: Path, limit: int) -> None:
    assert rows_of(spec(folder, limit=limit)) == list(range(24))[:limit]
    assert rows_of(spec(folder, limit=limit), Place(row=5)) == list(range(24))[5:limit]


def test_wide_rows_make_small_blocks(tmp_path: Path) -> None:
    table = pa.table({"n": range(40), "s": ["x" * 1_000_000] * 40})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=False)
    blocks = list(ParquetReader(spec(tmp_path / "in.parquet")).blocks(Place(), rows=1000))
    assert sum(block.rows.num_rows for block in blocks) == 40
    assert max(block.rows.nbytes for block in blocks) < 20_000_000


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            pa.table({"n": ["1"], "s": ["x"]}),
            'the column "n" is string, in the first file it is int64',
        ),
        (pa.table({"n": [1]}), 'has no column "s", which the first file has'),
        (
            pa.table({"s": ["x"], "n": [1], "z": [1]}),
            'has the column "z", which the first file has not',
        ),
    ],
)
def test_files_that_disagree_are_named_with_the_column(
    folder: Path, other: pa.Table, message: str
) -> None:
    pq.write_table(other, folder / "d.parquet")
    with pytest.raises(InputError) as caught:
        rows_of(spec(folder))
    assert str(folder / "d.parquet") in caught.value.message
    assert message in caught.value.message


def test_files_may_order_their_columns_as_they_like(folder: Path) -> None:
    pq.write_table(numbered(24, 30).select(["s", "n"]), folder / "d.parquet")
    assert rows_of(spec(folder)) == list(range(30))


def test_ids_are_texts_and_never_empty(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [7, 8]}), tmp_path / "in.parquet")
    source = spec(tmp_path / "in.parquet", id_column="n")
    (block,) = ParquetReader(source).blocks(Place(), rows=10)
    assert block.ids is not None
    assert block.ids.to_pylist() == ["7", "8"]
    pq.write_table(pa.table({"n": [7, None]}), tmp_path / "in.parquet")
    (block,) = ParquetReader(source).blocks(Place(), rows=10)
    assert block.ids is not None
    assert block.ids.to_pylist() == ["7", None]
    assert [(bad.row, bad.line) for bad in block.bad] == [(1, 2)]


def test_dictionaries_that_differ_are_joined(tmp_path: Path) -> None:
    for name, values in (("a", ["x", "y"]), ("b", ["z", "x"])):
        table = pa.table({"k": pa.array(values).dictionary_encode()})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (block,) = ParquetReader(spec(tmp_path)).blocks(Place(), rows=10)
    assert block.rows.column("k").to_pylist() == ["x", "y", "z", "x"]


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("a,b\n")
    with pytest.raises(InputError, match=r"in\.parquet cannot be read as Parquet"):
        rows_of(spec(tmp_path / "in.parquet"))


def test_a_file_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(numbered(0, 5000), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:600] = b"\xff" * 400
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        rows_of(spec(path), rows=1000)


def test_column_names_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, names=["n", "n"]), path)
    with pytest.raises(InputError, match='names "n" more than once'):
        rows_of(spec(path))


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.parquet files"):
        files_of(str(tmp_path))
    with pytest.raises(InputError, match="no file is named like"):
        files_of(str(tmp_path / "*.parquet"))
    (tmp_path / "x.csv").write_text("a\n")
    with pytest.raises(InputError, match=r"x\.csv is no Parquet file by its name"):
        files_of(str(tmp_path / "*.csv"))


def test_an_output_among_the_inputs_is_noticed(folder: Path) -> None:
    assert is_among(folder / "out.parquet", str(folder))
    assert not is_among(folder / "out.csv", str(folder))
    assert is_among(folder / "out.parquet", str(folder / "*.parquet"))
    assert not is_among(folder / "a" / "out.parquet", str(folder))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array(["fine", "a\0b", None]), 'a NUL character in column "s"'),
        (pa.array(["fine", "a\0b", None], pa.large_string()), "a NUL character"),
        (pa.array(["fine", "a\0b", None]).dictionary_encode(), "a NUL character"),
        (pa.array([["fine"], ["x", "a\0b"], None]), "a NUL character"),
        (pa.array([{"k": "fine"}, {"k": "\0"}, None]), "a NUL character"),
        (pa.array([[("k", "v")], [("\0", "v")], None], pa.map_(pa.string(), pa.string())), "NUL"),
        (pa.array([b"fine", b"\xed\xa0\x80", None]).view(pa.string()), "no UTF-8 at byte 0"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_what_is_no_text_makes_its_row_a_bad_one(
    tmp_path: Path, column: pa.Array, said: str
) -> None:
    fields = pa.schema([pa.field("s", column.type), pa.field("t", pa.string(), nullable=False)])
    table = pa.Table.from_arrays([column, pa.array(["1", "2", "3"])], schema=fields)
    pq.write_table(table, tmp_path / "in.parquet")
    (block,) = ParquetReader(spec(tmp_path / "in.parquet")).blocks(Place(), rows=10)
    (bad,) = block.bad
    assert (bad.row, bad.line) == (1, 2)
    assert said in bad.reason
    assert block.rows.column("s").is_valid().to_pylist() == [True, False, False]
    assert block.rows.column("t").to_pylist() == ["1", "2", "3"]


def test_rows_that_came_from_python_are_named_by_their_number_and_those_of_files_by_their_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "in.parquet"
    table = pa.table({"id": ["a", None, "c"]})
    pq.write_table(table.replace_schema_metadata({FLAWS: b'{"2":"staged"}'}), path)
    for framed, said in ((True, ["row 1", "row 2"]), (False, ["line 2"])):
        source = spec(path, framed=framed, id_column="id")
        (block,) = ParquetReader(source).blocks(Place(), rows=9)
        assert [told(bad).partition(":")[0] for bad in block.bad] == said
