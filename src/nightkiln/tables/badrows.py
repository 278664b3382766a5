"""Rows that are not asked, and why: found while reading, stored beside the rows, told once.

A bad row never stops the reading of the next one. Whether it fails the job is
the business of `service.ingest`; here it is only described.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass
from nightkiln.tables.base import CLIPPED, LINE_COLUMN, BadRow, Block
from nightkiln.tables.values import texts_of

if TYPE_CHECKING:
    import pyarrow as pa

BAD_ROW: Final = "bad_row"  # the code of a bad row's fault
POLICIES: Final = ("error", "fail", "skip")  # what `--on-bad-row` takes
_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(BadRow).decode


class Flaw(NamedTuple):
    """What is wrong with a row, and what helps."""

    reason: str
    hint: str = ""
    code: str = ""  # OpenAI's word for it, of lines of a batch file
    param: str | None = None


def bad_row(row: int, line: int, flaw: Flaw, text: bytes | str) -> BadRow:
    """A flaw at its place, with the beginning of what stands there."""
    return BadRow(
        row=row,
        line=line,
        reason=flaw.reason,
        text=clipped(text),
        hint=flaw.hint,
        code=flaw.code,
        param=flaw.param,
    )


def clipped(text: bytes | str) -> str:
    """The beginning of a text, its line end left out; bytes that are no UTF-8 are replaced."""
    if isinstance(text, bytes):
        text = text[: CLIPPED * _LONGEST_CHARACTER].decode(errors="replace")
    return text[:CLIPPED].rstrip("\r\n")


def with_flaws(block: Block, found: Mapping[int, Flaw]) -> Block:
    """The block with more bad rows, by their index in it; its values stay."""
    if not found:
        return block
    known = {bad.row for bad in block.bad}
    first = block.end.row - block.rows.num_rows
    more = [
        bad_row(first + index, _line(block, index), flaw, _text(block.rows, index))
        for index, flaw in found.items()
        if first + index not in known
    ]
    both = sorted([*block.bad, *more], key=lambda bad: bad.row)
    return msgspec.structs.replace(block, bad=tuple(both))


def with_ids(block: Block, name: str) -> Block:
    """The block with the texts of a column as its ids; a row whose id is empty is bad."""
    import pyarrow as pa

    ids = [text or None for text in texts_of(block.rows.column(name)).to_pylist()]
    flaw = Flaw(f'the id in column "{name}" is empty')
    found = {index: flaw for index, text in enumerate(ids) if text is None}
    return with_flaws(msgspec.structs.replace(block, ids=pa.array(ids, pa.string())), found)


def _line(block: Block, index: int) -> int:
    return block.starts[index] if block.starts else block.lines[0] + index


def _text(rows: "pa.RecordBatch", index: int) -> str:
    """A row that could be read as text: its own line, or its values as a JSON list."""
    values = [texts_of(column.slice(index, 1))[0].as_py() or "" for column in rows.columns]
    return values[0] if rows.schema.names == [LINE_COLUMN] else _encode(values).decode()


def good_rows(block: Block) -> "pa.RecordBatch":
    """The rows of a block that are asked."""
    import pyarrow as pa

    if not block.bad:
        return block.rows
    first = block.end.row - block.rows.num_rows
    bad = {each.row - first for each in block.bad}
    return block.rows.filter(pa.array([index not in bad for index in range(block.rows.num_rows)]))


def stored(block: Block) -> "pa.Array":
    """What a segment keeps of a block's bad rows: one text per row, null for the good ones."""
    import pyarrow as pa

    if not block.bad:
        return pa.nulls(block.rows.num_rows, pa.string())
    first = block.end.row - block.rows.num_rows
    texts: list[bytes | None] = [None] * block.rows.num_rows
    for bad in block.bad:
        texts[bad.row - first] = _encode(bad)
    return pa.array(texts, pa.string())


def restored(text: str) -> BadRow:
    """A bad row as a segment keeps it."""
    return _decode(text)


def fault_of(bad: BadRow) -> Fault:
    """The answer of a bad row: a fault without any attempt."""
    return Fault(
        kind=FaultClass.PERMANENT, code=bad.code or BAD_ROW, message=told(bad)[:MESSAGE_LIMIT]
    )


def told(bad: BadRow) -> str:
    """A bad row in one line, for screens; never what stands in it."""
    return f"{where(bad.row, bad.line)}: {bad.reason}"


def where(row: int, line: int) -> str:
    """How a message names the place of a row: by its line, or by its number where it has none."""
    return f"line {line}" if line else f"row {row}"
