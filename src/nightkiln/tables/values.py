"""Typed columns as text and as JSON, the same for prompts, CSV, XLSX and JSONL.

Text: null stays null, strings are as they are, truth values `true` and `false`,
numbers plain, dates and times ISO 8601 (a timestamp with a zone carries its
offset), durations ISO 8601 seconds, bytes base64, UUIDs in their usual form, and
lists, structs and maps are compact JSON. JSON: numbers and truth values as such,
NaN and the infinities null, everything else its text or its own structure.

Arrow does the work a column at a time; only nested columns, bytes and JSON
values become Python objects. Nothing here guesses what a text might mean.
"""

import base64
import math
import uuid
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

_ENCODE: Final = msgspec.json.Encoder().encode
_ZONE: Final = r"(Z|[+-]\d\d:\d\d)?"
_WHOLE: Final = 1e15  # below it a float without a fraction is written like an integer


def texts_of(column: "pa.Array") -> "pa.Array":
    """A column as an array of `string`; nulls stay null."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    kind = column.type
    if kind == pa.string():
        return column
    if isinstance(kind, pa.BaseExtensionType):
        return _extended_texts(column)
    if kinds.is_dictionary(kind):
        return texts_of(column.dictionary_decode())
    if kinds.is_temporal(kind):
        return _temporal_texts(column)
    if is_binary(kind) or kinds.is_nested(kind):
        values = json_of(column)
        if kinds.is_nested(kind):
            values = [None if value is None else _ENCODE(value).decode() for value in values]
        return pa.array(values, pa.string())
    return _cast_text(pc.cast(column, pa.float32()) if kinds.is_float16(kind) else column)


def json_of(column: "pa.Array") -> list[Any]:
    """A column as values that JSON can hold; decimals keep every digit."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType) and not _is_uuid(kind):
        return json_of(column.storage)
    if kinds.is_dictionary(kind):
        return json_of(column.dictionary_decode())
    return _nested(column) if kinds.is_nested(kind) else _scalars(column)


def is_binary(kind: "pa.DataType") -> bool:
    """True for columns of bytes, which no prompt can be made of."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(kind, pa.BaseExtensionType):
        return not _is_uuid(kind) and is_binary(kind.storage_type)
    if kinds.is_dictionary(kind):
        return is_binary(kind.value_type)
    return bool(
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_binary_view(kind)
    )


def is_number(kind: "pa.DataType") -> bool:
    """True for columns of numbers and truth values: what they hold is no text."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        return is_number(kind.value_type)
    return bool(
        kinds.is_integer(kind)
        or kinds.is_floating(kind)
        or kinds.is_decimal(kind)
        or kinds.is_boolean(kind)
    )


def plain_number(value: float) -> str:
    """A number the way a sheet shows it: fifteen digits, no `.0` behind whole ones."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    return f"{value:.15g}"


def _cast_text(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(column, pa.string())


def _scalars(column: "pa.Array") -> list[Any]:
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_floating(kind):
        return [_finite(value) for value in column.to_pylist()]
    if kinds.is_decimal(kind):
        return [_digits(text) for text in texts_of(column).to_pylist()]
    if is_binary(kind):
        return [_base64(value) for value in column.to_pylist()]
    if kinds.is_integer(kind) or kinds.is_boolean(kind):
        return list(column.to_pylist())
    return list(texts_of(column).to_pylist())


def _nested(column: "pa.Array") -> list[Any]:
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_struct(kind):
        return _structs(column)
    if kinds.is_fixed_size_list(kind):
        return _fixed_lists(column)
    return _maps(column) if kinds.is_map(kind) else _lists(column)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _digits(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _temporal_texts(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_timestamp(kind):
        return _timestamps(column)
    if kinds.is_duration(kind):
        return pa.array([_seconds(value, kind.unit) for value in _integers(column)], pa.string())
    return _without_zeros(_cast_text(column)) if kinds.is_time(kind) else _cast_text(column)


def _timestamps(column: "pa.Array") -> "pa.Array":
    import pyarrow.compute as pc

    texts = pc.replace_substring(_cast_text(column), " ", "T", max_replacements=1)
    texts = pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    return _without_zeros(texts)


def _without_zeros(texts: "pa.Array") -> "pa.Array":
    """Times without zeros at the end of a fraction, and without an empty fraction."""
    import pyarrow.compute as pc

    shorter = pc.replace_substring_regex(texts, rf"(\.\d*[1-9])0+{_ZONE}$", r"\1\2")
    return pc.replace_substring_regex(shorter, rf"\.0+{_ZONE}$", r"\1")


def _extended_texts(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    if not _is_uuid(column.type):
        return texts_of(column.storage)
    values = column.storage.to_pylist()
    return pa.array([None if v is None else str(uuid.UUID(bytes=v)) for v in values], pa.string())


def _is_uuid(kind: "pa.BaseExtensionType") -> bool:
    return bool(kind.extension_name == "arrow.uuid")


def _integers(column: "pa.Array") -> list[int | None]:
    import pyarrow as pa

    return list(column.view(pa.int64()).to_pylist())


def _seconds(value: int | None, unit: str) -> str | None:
    if value is None:
        return None
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    whole, part = divmod(abs(value), 10**digits)
    fraction = f".{part:0{digits}d}".rstrip("0") if part else ""
    return f"{'-' if value < 0 else ''}PT{whole}{fraction}S"


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _structs(column: "pa.Array") -> list[Any]:
    names = [field.name for field in column.type]
    kids = [json_of(kid) for kid in column.flatten()]
    rows = zip(*kids, strict=True) if kids else [()] * len(column)
    valid = column.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None
        for row, there in zip(rows, valid, strict=True)
    ]


def _lists(column: "pa.Array") -> list[Any]:
    return _cut(column, lambda start, count: json_of(column.values.slice(start, count)))


def _maps(column: "pa.Array") -> list[Any]:
    """Maps as objects. A key that is no text becomes its text; of two equal ones the last stays."""

    def pairs(start: int, count: int) -> list[Any]:
        keys = texts_of(column.keys.slice(start, count)).to_pylist()
        return list(zip(keys, json_of(column.items.slice(start, count)), strict=True))

    return [None if found is None else dict(found) for found in _cut(column, pairs)]


def _cut(column: "pa.Array", inner: Any) -> list[Any]:
    """The lists of a column out of the values they share."""
    offsets = column.offsets.to_pylist()
    first = offsets[0] if offsets else 0
    values = inner(first, offsets[-1] - first if offsets else 0)
    valid = column.is_valid().to_pylist()
    return [
        values[offsets[i] - first : offsets[i + 1] - first] if there else None
        for i, there in enumerate(valid)
    ]


def _fixed_lists(column: "pa.Array") -> list[Any]:
    size = column.type.list_size
    values = json_of(column.values.slice(column.offset * size, len(column) * size))
    valid = column.is_valid().to_pylist()
    return [values[i * size : (i + 1) * size] if there else None for i, there in enumerate(valid)]
