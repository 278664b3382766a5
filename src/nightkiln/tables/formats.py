"""Which format a file has, and the reader or writer for it.

A format is told by the file's name or said outright; contents are never sniffed,
because a wrong guess costs money. A name may have two endings: `a.csv.gz` is
CSV, compressed. Readers and writers load when asked for, so naming a format
costs nothing.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import TableReader, TableWriter, WriteOptions

FORMATS: Final = (
    "csv",
    "tsv",
    "jsonl",
    "batch",
    "text",
    "parquet",
    "xlsx",
)  # what `--format` takes
WRITTEN: Final = ("csv", "tsv", "jsonl", "parquet", "xlsx")  # what an output file can be
TEXTUAL: Final = frozenset({"csv", "tsv", "jsonl", "batch", "text"})  # these may be compressed
TYPED: Final = frozenset({"parquet"})  # their columns are more than text
_ENDINGS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
_PACKED: Final = {"gz": "gzip", "zst": "zstd"}  # behind a format that is said: csv.gz
_KNOWN: Final = (
    "csv (.csv), tsv (.tsv, .tab), jsonl (.jsonl, .ndjson), text (.txt), parquet (.parquet, .pq),"
    " xlsx (.xlsx, .xlsm); those of text also with .gz or .zst behind"
)


def format_of(name: str, explicit: str | None = None) -> str:
    """The format said outright, else the one of the file's name. Raises UsageError."""
    if explicit is not None:
        said, _, packed = explicit.partition(".")
        if said not in FORMATS or (packed and (packed not in _PACKED or said not in TEXTUAL)):
            raise UsageError(f'no format "{explicit}"; there are: {", ".join(FORMATS)}')
        return said
    path = PurePath(name)
    compressed = path.suffix.lower() in _COMPRESSIONS
    kind = _ENDINGS.get(PurePath(path.stem).suffix.lower() if compressed else path.suffix.lower())
    if kind is not None and compressed and kind not in TEXTUAL:
        raise UsageError(
            f"{name}: {kind} is compressed inside already", hint=f"leave out {path.suffix}"
        )
    if kind is not None:
        return kind
    where = "standard input and output have" if name == "-" else f"{name} has"
    raise UsageError(
        f"{where} no ending that tells the format; there are: {_KNOWN}",
        hint=f"say it with --format {'|'.join(FORMATS)}",
    )


def compression_of(name: str, explicit: str | None = None) -> str | None:
    """How a file of text is compressed: gzip, zstd or not.

    A format said with an ending (`csv.gz`) tells it, else the last ending of the name.
    """
    if explicit is not None and "." in explicit:
        return _PACKED.get(explicit.partition(".")[2])
    return _COMPRESSIONS.get(PurePath(name).suffix.lower())


def open_reader(source: SourceSpec) -> TableReader:
    """The reader of a source. Opens no file yet. Raises UsageError."""
    match format_of(source.name, source.kind):
        case "csv" | "tsv" as kind:
            from nightkiln.tables.csv_in import CsvReader

            delimiter = "\t" if kind == "tsv" else source.delimiter
            return CsvReader(msgspec.structs.replace(source, delimiter=delimiter))
        case "jsonl":
            from nightkiln.tables.jsonl_in import JsonlReader

            return JsonlReader(source)
        case "batch":
            from nightkiln.tables.batch_in import BatchReader

            return BatchReader(source)
        case "parquet":
            from nightkiln.tables.parquet_in import ParquetReader

            return ParquetReader(source)
        case "xlsx":
            from nightkiln.tables.xlsx_in import XlsxReader

            return XlsxReader(source)
        case _:
            from nightkiln.tables.text_in import TextReader

            return TextReader(source)


def open_writer(
    kind: str,
    columns: Sequence[str],
    *,
    source: str,
    fields: Sequence[str] = (),
    options: WriteOptions | None = None,
) -> TableWriter:
    """The writer of a format for a job with these input columns.

    `fields` are properties of the answers' schema that get columns of their own.

    `source` is the format the rows came in: a CSV file with the one column
    `line` looks exactly like a JSONL segment. Raises UsageError.
    """
    options = options or WriteOptions()
    kind = format_of("", kind)
    source = "jsonl" if source == "batch" else source  # whose rows are kept the same way
    if options.excel_safe and kind not in ("csv", "tsv"):
        raise UsageError(
            f"excel-safe is for CSV and TSV, not for {kind}",
            hint="leave it out: only CSV and TSV can hold a formula by accident",
        )
    match kind:
        case "csv" | "tsv":
            from nightkiln.tables.csv_out import CsvWriter

            delimiter = "\t" if kind == "tsv" else ","
            return CsvWriter(
                columns,
                source=source,
                fields=fields,
                delimiter=delimiter,
                excel_safe=options.excel_safe,
            )
        case "jsonl":
            from nightkiln.tables.jsonl_out import JsonlWriter

            return JsonlWriter(columns, source=source, fields=fields)
        case "parquet":
            from nightkiln.tables.parquet_out import ParquetWriter

            return ParquetWriter(columns, source=source, fields=fields, options=options)
        case "xlsx":
            from nightkiln.tables.xlsx_out import XlsxWriter

            return XlsxWriter(columns, source=source, fields=fields, options=options)
        case _:
            raise UsageError(
                f"{kind} can be read but not written; outputs are: {', '.join(WRITTEN)}",
                hint="give the output a name that ends in .csv or .jsonl",
            )
