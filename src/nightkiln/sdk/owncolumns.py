"""The caller's own values of columns that the staged rows only resemble.

A staged file holds one type for each column: a dict becomes its JSON text there, a NaN
a null, half of a surrogate pair nothing. As long as the client lives that submitted
them, results have the very objects instead. Only such columns are kept, as lists of
references made at the submission, so what is done to the frame later does not show.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from nightkiln.tables.frames import library_of

Own: TypeAlias = Mapping[Hashable, Sequence[Any]]
"""Values by the name of their column."""

MOST_JOBS: Final = 100
_WHOLE: Final = 1 << 63


class OwnColumns:
    """Those of a client's newest jobs."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Own] = OrderedDict()

    def keep(self, job: str, own: Own) -> None:
        """Remember the columns of a job; the oldest are forgotten."""
        if own:
            self._jobs[job] = own
            self._jobs.move_to_end(job)
            while len(self._jobs) > MOST_JOBS:
                self._jobs.popitem(last=False)

    def of(self, job: str) -> Own:
        """What is known of a job."""
        return self._jobs.get(job, {})


def own_columns(data: object) -> Own:
    """The columns of a dict of lists or a pandas frame that would come back otherwise."""
    if library_of(data) == "pandas":
        frame: Any = data
        parts = frame.items() if hasattr(frame, "columns") else ()
        columns = {name: list(column) for name, column in parts if column.dtype == object}
    elif isinstance(data, Mapping):
        columns = {name: list(of) for name, of in data.items() if isinstance(of, list | tuple)}
    else:
        return {}
    return {name: values for name, values in columns.items() if not _is_plain(values)}


def _is_plain(values: Sequence[object]) -> bool:
    """True for values that a column gives back as they were."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        return False
    kind = next(iter(kinds), bool)
    if kind is str:
        return all(value is None or _is_text(value) for value in values)
    if kind is int:
        return all(value is None or -_WHOLE <= value < _WHOLE for value in values)  # type: ignore[operator]
    if kind is float:
        return not any(value is not None and math.isnan(value) for value in values)  # type: ignore[arg-type]
    return kind is bool


def _is_text(value: Any) -> bool:
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
