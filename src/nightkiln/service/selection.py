"""Which rows of a table somebody wants: by how they ended, up to a number, or as far as it is.

A file read while its job runs is the contiguous committed prefix: every row from
the first to the last one written, so that reading again later only adds rows.
"""

import difflib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from nightkiln.core.chunk import Chunk, ChunkState
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import FaultClass

FIELDS: Final = ("status", "fault", "finish_reason", "backend")
_VALUES: Final = {"status": ("ok", "error"), "fault": tuple(str(kind) for kind in FaultClass)}
_EXAMPLE: Final = "for example status=error or fault=transient"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to write. Values of one field are alternatives; all fields have to hold."""

    partial: bool = False  # of a job that is not over: what is committed from row 0 on
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    limit: int | None = None

    @property
    def is_all(self) -> bool:
        """True when no row of an ended job is left out."""
        return not self.where and self.limit is None


EVERYTHING: Final = Selection()


def where_of(texts: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Conditions written FIELD=VALUE. Raises UsageError naming what would be known."""
    fields: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"where takes FIELD=VALUE, not {text!r}", hint=_EXAMPLE)
        if name not in FIELDS:
            raise _unknown(f"where knows no field {name!r}", name, FIELDS)
        if name in _VALUES and value not in _VALUES[name]:
            raise _unknown(f"where: no {name} is {value!r}", value, _VALUES[name])
        fields.setdefault(name, []).append(value)
    return tuple((name, tuple(values)) for name, values in fields.items())


def fault_classes(texts: Sequence[str]) -> frozenset[str]:
    """Fault classes by name, several in one text with commas. Raises UsageError."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _VALUES["fault"]:
            raise _unknown(f"there is no fault class {name!r}", name, _VALUES["fault"])
    return frozenset(names)


def _unknown(message: str, name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return UsageError(message, hint=hint)


def prefix(known: Sequence[Chunk]) -> list[Chunk]:
    """The chunks from the first one on that are committed, without a gap."""
    return list(takewhile(lambda chunk: chunk.state is ChunkState.COMMITTED, known))


def selected(
    pieces: Iterator[tuple[pa.Table, pa.Table]], wanted: Selection
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows of aligned pieces that are wanted, in order."""
    left = wanted.limit
    for inputs, answers in pieces:
        for name, values in wanted.where:
            keep = pc.is_in(answers.column(name), value_set=pa.array(values, pa.string()))
            inputs, answers = inputs.filter(keep), answers.filter(keep)  # noqa: PLW2901
        if left is not None:
            inputs, answers = inputs.slice(0, left), answers.slice(0, left)  # noqa: PLW2901
            left -= inputs.num_rows
        yield inputs, answers
        if left == 0:
            return
