"""What the rows of one job share, and how long their answers may be: `plan.order` on open chunks.

Looks at a few rows of every chunk that comes. Costs nothing by the row until rows
are found to share something, and for embeddings, which no server caches, nothing
at all. It moves no row: `Rows` does.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final
from weakref import WeakSet

from nightkiln.core.job import Task
from nightkiln.dispatch.openchunk import OpenChunk, Try
from nightkiln.plan.order import HEAD, SAMPLED, Look, Sharing, expected, long_first

_PAIRS: Final = 2048  # of prompt and answer, to draw a line through


class Prefixes:
    """The eye of one job's rows on what they begin with."""

    def __init__(self) -> None:
        self._look = Look()
        self._open: WeakSet[OpenChunk] = WeakSet()

    @property
    def shares(self) -> bool:
        """True while rows go together by what they begin with."""
        return self._look.sharing is not None

    def saw(self, chunk: OpenChunk, tries: Sequence[Try]) -> bool:
        """A chunk came with these rows to ask. True when every row's key is another one now."""
        if chunk.task is Task.EMBEDDING:
            return False
        self._open.add(chunk)
        step = max(1, len(tries) // SAMPLED)
        heads = [chunk.cut(try_.row, 0, HEAD) for try_ in tries[::step]]
        return self._look.saw(heads, rows=len(tries))

    def key(self, try_: Try) -> int:
        """What a row begins with, as a number. Only while rows share something."""
        sharing = self._look.sharing
        assert sharing is not None
        return _key(try_, sharing)

    def long_first(self, tries: Sequence[Try]) -> list[Try]:
        """Those of the last rows that go before all others, longest expected answer first."""
        limits = [try_.chunk.own_limit(try_.row) for try_ in tries]
        seen = list(islice((pair for chunk in self._open for pair in chunk.lengths()), _PAIRS))
        sizes = [try_.chunk.size(try_.row) for try_ in tries]
        lengths = expected(limits, sizes, seen)
        return [] if lengths is None else [tries[number] for number in long_first(lengths)]


def _key(try_: Try, sharing: Sharing) -> int:
    text = try_.chunk.cut(try_.row, sharing.start, sharing.stop)
    if len(text) < sharing.stop - sharing.start:  # it ends within its key: alone, or with its like
        text = try_.chunk.cut(try_.row, 0, sharing.stop)
    return hash(text)
