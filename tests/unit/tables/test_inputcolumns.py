"""The names that the input's columns get in an output."""

import pyarrow as pa
import pytest

from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.inputcolumns import InputColumns


def test_a_blank_key_gets_a_name_that_no_column_has() -> None:
    names = ("", "unnamed", " ", "a")
    columns = InputColumns(names, source="jsonl")
    assert columns.names == ("unnamed_2", "unnamed", "unnamed_3", "a")


@pytest.mark.parametrize("source", ["jsonl", "batch"])
def test_keys_of_lines_are_columns(source: str) -> None:
    lines = pa.table({LINE_COLUMN: ['{"a":"x","b":{"c":1}}', None]})
    taken = InputColumns(["a", "b"], source=source).take(lines)
    assert [column.to_pylist() for column in taken] == [["x", ""], ['{"c":1}', ""]]
