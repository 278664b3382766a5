"""Which format a file has, and the reader or writer for it.

A format is told by the file's name or said outright; contents are never sniffed,
because a wrong guess costs money. Readers and writers load when asked for, so
naming a format costs nothing.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import TableReader, TableWriter

FORMATS: Final = ("csv", "jsonl", "text")  # what `--format` takes
WRITTEN: Final = ("csv", "jsonl")  # what an output file can be
_ENDINGS: Final = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
}
_KNOWN: Final = "csv (.csv), jsonl (.jsonl, .ndjson), text (.txt)"


def format_of(name: str, explicit: str | None = None) -> str:
    """The format said outright, else the one of the file's name. Raises UsageError."""
    if explicit is not None:
        if explicit not in FORMATS:
            raise UsageError(f'no format "{explicit}"; there are: {", ".join(FORMATS)}')
        return explicit
    ending = PurePath(name).suffix.lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    where = "standard input and output have" if name == "-" else f"{name} has"
    raise UsageError(
        f"{where} no ending that tells the format; there are: {_KNOWN}",
        hint=f"say it with --format {'|'.join(FORMATS)}",
    )


def open_reader(source: SourceSpec) -> TableReader:
    """The reader of a source. Opens no file yet. Raises UsageError."""
    match format_of(source.name, source.kind):
        case "csv":
            from nightkiln.tables.csv_in import CsvReader

            return CsvReader(source)
        case "jsonl":
            from nightkiln.tables.jsonl_in import JsonlReader

            return JsonlReader(source)
        case _:
            from nightkiln.tables.text_in import TextReader

            return TextReader(source)


def open_writer(
    kind: str, columns: Sequence[str], *, source: str, fields: Sequence[str] = ()
) -> TableWriter:
    """The writer of a format for a job with these input columns.

    `fields` are properties of the answers' schema that get columns of their own.

    `source` is the format the rows came in: a CSV file with the one column
    `line` looks exactly like a JSONL segment. Raises UsageError.
    """
    match format_of("", kind):
        case "csv":
            from nightkiln.tables.csv_out import CsvWriter

            return CsvWriter(columns, source=source, fields=fields)
        case "jsonl":
            from nightkiln.tables.jsonl_out import JsonlWriter

            return JsonlWriter(columns, source=source, fields=fields)
        case _:
            raise UsageError(
                f"{kind} can be read but not written; outputs are: {', '.join(WRITTEN)}",
                hint="give the output a name that ends in .csv or .jsonl",
            )
