"""What a table format has to be able to do, and the columns an output carries.

A reader turns a source file into blocks of rows, in order, each with the place
to go on from; so ingest can stop anywhere and resume without reading twice.
Segments keep what the reader gave: string columns for CSV and text (`007` stays
`007`), one `line` column with the raw JSON text for JSONL.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
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
MAX_LINE_BYTES: Final = 32 * 1024 * 1024  # of one record; a longer one is a bad row
CLIPPED: Final = 2000  # characters that are kept of a row that could not be read
BLOCK_BYTES: Final = 8 * 1024 * 1024  # a block ends with the record that reaches this


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader stands: everything it needs to go on."""

    offset: int = 0  # bytes of the file consumed
    line: int = 0  # lines consumed, for messages
    row: int = 0  # rows given so far
    columns: tuple[str, ...] = ()  # seen so far, in order of first sight


class BadRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row that is not asked, because it could not be read or made into a prompt.

    It keeps its number. What could not be read is null in the input's columns,
    and `{}` in those of JSONL.
    """

    row: int
    line: int  # of the source, where the row begins; 0: it came from Python and has none
    reason: str  # what is wrong, in words that need no file name
    text: str = ""  # what stood there, clipped to CLIPPED characters
    hint: str = ""  # what to do about it
    code: str = ""  # OpenAI's word for it, of lines of a batch file
    param: str | None = None  # the field it is about, of lines of a batch file


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Some consecutive rows."""

    rows: "pa.RecordBatch"
    ids: "pa.Array | None"  # custom ids (string), one per row, when an id column was named
    lines: tuple[int, int]  # first and last source line, for messages
    starts: tuple[int, ...] = ()  # the source line each row begins on, likewise; 0: it has none
    bad: tuple[BadRow, ...] = ()  # those of these rows that could not be read, in order
    end: Place


class TableReader(Protocol):
    """Reads one source file; a row that cannot be read is given as a bad one.

    Raises InputError for a file that cannot be taken as a whole.
    """

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        ...


class WriteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer may need besides the columns."""

    output_schema: str | None = None  # the JSON schema of the answers, for the types of fields
    excel_safe: bool = False  # no text cell of CSV or TSV begins like a formula
    vectors: bool = False  # answers are embeddings, which Parquet can hold as numbers
    overflow: Path | None = None  # for what a cell of XLSX cannot hold; made when needed
    open_overflow: Callable[[Path], AbstractContextManager[BinaryIO]] | None = None  # durably
    sheet_rows: int = 1_048_575  # data rows of a sheet of XLSX, besides its header


class TableWriter(Protocol):
    """Writes one output file from aligned pieces of inputs and answers.

    `inputs` are the columns of a segment; `answers` has exactly OUTPUT_COLUMNS
    and as many rows. Pieces come in row order, so nothing is ever sorted.
    """

    notices: list[str]  # what whoever reads the output should know, after `write`

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        ...
