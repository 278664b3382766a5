"""Tables from Python: lists, columns, pandas, polars, Arrow, datasets, as pieces of Arrow in order.

Nothing is imported to find out what something is: a library that made the data
is loaded already, and whatever speaks `__arrow_c_stream__` needs no name. A
string is never data here, because a path that was mistyped must not become one
row. Nulls and NaN of pandas and lists are null; a row's number counts from 0.
"""

import enum
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.tables.columns import quoted
from nightkiln.tables.widening import column_of, json_text

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS: Final = 4096
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


def frame_of(data: object) -> Frame:
    """Data as a frame. Raises UsageError for what is no table, InputError naming the row."""
    if isinstance(data, str | bytes | bytearray):
        raise UsageError(f"one {type(data).__name__} is no table", hint=f"give {_TAKEN}")
    library = library_of(data)
    if library == "pandas":
        return Frame(kind=FrameKind.PANDAS, name=_named(data), tables=_of_pandas(data))
    if library == "polars":
        return Frame(kind=FrameKind.POLARS, name=_named(data), tables=_of_polars(data))
    if library == "datasets":
        return Frame(kind=FrameKind.DATASET, name=_named(data), tables=_of_dataset(data))
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return Frame(kind=FrameKind.ARROW, name=_named(data), tables=_of_arrow(data))
    if isinstance(data, Mapping):
        return Frame(kind=FrameKind.DICT, name="dict of columns", tables=iter([_of_dict(data)]))
    if isinstance(data, Iterable) and not isinstance(data, set | frozenset):
        return Frame(kind=FrameKind.LIST, name=_named(data), tables=_of_rows(data))
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


def _of_pandas(data: Any) -> "Iterator[pa.Table]":
    import pyarrow as pa

    frame = data if hasattr(data, "columns") else data.to_frame(name=_series_name(data))
    _refuse_doubles([str(name) for name in frame.columns])
    try:
        table = pa.Table.from_pandas(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        table = pa.Table.from_pandas(_with_texts(frame))
    return iter([table])


def _series_name(data: Any) -> str:
    return TEXT if data.name is None else str(data.name)


def _with_texts(frame: Any) -> Any:
    """The same frame, its columns of mixed values as text."""
    import pyarrow as pa

    plain = frame.copy(deep=False)
    for name in frame.columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            plain[name] = column_of(list(frame[name])).to_pylist()
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


def _of_dict(data: Mapping[object, object]) -> "pa.Table":
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
        columns[name] = column_of(list(values))
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        said = ", ".join(f'"{name}" {len(column)}' for name, column in columns.items())
        raise UsageError(f"the columns are not of one length: {said}")
    return pa.table(columns)


def _of_rows(data: Iterable[object]) -> "Iterator[pa.Table]":
    """Rows of one form, a piece at a time; an iterator is never held as a whole."""
    rows = iter(data)
    first, make = 0, None
    while piece := list(itertools.islice(rows, PIECE_ROWS)):
        if make is None:
            make = _maker(piece)
        yield make(piece, first)
        first += len(piece)


def _maker(piece: Sequence[object]) -> "Callable[[Sequence[object], int], pa.Table]":
    """How rows like these become a table; the first that is not None decides."""
    row = next((row for row in piece if row is not None), None)
    if row is None or isinstance(row, str):
        return _texts
    if isinstance(row, Mapping):
        return _records
    if isinstance(row, list | tuple):
        return _conversations
    raise InputError(f"row 0 is {_named(row)}", hint="rows are str, dicts or lists of messages")


def _unfit(row: int, value: object, wanted: str) -> InputError:
    return InputError(
        f"row {row} is {_named(value)}, where the rows before are {wanted}",
        hint="give all rows in one form",
    )


def _texts(piece: Sequence[object], first: int) -> "pa.Table":
    import pyarrow as pa

    for row, value in enumerate(piece, first):
        if value is not None and not isinstance(value, str):
            raise _unfit(row, value, "str")
    return pa.table({TEXT: _strings(piece, first)})


def _records(piece: Sequence[object], first: int) -> "pa.Table":
    import pyarrow as pa

    names: dict[str, None] = {}
    records: list[Mapping[str, object]] = []
    for row, value in enumerate(piece, first):
        if not isinstance(value, Mapping):
            raise _unfit(row, value, "dicts")
        if not all(isinstance(name, str) for name in value):
            raise InputError(f"row {row} has a key that is no str")
        names.update(dict.fromkeys(value))
        records.append(value)
    return pa.table({name: column_of([one.get(name) for one in records]) for name in names})


def _conversations(piece: Sequence[object], first: int) -> "pa.Table":
    import pyarrow as pa

    texts = []
    for row, value in enumerate(piece, first):
        if not isinstance(value, list | tuple):
            raise _unfit(row, value, "lists of messages")
        texts.append(json_text(value))
    return pa.table({MESSAGES: pa.array(texts, pa.string())})


def _strings(values: Sequence[object], first: int) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError as error:
        row = first + next(at for at, value in enumerate(values) if value is error.object)
        raise InputError(
            f"row {row} holds half of a surrogate pair, which is no text",
            hint='text.encode("utf-8", "replace").decode() makes it one',
        ) from error
