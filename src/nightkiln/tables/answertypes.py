"""The columns we add, with types: for outputs that have them (Parquet, XLSX).

A property of the answers' schema is a string, an integer, a number or a truth
value when the schema says just that (or null besides); anything else is JSON
text. A whole number beyond 64 bits becomes null and is counted: the answer's
own text is in the column `answer`, whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nightkiln.tables.answerfields import AnswerFields
from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.pieces import flat

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS: Final = frozenset({"input_tokens", "cached_tokens", "output_tokens", "attempts"})
_FLOATS: Final = frozenset({"cost_usd", "latency_ms"})
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


class AnswerColumns:
    """Our columns of a piece, OUTPUT_COLUMNS and then the fields, each in one fixed type."""

    def __init__(self, fields: Sequence[str], output_schema: str | None) -> None:
        self.names = (*OUTPUT_COLUMNS, *fields)
        self.too_large: dict[str, int] = {}  # values per field that 64 bits cannot hold
        self._fields = AnswerFields(fields)
        self._kinds = _kinds_of(fields, output_schema)

    def types(self) -> list["pa.DataType"]:
        """The types of the columns."""
        import pyarrow as pa

        ours = {name: pa.int64() for name in _INTEGERS} | {name: pa.float64() for name in _FLOATS}
        kinds = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
        found = [ours.get(name, pa.string()) for name in OUTPUT_COLUMNS]
        return found + [kinds.get(kind, pa.string()) for kind in self._kinds]

    def take(self, answers: "pa.Table") -> list["pa.Array"]:
        """The columns of a piece."""
        import pyarrow as pa
        import pyarrow.compute as pc

        types = self.types()
        ours = [
            pc.cast(flat(answers, name), kind)
            for name, kind in zip(OUTPUT_COLUMNS, types, strict=False)
        ]
        raws = self._fields.raws(answers)
        for name, kind, type_, column in zip(
            self._fields.names, self._kinds, types[len(OUTPUT_COLUMNS) :], raws, strict=True
        ):
            values = [None if raw is None else _value(raw, kind) for raw in column]
            lost = sum(value is _TOO_LARGE for value in values)
            if lost:
                self.too_large[name] = self.too_large.get(name, 0) + lost
                values = [None if value is _TOO_LARGE else value for value in values]
            ours.append(pa.array(values, type_))
        return ours

    def notices(self) -> list[str]:
        """What became of values that do not fit their column."""
        return [
            f'whole numbers of "{name}" beyond 64 bits: {count}; they are empty in that column'
            ' and whole in "answer"'
            for name, count in self.too_large.items()
        ]


_TOO_LARGE: Final = object()


def _kinds_of(fields: Sequence[str], output_schema: str | None) -> list[str]:
    if not fields:
        return []
    properties = msgspec.json.decode(output_schema or "{}").get("properties", {})
    return [_kind_of(properties.get(name)) for name in fields]


def _kind_of(schema: object) -> str:
    """string, integer, number, boolean or json, as a property's schema says."""
    said = schema.get("type") if isinstance(schema, dict) else None
    kinds = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    kinds = [kind for kind in kinds if kind != "null"]
    if len(kinds) == 1 and kinds[0] in ("string", "integer", "number", "boolean"):
        return str(kinds[0])
    return "json"


def _value(raw: msgspec.Raw, kind: str) -> Any:
    value = msgspec.json.decode(raw)
    if value is None:
        return None
    if kind == "json":
        return msgspec.json.format(bytes(raw), indent=-1).decode()
    if kind == "integer":
        whole = int(value)
        return whole if _LEAST <= whole <= _MOST else _TOO_LARGE
    return float(value) if kind == "number" else value
