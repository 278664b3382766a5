"""Everything that Python calls a table becomes Arrow, in order; what is none is refused."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nightkiln.core.errors import InputError, UsageError
from nightkiln.tables.frames import FrameKind, frame_of


def table_of(data: object) -> pa.Table:
    return pa.concat_tables(list(frame_of(data).tables), promote_options="permissive")


class Stream:
    """Data of a library nobody has heard of, which speaks Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


class Dataset:
    """What is asked of a dataset: batches of Arrow, and a format."""

    __module__ = "datasets.arrow_dataset"

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def with_format(self, name: str) -> "Dataset":
        assert name == "arrow"
        return self

    def iter(self, batch_size: int) -> Iterator[pa.Table]:
        for first in range(0, self._table.num_rows, batch_size):
            yield self._table.slice(first, batch_size)


PLAIN = {"text": ["one", "two"], "n": [1, 2]}
TABLE = pa.table(PLAIN)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ([{"text": "one", "n": 1}, {"text": "two", "n": 2}], FrameKind.LIST),
        (({"text": t, "n": n} for t, n in (("one", 1), ("two", 2))), FrameKind.LIST),
        (PLAIN, FrameKind.DICT),
        (pd.DataFrame(PLAIN), FrameKind.PANDAS),
        (pl.DataFrame(PLAIN), FrameKind.POLARS),
        (pl.LazyFrame(PLAIN), FrameKind.POLARS),
        (TABLE, FrameKind.ARROW),
        (TABLE.to_reader(), FrameKind.ARROW),
        (TABLE.to_batches()[0], FrameKind.ARROW),
        (Stream(TABLE), FrameKind.ARROW),
        (Dataset(TABLE), FrameKind.DATASET),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_table_is_a_table_whatever_it_is_made_of(data: object, kind: FrameKind) -> None:
    frame = frame_of(data)
    assert frame.kind is kind
    whole = pa.concat_tables(list(frame.tables))
    assert whole.select(["text", "n"]).to_pydict() == PLAIN


@pytest.mark.parametrize(
    "data", [["one", None], iter(["one", None]), ("one", None)], ids=["list", "iterator", "tuple"]
)
def test_strings_are_rows_of_one_column(data: object) -> None:
    assert table_of(data).to_pydict() == {"text": ["one", None]}


@pytest.mark.parametrize("series", [pd.Series(["one", "two"]), pl.Series(["one", "two"])])
def test_a_series_is_a_table_of_one_column(series: object) -> None:
    assert table_of(series).column("text").to_pylist() == ["one", "two"]
    assert table_of(pd.Series(["x"], name="said")).column_names == ["said"]


def test_message_lists_become_json_that_is_kept_as_it_is() -> None:
    talk = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    table = table_of([talk, talk])
    assert table.column("messages")[0].as_py() == (
        '[{"role":"user","content":[{"type":"text","text":"hi"}]}]'
    )


def test_values_of_several_types_become_text_in_which_nothing_is_lost() -> None:
    table = table_of([{"v": 1}, {"v": "two"}, {"v": [3, "x"]}, {"v": None}, {"v": True}])
    assert table.column("v").to_pylist() == ["1", "two", '[3,"x"]', None, "true"]
    mixed = pd.DataFrame({"v": [1, "two", [3]]}, dtype=object)
    assert table_of(mixed).column("v").to_pylist() == ["1", "two", "[3]"]


def test_a_key_that_is_missing_is_null_and_one_that_comes_late_a_column() -> None:
    table = table_of([{"a": 1}, {"b": 2}])
    assert table.to_pydict() == {"a": [1, None], "b": [None, 2]}


def test_nan_of_lists_and_pandas_is_null() -> None:
    nan = float("nan")
    assert table_of({"v": [1.5, nan]}).column("v").to_pylist() == [1.5, None]
    assert table_of(pd.DataFrame({"v": [1.5, nan]})).column("v").to_pylist() == [1.5, None]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a text", "one str is no table"),
        (b"bytes", "one bytes is no table"),
        (7, "int is no table"),
        ({"a", "b"}, "set is no table"),
        (None, "NoneType is no table"),
        ({"a": "text"}, 'column "a" is one str'),
        ({"a": [1], "b": [1, 2]}, "not of one length"),
        ({1: ["a"]}, "is no str"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), 'more than one column named "a"'),
        ({"train": Dataset(TABLE)}, 'column "train"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_table_is_refused_in_words(data: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(frame_of(data).tables)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (["a", 7], "row 1 is int"),
        ([{"a": 1}, "b"], "row 1 is str"),
        ([[{"role": "user"}], "b"], "row 1 is str"),
        ([7], "row 0 is int"),
        ([{1: 2}], "row 0 has a key that is no str"),
        (["fine", "half \ud800"], "row 1 holds half of a surrogate pair"),
        ([{"a": "half \ud800"}], "half of a surrogate pair"),
        ([{"a": [object()]}], "is no data"),
    ],
)
def test_a_row_that_does_not_fit_is_named(data: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(frame_of(data).tables)


def test_an_iterator_is_taken_piece_by_piece() -> None:
    taken = []

    def rows() -> Iterator[str]:
        for row in range(10_000):
            taken.append(row)
            yield str(row)

    tables = frame_of(rows()).tables
    first = next(tables)
    assert len(taken) == first.num_rows < 10_000


def test_an_arrow_array_is_no_table_and_a_typed_error() -> None:
    with pytest.raises(UsageError, match="has no columns"):
        frame_of(pa.array(["a", "b"]))
