"""Pieces of an output small enough to work on, and text that leaves without a copy.

Arrow's strings are addressed with 32 bits, and quoting can double a text; so
pieces are halved until they are far from that limit. The bound also keeps the
memory of an export flat, whatever sizes the callers hand over.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_BYTES: Final = 32 * 1024 * 1024


def bounded(
    pieces: Iterable[tuple["pa.Table", "pa.Table"]],
) -> Iterator[tuple["pa.Table", "pa.Table"]]:
    """The same rows in pieces of at most PIECE_BYTES each (or one row), none of them empty."""
    for inputs, answers in pieces:
        if inputs.num_rows != answers.num_rows:
            raise ValueError(f"{inputs.num_rows} inputs beside {answers.num_rows} answers")
        yield from _halved(inputs, answers)


def _halved(inputs: "pa.Table", answers: "pa.Table") -> Iterator[tuple["pa.Table", "pa.Table"]]:
    rows = inputs.num_rows
    if rows > 1 and inputs.nbytes + answers.nbytes > PIECE_BYTES:
        half = rows // 2
        yield from _halved(inputs.slice(0, half), answers.slice(0, half))
        yield from _halved(inputs.slice(half), answers.slice(half))
    elif rows:
        yield inputs, answers


def flat(table: "pa.Table", name: str) -> "pa.Array":
    """A column of a bounded table as one array, whatever chunks it came in."""
    column = table.column(name)
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks()


def write_text(out: BinaryIO, texts: "pa.Array") -> None:
    """Write a string array's characters one after the other, straight from its buffer."""
    _, offsets, data = texts.buffers()
    ends = memoryview(offsets).cast("B").cast("i")
    first, last = ends[texts.offset], ends[texts.offset + len(texts)]
    if last > first:
        out.write(memoryview(data)[first:last])
