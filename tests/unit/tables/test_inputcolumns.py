"""The names that the input's columns get in an output."""

from nightkiln.tables.inputcolumns import InputColumns


def test_a_blank_key_gets_a_name_that_no_column_has() -> None:
    names = ("", "unnamed", " ", "a")
    columns = InputColumns(names, source="jsonl")
    assert columns.names == ("unnamed_2", "unnamed", "unnamed_3", "a")
