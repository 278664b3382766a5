"""The input's columns of a piece, as a writer wants them: typed, or all as text.

Rows of JSONL and of batches are one JSON object each; their keys are columns of text
here, as what a key holds may differ from line to line. A key may be blank and a column
may not, so it is called `unnamed` then. Nothing is inferred.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.fields import Picker
from nightkiln.tables.pieces import flat

if TYPE_CHECKING:
    import pyarrow as pa

UNNAMED: Final = "unnamed"
_LINES: Final = ("jsonl", "batch")


def _named(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns; a blank one gets a name that no other has."""
    taken = set(names)
    others = (f"{UNNAMED}_{number}" for number in itertools.count(2))
    free = (name for name in itertools.chain([UNNAMED], others) if name not in taken)
    return tuple(name if name.strip() else next(free) for name in names)


class InputColumns:
    """Takes the input's columns out of pieces; `source` is the format the rows came in."""

    def __init__(self, names: Sequence[str], *, source: str) -> None:
        self.names = _named(names)
        self._picker = Picker(tuple(names)) if source in _LINES else None

    def take(self, inputs: "pa.Table") -> list["pa.Array"]:
        """The columns, in order, in their own types."""
        import pyarrow as pa

        if self._picker is None:
            return [flat(inputs, name) for name in self.names]
        if not self.names:
            return []
        lines = [line or "{}" for line in flat(inputs, LINE_COLUMN).to_pylist()]
        values = self._picker.texts(lines)
        return [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
