"""What a table format has to be able to do, and the columns an output carries.

A reader turns a source file into blocks of rows, in order, each with the place
to go on from; so ingest can stop anywhere and resume without reading twice.
Segments keep what the reader gave: string columns for CSV and text (`007` stays
`007`), one `line` column with the raw JSON text for JSONL.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

LINE_COLUMN: Final = "line"  # the one column of a JSONL segment
OUTPUT_COLUMNS: Final = (
    "answer",
    "status",
    "fault",
    "fault_message",
    "finish_reason",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
    "attempts",
    "backend",
)
MAX_LINE_BYTES: Final = 32 * 1024 * 1024  # of one record; longer is an InputError
BLOCK_BYTES: Final = 8 * 1024 * 1024  # a block ends with the record that reaches this


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader stands: everything it needs to go on."""

    offset: int = 0  # bytes of the file consumed
    line: int = 0  # lines consumed, for messages
    row: int = 0  # rows given so far
    columns: tuple[str, ...] = ()  # seen so far, in order of first sight


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Some consecutive rows."""

    rows: "pa.RecordBatch"
    ids: "pa.Array | None"  # custom ids (string), one per row, when an id column was named
    lines: tuple[int, int]  # first and last source line, for messages
    starts: tuple[int, ...] = ()  # the source line each row begins on, for messages
    end: Place


class TableReader(Protocol):
    """Reads one source file. Raises InputError, naming the line, for what it cannot take."""

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        ...


class TableWriter(Protocol):
    """Writes one output file from aligned pieces of inputs and answers.

    `inputs` are the columns of a segment; `answers` has exactly OUTPUT_COLUMNS
    and as many rows. Pieces come in row order, so nothing is ever sorted.
    """

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        ...
