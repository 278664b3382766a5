"""The properties of structured answers as columns: text for CSV, JSON values for JSONL.

Rows without a result have nothing in them. Only answers that passed the job's
schema come here, so an answer is a JSON object or has no fields to give.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from nightkiln.tables.fields import Picker
from nightkiln.tables.pieces import flat

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING = "{}"


class AnswerFields:
    """Takes some properties out of the answers of a piece."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._picker = Picker(self.names)

    def columns(self, answers: "pa.Table") -> "list[pa.Array]":
        """One text column per property."""
        import pyarrow as pa

        if not self.names:
            return []
        rows = self._picker.texts(_objects(answers))
        return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]

    def raws(self, answers: "pa.Table") -> list[list[msgspec.Raw | None]]:
        """One list of JSON values per property; null where there is none."""
        if not self.names:
            return []
        rows = [self._picker.raws(text) for text in _objects(answers)]
        return [[raw or None for raw in column] for column in zip(*rows, strict=True)]


def _objects(answers: "pa.Table") -> list[str]:
    """The answers as JSON objects, an empty one for a row without a result."""
    texts = flat(answers, "answer").to_pylist()
    return [text if text and text.lstrip()[:1] == "{" else _NOTHING for text in texts]
