"""Rows that do not leave, because an identical request is away or was just answered.

Such a row holds no slot, is in no journal until it has its answer, and waits
for nothing but the row it follows: when that one comes back without an answer,
a follower goes next.

Besides the requests that are away, the answers of the last ones are recalled: a
chunk that was opened before an answer came could not find it in the answer
cache. Both are bounded: followers by the open window, answers here.

Nothing here decides who leads; see `plan.joins`.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.reuse import Kept
from nightkiln.dispatch.openchunk import OpenChunk, Try
from nightkiln.plan.joins import Joins

RECALLED: Final = 16_384  # answers; more than an open window has rows
RECALLED_BYTES: Final = 16 * 1024 * 1024


class Following:
    """The rows of a lane that follow others. Owned by the lane."""

    def __init__(self, *, recalls: bool, go: Callable[[Try], None]) -> None:
        self._joins: Joins[Try] = Joins()
        self._recalls = recalls
        self._go = go  # sends a row before all others
        self._recalled: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return self._joins.waiting

    def learn(self, chunk: OpenChunk) -> None:
        """Recall what was answered before this lease, as if it had been now."""
        if self._recalls:
            for key, kept in chunk.known_shared():
                self._recall(key, kept)

    def holds(self, try_: Try) -> bool:
        """True when the row does not leave now: it follows, or it just got its answer."""
        key = try_.key
        if key is None or try_.leads or try_.larger:  # the larger request is another one
            return False
        kept = self._recalled.get(key)
        if kept is not None:
            self._recalled.move_to_end(key)
            try_.chunk.reused(try_.row, kept)
            return True
        try_.leads = self._joins.ask(key, try_)
        return not try_.leads

    def answered(self, try_: Try, attempt: Attempt, reply: Reply) -> None:
        """A row got its answer by asking: so did its followers."""
        key, leads, try_.leads = try_.key, try_.leads, False
        if key is None or try_.larger:
            return
        followers = self._joins.answered(key, leader=leads)
        if not (followers or self._recalls):
            return
        kept = try_.chunk.kept(attempt, reply)
        if self._recalls:
            self._recall(key, kept)
        for one in followers:
            one.chunk.reused(one.row, kept)

    def ended(self, try_: Try) -> None:
        """A row that leads came back without an answer: others go instead."""
        if not try_.leads or try_.key is None:
            return
        key, try_.leads = try_.key, False
        # Its own verdict, or an answer that did not fit, is about the request.
        widen = try_.larger or not try_.chunk.lacks((try_.row,))
        for one in self._joins.failed(key, widen=widen):
            one.leads = True
            self._go(one)

    def _recall(self, key: bytes, kept: Kept) -> None:
        earlier = self._recalled.pop(key, None)
        self._recalled[key] = kept
        self._bytes += kept.size_bytes - (0 if earlier is None else earlier.size_bytes)
        while self._bytes > RECALLED_BYTES or len(self._recalled) > RECALLED:
            _, oldest = self._recalled.popitem(last=False)
            self._bytes -= oldest.size_bytes
