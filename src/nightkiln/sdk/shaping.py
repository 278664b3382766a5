"""Results as what the rows came in: the same kind, order and index, one row per input.

Input columns are the user's and stay as they are; the answers and what is known
of them stand behind. A row without an answer has None there and says why in
`error_code`: row errors are data. Libraries are imported only for data of theirs.
"""

from collections.abc import Hashable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Task
from nightkiln.sdk.owncolumns import Own
from nightkiln.sdk.submission import OUTPUT_COLUMN
from nightkiln.service.framing import Answered
from nightkiln.tables.badrows import BAD_ROW
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.frames import FrameKind, library_of
from nightkiln.tables.schema import fields_of
from nightkiln.tables.widening import column_of

if TYPE_CHECKING:
    import pyarrow as pa

Results: TypeAlias = Any
"""A list, a dict of lists, a frame of pandas or polars, an Arrow table or a dataset."""

_COLUMNS: Final = {
    "status": "status",
    "error_code": "fault",
    "finish_reason": "finish_reason",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cost_usd": "cost_usd",
    "attempts": "attempts",
}  # ours by the names the SDK gives them


_NOTHING: Final[Own] = {}
_KINDS: Final = {
    "pandas": FrameKind.PANDAS,
    "polars": FrameKind.POLARS,
    "datasets": FrameKind.DATASET,
}


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How results are wanted."""

    output_column: str | None = None  # None: as it was called at the submission
    unpack_json: bool = True
    include_inputs: bool = True
    partial: bool = False  # also of a job that is not over
    original: Any = None  # the user's own frame, to put the answers beside


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """A row that has no answer, and why."""

    row: int  # counted from 0
    error_code: str
    message: str
    attempts: int


def shaped(answered: Answered, shape: Shape, own: Own = _NOTHING) -> Results:
    """The results; `own` has columns as the caller gave them, where that is still known.

    Raises UsageError for columns that collide or a frame that does not fit.
    """
    answers = _columns(answered, shape)
    kind = _kind(answered, shape.original)
    if kind is FrameKind.LIST:
        return _values(answered, shape)
    given = None if shape.original is None else _given(shape.original, kind, answered)
    inputs = answered.inputs if shape.include_inputs else answered.inputs.select([])
    names = list(answered.inputs.column_names if given is None else _names(given))
    if shape.include_inputs:
        check_collisions([str(name) for name in names], (), added=tuple(answers))
    match kind:
        case FrameKind.PANDAS:
            return _pandas(answered, answers, given, own if shape.include_inputs else None)
        case FrameKind.POLARS:
            return _polars(inputs, answers, given)
        case FrameKind.DICT:
            columns = {name: column.to_pylist() for name, column in answers.items()}
            shown = {**inputs.to_pydict(), **_first(own, inputs)} if given is None else given
            return {**shown, **columns} if shape.include_inputs else columns
    table = _table(inputs if given is None or not shape.include_inputs else given, answers)
    if kind is FrameKind.DATASET and find_spec("datasets") is not None:
        import datasets

        return datasets.Dataset(table)
    return table


def _given(original: Any, kind: FrameKind, answered: Answered) -> Any:
    """The caller's own frame, whole and with columns. Raises UsageError for one of other rows."""
    if kind is FrameKind.DICT:
        frame: Any = {name: list(values) for name, values in original.items()}
    elif kind is FrameKind.ARROW:
        import pyarrow as pa

        frame = pa.table(original)
    elif kind is FrameKind.DATASET:
        frame = original.with_format("arrow")[:]
    else:
        is_lazy = kind is FrameKind.POLARS and hasattr(original, "collect")
        frame = original.collect() if is_lazy else original
        frame = frame if hasattr(frame, "columns") else frame.to_frame()
    rows = answered.answers.num_rows
    counts = map(len, frame.values()) if kind is FrameKind.DICT else [len(frame)]
    for count in counts:
        if count != rows:
            raise UsageError(
                f"with_original_df has {count} rows, the job {rows}",
                hint="give the frame that was submitted",
            )
    return frame


def _names(given: Any) -> Sequence[Hashable]:
    """The names of the columns of a frame."""
    if isinstance(given, Mapping):
        return list(given)
    names = getattr(given, "column_names", None)  # of pandas: a column that is called so
    return names if isinstance(names, list) else list(given.columns)


def _first(own: Own, inputs: "pa.Table") -> dict[Hashable, list[Any]]:
    """The caller's values of the rows that were taken; a job may have a limit."""
    kept = inputs.column_names
    return {name: list(of)[: inputs.num_rows] for name, of in own.items() if name in kept}


def errors_of(answered: Answered) -> list[RowError]:
    """The rows without an answer, in order."""
    table = answered.answers
    names = ("fault_message", "attempts")
    columns = zip(
        _codes(answered).to_pylist(),
        *(table.column(name).to_pylist() for name in names),
        strict=True,
    )
    return [
        RowError(row=row, error_code=fault, message=message or "", attempts=attempts or 0)
        for row, (fault, message, attempts) in enumerate(columns)
        if fault is not None
    ]


def _codes(answered: Answered) -> "pa.ChunkedArray":
    """The class of each row's fault; of a row that could not be asked, that it is bad."""
    import pyarrow as pa
    import pyarrow.compute as pc

    faults, said = (answered.answers.column(name) for name in ("fault", "fault_message"))
    is_bad = pc.fill_null(pc.starts_with(said, f"{BAD_ROW}: "), fill_value=False)
    return pc.if_else(is_bad, pa.scalar(BAD_ROW), faults)


def _kind(answered: Answered, original: object) -> FrameKind:
    """What the results become."""
    if original is not None:
        return _kind_of(original)
    if answered.origin is not None:
        return answered.origin.kind
    for library, kind in (("polars", FrameKind.POLARS), ("pandas", FrameKind.PANDAS)):
        if find_spec(library) is not None:
            return kind
    return FrameKind.ARROW


def _kind_of(original: object) -> FrameKind:
    if library := library_of(original):
        return _KINDS[library]
    if hasattr(original, "__arrow_c_stream__"):
        return FrameKind.ARROW
    if isinstance(original, Mapping):
        return FrameKind.DICT
    raise UsageError(
        f"with_original_df is of the type {type(original).__name__}, which has no columns",
        hint="give a frame of pandas or polars, an Arrow table, a dataset or a dict of columns",
    )


def _columns(answered: Answered, shape: Shape) -> "dict[str, pa.ChunkedArray | pa.Array]":
    """Our columns by their names, those of a schema's properties behind."""
    spec = answered.job.spec
    name = shape.output_column or spec.label.output_column or OUTPUT_COLUMN
    columns = {name: answered.answers.column("answer")}
    if spec.task is Task.EMBEDDING and shape.unpack_json:
        columns[name] = _typed(_parsed(answered))
    for shown, own in _COLUMNS.items():
        if shown == name:
            raise UsageError(f"output_column cannot be {name!r}: the results have such a column")
        of_faults = shown == "error_code"
        columns[shown] = _codes(answered) if of_faults else answered.answers.column(own)
    fields = fields_of(spec) if shape.unpack_json else ()
    check_collisions((), fields, added=tuple(columns))
    if fields:
        objects = [value if isinstance(value, dict) else {} for value in _parsed(answered)]
        for field in fields:
            columns[field] = _typed([one.get(field) for one in objects])
    return columns


def _typed(values: Sequence[object]) -> "pa.Array":
    """Values of one property: lists and objects as such where they are all alike."""
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return column_of(values)


def _values(answered: Answered, shape: Shape) -> list[Any]:
    """The answers alone; parsed, where a schema says that they are JSON."""
    spec = answered.job.spec
    is_json = spec.output_schema is not None or spec.task is Task.EMBEDDING
    if is_json and shape.unpack_json:
        return _parsed(answered)
    return list(answered.answers.column("answer").to_pylist())


def _parsed(answered: Answered) -> list[Any]:
    """Good answers as Python values; None for the others, whatever text they have."""
    texts = answered.answers.column("answer").to_pylist()
    statuses = answered.answers.column("status").to_pylist()
    return [
        msgspec.json.decode(text) if status == "ok" and text is not None else None
        for text, status in zip(texts, statuses, strict=True)
    ]


def _table(inputs: "pa.Table", answers: "Mapping[str, pa.ChunkedArray | pa.Array]") -> "pa.Table":
    import pyarrow as pa

    ours = pa.table(dict(answers))
    return pa.Table.from_arrays(
        [*inputs.columns, *ours.columns], names=[*inputs.column_names, *ours.column_names]
    )


def _pandas(answered: Answered, answers: "Mapping[str, Any]", given: Any, own: Own | None) -> Any:
    """The frame with the answers; without `own` the index alone beside them."""
    ours = _table(answered.inputs.select([]), answers).to_pandas()
    frame = answered.inputs.to_pandas() if given is None else given
    whole = frame[[]].copy() if own is None else frame.copy(deep=False)
    for name, values in (own or {}).items() if given is None else ():
        if name in whole.columns:
            whole[name] = _objects(values[: len(whole)], whole.index)
    for name in ours.columns:
        whole[name] = ours[name].array  # by position: an index may repeat
    return whole


def _objects(values: Sequence[Any], index: Any) -> Any:
    """Values as a column of objects, whatever they are: pandas would look into lists."""
    import numpy as np
    import pandas as pd

    column: Any = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        column[at] = value
    return pd.Series(column, index=index, dtype=object)


def _polars(inputs: "pa.Table", answers: "Mapping[str, Any]", given: Any) -> Any:
    import polars as pl

    ours = pl.DataFrame(_table(inputs.select([]), answers))
    if not inputs.column_names:
        return ours
    frame: Any = pl.DataFrame(inputs) if given is None else given
    return frame.hstack(ours)
