"""The other lanes of a job, as one lane sees them: who could serve, who should go first.

The rules are those of `plan.route`; here is only what the lanes know of each other.
"""

from collections.abc import Sequence
from typing import Protocol

from nightkiln.core.fault import Fault
from nightkiln.dispatch.openchunk import Try
from nightkiln.dispatch.rows import Rows
from nightkiln.plan.route import (
    ELSEWHERE_S,
    goes_at_once,
    is_cheaper,
    leaves_to_cheaper,
    leaves_to_quicker,
)


class Peer(Protocol):
    """A lane, as others see it."""

    number: int
    took_s: float  # an answer, on average
    typical_usd: float | None  # a typical request costs

    @property
    def slots(self) -> int:
        """How many may be in flight."""
        ...

    @property
    def room(self) -> int:
        """How many more may be in flight now."""
        ...

    def may_serve(self, now: float, *, within_s: float = 0.0) -> bool:
        """True when nothing but full slots keeps a row from going out there by then."""
        ...

    def wake(self) -> None:
        """Wake one of its slots."""
        ...


class Peers:
    """The others. False where there are none, and then asked nothing."""

    def __init__(self, others: Sequence[Peer], *, than: float | None = None) -> None:
        self._others = others
        self._cheaper = [one for one in others if is_cheaper(one.typical_usd, than)]
        self._no_dearer = [one for one in others if not is_cheaper(than, one.typical_usd)]

    def __bool__(self) -> bool:
        return bool(self._others)

    def could_serve(self, now: float) -> bool:
        """True when one of them could take a row soon."""
        return any(one.may_serve(now, within_s=ELSEWHERE_S) for one in self._others)

    def takes(self, try_: Try, fault: Fault, now: float, *, is_down: bool) -> bool:
        """True when a row that failed need not wait, for another lane could take it."""
        serving = [one for one in self._others if one.may_serve(now, within_s=ELSEWHERE_S)]
        untried = any(not try_.failed_at >> one.number & 1 for one in serving)
        return bool(serving) and goes_at_once(fault, is_down=is_down, is_untried=untried)

    def lets_go(self, me: Peer, rows: Rows, now: float) -> bool:
        """True when the ready rows are better left to others; those with room are woken.

        Only those who go first are woken. They never leave rows to us in turn, so
        nobody wakes each other for ever.
        """
        ready = len(rows.ready)
        if not ready:
            return False
        if self._cheaper:
            cheaper = [one for one in self._cheaper if one.may_serve(now)]
            if leaves_to_cheaper(ready, free=sum(one.room for one in cheaper)):
                return _wake(cheaper)
        if rows.more or not me.took_s:
            return False
        quicker = [
            one for one in self._no_dearer if 0 < one.took_s < me.took_s and one.may_serve(now)
        ]
        paces = [(one.slots, one.took_s) for one in quicker]
        return leaves_to_quicker(ready, mine_s=me.took_s, others=paces) and _wake(quicker)


def _wake(peers: Sequence[Peer]) -> bool:
    for peer in peers:
        if peer.room:
            peer.wake()
    return True
