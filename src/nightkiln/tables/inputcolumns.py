"""The input's columns of a piece, as a writer wants them: typed, or all as text.

Rows of JSONL are one JSON object each; their keys are columns of text here, as
what a key holds may differ from line to line. Nothing is inferred.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.fields import Picker
from nightkiln.tables.pieces import flat

if TYPE_CHECKING:
    import pyarrow as pa


class InputColumns:
    """Takes the input's columns out of pieces; `source` is the format the rows came in."""

    def __init__(self, names: Sequence[str], *, source: str) -> None:
        self.names = tuple(names)
        self._picker = Picker(self.names) if source == "jsonl" else None

    @property
    def are_json(self) -> bool:
        """True when the columns are keys of JSON lines."""
        return self._picker is not None

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
