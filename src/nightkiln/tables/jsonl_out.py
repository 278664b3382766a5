"""JSONL out: the user's object with our fields behind its own, or a new one of strings.

A JSONL row keeps its bytes: our fields are spliced in before the closing brace,
so key order, spacing and every digit stay. Rows of CSV and text become objects
of strings, typed rows objects of numbers, truth values, texts and structures.
Our own numbers are numbers, what is unknown is null, and so are NaN and infinity.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from nightkiln.tables.answerfields import AnswerFields
from nightkiln.tables.base import LINE_COLUMN, OUTPUT_COLUMNS
from nightkiln.tables.pieces import bounded, flat
from nightkiln.tables.values import json_of

if TYPE_CHECKING:
    import pyarrow as pa


class JsonlWriter:
    """Writes a JSONL file; `source` is the format the rows came in."""

    def __init__(self, columns: Sequence[str], *, source: str, fields: Sequence[str] = ()) -> None:
        self.notices: list[str] = []
        self._fields = AnswerFields(fields)
        self._splices = source == "jsonl"
        self._columns = () if self._splices else tuple(columns)
        self._names = (*self._columns, *OUTPUT_COLUMNS, *self._fields.names)

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        encode, names = msgspec.json.Encoder().encode, self._names
        rows = 0
        for inputs, answers in bounded(pieces):
            values = [json_of(flat(inputs, name)) for name in self._columns]
            values += [flat(answers, name).to_pylist() for name in OUTPUT_COLUMNS]
            values += self._fields.raws(answers)
            rows_of_values = zip(*values, strict=True)
            ours = [encode(dict(zip(names, row, strict=True))) for row in rows_of_values]
            if self._splices:
                lines = flat(inputs, LINE_COLUMN).to_pylist()
                ours = [_spliced(line.encode(), own) for line, own in zip(lines, ours, strict=True)]
            ours.append(b"")
            out.write(b"\n".join(ours))
            rows += inputs.num_rows
        return rows


def _spliced(line: bytes, own: bytes) -> bytes:
    """Two objects as one. The line is a checked object without spaces around it."""
    head = line[:-1]
    if head.strip() == b"{":
        return own
    return head + b"," + own[1:]
