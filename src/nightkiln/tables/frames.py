"""Tables from Python: lists, columns, pandas, polars, Arrow, datasets, as pieces of Arrow in order.

Nothing is imported to find out what something is: a library that made the data
is loaded already, and whatever speaks `__arrow_c_stream__` needs no name. A
string is never data here, because a path that was mistyped must not become one
row. Nulls and NaN of pandas and lists are null; a row's number counts from 0.
One row that does not fit is a bad row, null where it cannot be kept; rows none
of which fit are an error at once.
"""

import enum
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.tables.columns import missing_key, quoted
from nightkiln.tables.widening import column_of, json_text

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS: Final = 4096
MAX_FLAWS: Final = 100_000  # bad rows of a frame; with more it is not what it was taken for
TEXT: Final = "text"  # the column of a list of strings
MESSAGES: Final = "messages"  # the column of a list of message lists
_TAKEN: Final = (
    "a list of str, of dicts or of message lists, an iterator of those, a dict of columns, pandas,"
    " polars, Arrow, a dataset, or a path"
)


class FrameKind(enum.StrEnum):
    """What the rows came in; results go back as the same."""

    LIST = "list"
    DICT = "dict"
    PANDAS = "pandas"
    POLARS = "polars"
    ARROW = "arrow"
    DATASET = "dataset"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Rows on their way in. `tables` can be gone through once."""

    kind: FrameKind
    name: str  # for screens
    tables: "Iterator[pa.Table]"  # in row order; types may widen from piece to piece
    flaws: dict[int, str] = msgspec.field(default_factory=dict)
    """Rows that cannot be kept as they are, and why; known once `tables` is gone through."""


def frame_of(data: object, *, needed: Sequence[str] | None = ()) -> Frame:
    """Data as a frame. Raises UsageError for what is no table, InputError naming the row.

    A dict among rows that has not all keys `needed` is a bad row; with None, one that has none.
    """
    if isinstance(data, str | bytes | bytearray):
        raise UsageError(f"one {type(data).__name__} is no table", hint=f"give {_TAKEN}")
    flaws: dict[int, str] = {}
    library = library_of(data)
    if library == "pandas":
        return Frame(
            kind=FrameKind.PANDAS, name=_named(data), tables=_of_pandas(data, flaws), flaws=flaws
        )
    if library == "polars":
        return Frame(kind=FrameKind.POLARS, name=_named(data), tables=_of_polars(data))
    if library == "datasets":
        return Frame(kind=FrameKind.DATASET, name=_named(data), tables=_of_dataset(data))
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return Frame(kind=FrameKind.ARROW, name=_named(data), tables=_of_arrow(data))
    if isinstance(data, Mapping):
        tables = iter([_of_dict(data, flaws)])
        return Frame(kind=FrameKind.DICT, name="dict of columns", tables=tables, flaws=flaws)
    if isinstance(data, Iterable) and not isinstance(data, set | frozenset):
        tables = _of_rows(data, flaws, needed)
        return Frame(kind=FrameKind.LIST, name=_named(data), tables=tables, flaws=flaws)
    raise UsageError(f"{_named(data)} is no table", hint=f"give {_TAKEN}")


def library_of(data: object) -> str:
    """The library that the data's class comes from, by the classes above it too."""
    roots = [cls.__module__.partition(".")[0] for cls in type(data).__mro__]
    return next((root for root in roots if root in ("pandas", "polars", "datasets")), "")


def _named(data: object) -> str:
    module = type(data).__module__.partition(".")[0]
    name = type(data).__name__
    return name if module == "builtins" else f"{module} {name}"


def _refuse_doubles(names: Sequence[str]) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise UsageError(
            f"there is more than one column named {quoted(doubles)}", hint="rename one of them"
        )


# -- libraries


def _of_pandas(data: Any, flaws: dict[int, str]) -> "Iterator[pa.Table]":
    import pyarrow as pa

    frame = data if hasattr(data, "columns") else data.to_frame(name=_series_name(data))
    _refuse_doubles([str(name) for name in frame.columns])
    try:
        table = pa.Table.from_pandas(frame)
    except _misfits():
        table = pa.Table.from_pandas(_with_texts(frame, flaws))
    return iter([table])


def _series_name(data: Any) -> str:
    return TEXT if data.name is None else str(data.name)


def _with_texts(frame: Any, flaws: dict[int, str]) -> Any:
    """The same frame, its columns of mixed values as text."""
    import pyarrow as pa

    plain = frame.copy(deep=False)
    for name in frame.columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except _misfits():
            plain[name] = _column(list(frame[name]), 0, flaws).to_pylist()
    return plain


def _of_polars(data: Any) -> "Iterator[pa.Table]":
    import pyarrow as pa

    if hasattr(data, "collect"):  # a LazyFrame
        data = data.collect()
    if not hasattr(data, "columns"):  # a Series
        data = data.to_frame(data.name or TEXT)
    table = data.to_arrow()
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # categories are text with a memory
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return iter([table])


def _of_dataset(data: Any) -> "Iterator[pa.Table]":
    if not hasattr(data, "with_format") or isinstance(data, Mapping):
        splits = quoted([str(name) for name in data]) if isinstance(data, Mapping) else ""
        raise UsageError(f"{_named(data)} is no single table; {splits}", hint="name a split")
    pieces: Iterator[pa.Table] = data.with_format("arrow").iter(batch_size=PIECE_ROWS)
    return pieces


def _of_arrow(data: Any) -> "Iterator[pa.Table]":
    import pyarrow as pa

    try:
        if not hasattr(data, "__arrow_c_stream__"):
            return iter([pa.Table.from_batches([pa.record_batch(data)])])
        reader = pa.RecordBatchReader.from_stream(data)
    except pa.ArrowInvalid as error:  # an array speaks the protocol too, and has no columns
        raise UsageError(
            f"{_named(data)} is no table: it has no columns",
            hint='give it a name: pyarrow.table({"text": values})',
        ) from error
    _refuse_doubles(reader.schema.names)
    empty = reader.schema.empty_table()  # the columns, also of a stream without a batch
    pieces = (pa.Table.from_batches([batch]) for batch in reader)
    return itertools.chain([empty], pieces)


# -- plain Python


def _of_dict(data: Mapping[object, object], flaws: dict[int, str]) -> "pa.Table":
    import pyarrow as pa

    columns = {}
    for name, values in data.items():
        if not isinstance(name, str):
            raise UsageError(f"the column name {name!r} is no str")
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise UsageError(
                f'the column "{name}" is one {type(values).__name__}, not a list',
                hint='a dict is a table of columns: {"text": ["first", "second"]}',
            )
        columns[name] = _column(list(values), 0, flaws)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        said = ", ".join(f'"{name}" {len(column)}' for name, column in columns.items())
        raise UsageError(f"the columns are not of one length: {said}")
    return pa.table(columns)


def _of_rows(
    data: Iterable[object], flaws: dict[int, str], needed: Sequence[str] | None
) -> "Iterator[pa.Table]":
    """Rows of one form, a piece at a time; an iterator is never held as a whole."""
    rows = iter(data)
    first, make, names = 0, None, list[str]()
    while piece := list(itertools.islice(rows, PIECE_ROWS)):
        if make is None:
            make = _maker(piece, needed)
        table = make(piece, first, flaws)
        if not table.num_columns:  # which would lose the number of rows
            table = _of_nulls(names, len(piece), flaws.get(first, "no columns"))
        names = table.column_names
        yield table
        first += len(piece)


def _of_nulls(names: Sequence[str], rows: int, reason: str) -> "pa.Table":
    """Rows without any value, under a column that was seen before. Raises InputError."""
    import pyarrow as pa

    if not names:
        raise InputError(f"row 0: {reason}", hint="give rows with columns")
    return pa.table({names[0]: pa.nulls(rows)})


def _maker(
    piece: Sequence[object], needed: Sequence[str] | None
) -> "Callable[[Sequence[object], int, dict[int, str]], pa.Table]":
    """How rows like these become a table; the first that can be a row decides."""
    row = next((row for row in piece if isinstance(row, str | Mapping | list | tuple)), None)
    if isinstance(row, Mapping):
        return partial(_records, needed=needed)
    if isinstance(row, list | tuple):
        return _conversations
    if row is None and (bad := next((row for row in piece if row is not None), None)) is not None:
        raise InputError(
            f"row {piece.index(bad)} is {_named(bad)}",
            hint="rows are str, dicts or lists of messages",
        )
    return _texts


def _texts(piece: Sequence[object], first: int, flaws: dict[int, str]) -> "pa.Table":
    import pyarrow as pa

    values = [_fitting(value, str, "str", row, flaws) for row, value in enumerate(piece, first)]
    return pa.table({TEXT: _column(values, first, flaws).cast(pa.string())})


def _records(
    piece: Sequence[object], first: int, flaws: dict[int, str], *, needed: Sequence[str] | None
) -> "pa.Table":
    import pyarrow as pa

    names: dict[str, None] = {}
    records: list[Mapping[str, object]] = []
    for row, value in enumerate(piece, first):
        record = _fitting(value, Mapping, "dicts", row, flaws)
        if record is not None and not all(isinstance(name, str) for name in record):
            _add_flaw(flaws, row, "a key that is no str")
            record = None
        if record is not None and (problem := _missing(record, needed)):
            _add_flaw(flaws, row, problem)
        names.update(dict.fromkeys(record or ()))
        records.append(record or {})
    return pa.table(
        {name: _column([one.get(name) for one in records], first, flaws) for name in names}
    )


def _missing(record: Mapping[str, object], needed: Sequence[str] | None) -> str:
    """What a prompt needs of a row that is not in it; empty when nothing is missing."""
    if needed is None:
        return "" if record else "no key, so there is nothing to ask"
    return next((missing_key(name) for name in needed if name not in record), "")


def _conversations(piece: Sequence[object], first: int, flaws: dict[int, str]) -> "pa.Table":
    import pyarrow as pa

    texts = []
    for row, value in enumerate(piece, first):
        messages = _fitting(value, list | tuple, "lists of messages", row, flaws)
        try:
            texts.append(None if messages is None else json_text(messages))
        except InputError as error:
            _add_flaw(flaws, row, str(error))
            texts.append(None)
    return pa.table({MESSAGES: pa.array(texts, pa.string())})


def _fitting(value: object, kind: Any, wanted: str, row: int, flaws: dict[int, str]) -> Any:
    """The value if it is of the form that rows have here, else None and a flaw."""
    if isinstance(value, kind):
        return value
    what = "None" if value is None else _named(value)
    _add_flaw(flaws, row, f"{what}, where the other rows are {wanted}")
    return None


def _column(values: list[object], first: int, flaws: dict[int, str]) -> "pa.Array":
    """Values as a column; those that no column can hold are null and make their rows bad."""
    try:
        return column_of(values)
    except InputError:
        kept = list(values)
        for at, value in enumerate(values):
            try:
                column_of([value])
            except InputError as error:
                kept[at] = None
                _add_flaw(flaws, first + at, str(error))
        if not first and all(value is None for value in kept):
            raise  # nothing says what this column was meant to be
        return column_of(kept)


def _add_flaw(flaws: dict[int, str], row: int, reason: str) -> None:
    flaws.setdefault(row, reason)
    if len(flaws) > MAX_FLAWS:
        raise InputError(
            f"row {row}: {reason}; so are more than {MAX_FLAWS:,} rows",
            hint="give all rows in one form",
        )


def _misfits() -> tuple[type[Exception], ...]:
    """What Arrow raises for a column whose values have no one type, or are no text."""
    import pyarrow as pa

    kinds = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
    return (*kinds, UnicodeEncodeError)
