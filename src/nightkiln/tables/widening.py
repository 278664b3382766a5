"""Python values as Arrow columns, and tables of different types brought under one schema.

A column holds one type. Whole numbers and fractions become fractions; whatever
else does not fit together becomes text, in which nothing is lost: strings as
they are, the rest as compact JSON. Nothing here guesses what a text means.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from nightkiln.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def column_of(values: Sequence[object]) -> "pa.Array":
    """Values as a column of the type they share, else as text. Raises InputError."""
    import pyarrow as pa

    if not any(isinstance(value, dict | list | tuple) for value in values):
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            pass  # values of several types: text takes them all
        except UnicodeEncodeError as error:
            raise _no_text() from error
    try:
        return pa.array([_text(value) for value in values], pa.string())
    except UnicodeEncodeError as error:
        raise _no_text() from error


def json_text(value: object) -> str:
    """A value as compact JSON. Raises InputError for what JSON has no form for."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError as error:
        raise _no_text() from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"a value of type {type(value).__name__} is no data: {error}") from error


def _no_text() -> InputError:
    return InputError(
        "a value holds half of a surrogate pair, which is no text",
        hint='text.encode("utf-8", "replace").decode() makes it one',
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    text = json_text(value)
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def unified(first: "pa.Schema", second: "pa.Schema") -> "pa.Schema":
    """The schema both fit: the columns of either, in order of first sight."""
    import pyarrow as pa

    types = {field.name: field.type for field in first}
    for field in second:
        types[field.name] = _shared(types.get(field.name, pa.null()), field.type)
    return pa.schema([pa.field(*pair) for pair in types.items()], metadata=first.metadata)


def _shared(first: "pa.DataType", second: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa
    import pyarrow.types as kinds

    if first == second or kinds.is_null(second):
        return first
    if kinds.is_null(first):
        return second
    if kinds.is_integer(first) and kinds.is_integer(second):
        return pa.int64()
    if all(kinds.is_integer(one) or kinds.is_floating(one) for one in (first, second)):
        return pa.float64()
    return pa.string()


def fitted(table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
    """The table under a schema that it was unified with."""
    import pyarrow as pa

    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(_retyped(table.column(field.name), field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _retyped(column: "pa.ChunkedArray", kind: "pa.DataType") -> "pa.ChunkedArray | pa.Array":
    import pyarrow as pa

    if column.type == kind:
        return column
    if kind != pa.string() or pa.types.is_null(column.type):
        return column.cast(kind)
    return pa.array([_text(value) for value in column.to_pylist()], pa.string())
