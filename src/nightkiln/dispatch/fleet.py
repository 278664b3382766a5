"""A fleet: the lanes to all backends of one job, seen as one.

The lanes take from one set of rows, under one budget, with one set of joins; so a
quicker backend takes more, and the rows of one that is gone go to the others. The
owner asks the fleet what it used to ask a lane. A backend that is down or
refuses us is told of once, and once when it is back.

Nothing here decides which lane takes a row: see `plan.route`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from nightkiln.core.usage import Totals
from nightkiln.dispatch.joins import Following
from nightkiln.dispatch.lane import Lane
from nightkiln.dispatch.member import Common, Dice, Member
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.dispatch.rows import Rows
from nightkiln.dispatch.turns import Asker
from nightkiln.dispatch.watching import Watching
from nightkiln.plan.budget import Budget, Caps
from nightkiln.plan.order import window_rows
from nightkiln.plan.schedule import Claim

_UP: Final = ""
_DOWN: Final = "down"
_PARKED: Final = "parked"


class Fleet:
    """The lanes of a job. Owned by a runner: `start`, `add`, then `stop`."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        dice: Dice,
        budget: Budget | None = None,
        claim: Claim | None = None,  # beside other jobs at the same backends
        recalls: bool = True,  # an answer also serves identical requests that come a little later
        by_prefix: bool = True,  # rows that begin alike go together, and to who has that cached
    ) -> None:
        self.on_low: Callable[[], None] = lambda: None  # only a round of rows is left
        self.rows_left: Callable[[], int] = lambda: self.queued  # the owner knows of more
        self.budget = budget or Budget(Caps(), Totals())
        self._dice = dice
        self._rows = Rows(by_prefix=by_prefix)
        self.joins = Following(recalls=recalls, go=self._rows.next)
        common = Common(
            rows=self._rows,
            joins=self.joins,
            budget=self.budget,
            dice=dice,
            on_low=self._few_left,
            asker=Asker(claim=claim or Claim(), rows_left=self._left, clock=dice.clock),
        )
        self.lanes = tuple(Lane(member, common) for member in members)
        self._watching = Watching(self.lanes)
        self._told = [_UP] * len(self.lanes)

    # -- life

    def start(self) -> None:
        """Open the slots of every lane."""
        for lane in self.lanes:
            lane.start(tuple(peer for peer in self.lanes if peer is not lane))
        self._watching.start()

    def add(self, chunk: OpenChunk) -> None:
        """Take in a chunk: its open rows, and what is in its journal and in no sum yet."""
        self.joins.learn(chunk)
        for attempt in chunk.all_attempts():
            self.budget.had(attempt)
        self._rows.add(chunk)

    def no_more(self) -> None:
        """No row will be added any more: long ones first, and slow lanes leave them to quicker."""
        self._rows.no_more()
        self.budget.had_all()

    async def stop(self, *, drain_s: float) -> None:
        """Take no more rows, wait for those in flight, then cut the rest off."""
        await self._watching.stop()
        await asyncio.gather(*(lane.stop(drain_s=drain_s) for lane in self.lanes))

    def broken(self) -> BaseException | None:
        """What killed a slot, if anything did: a bug of ours, never a fault of a row."""
        bugs = (lane.broken() for lane in self.lanes)
        return next((bug for bug in bugs if bug is not None), None) or self._watching.broken()

    def _few_left(self) -> None:
        self.on_low()

    def _left(self) -> int:
        return self.rows_left()

    # -- how it stands

    @property
    def names(self) -> tuple[str, ...]:
        """The backends, as screens and the ledger call them."""
        return tuple(lane.backend.name for lane in self.lanes)

    @property
    def slots(self) -> int:
        """How many may be in flight now: backends that are down count only alone."""
        up = [lane.slots for lane in self.lanes if not lane.is_open]
        return sum(up) or sum(lane.slots for lane in self.lanes)

    @property
    def window(self) -> int:
        """How many rows without an answer should stay open; more where they share beginnings."""
        return window_rows(self.slots, shares=self._rows.shares)

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._rows.in_flight

    @property
    def waiting(self) -> int:
        """Rows that were asked and wait for their next try, and rows that follow others."""
        return self._rows.waiting + len(self.joins)

    @property
    def queued(self) -> int:
        """Rows not in flight."""
        return len(self._rows) + len(self.joins)

    @property
    def capped(self) -> str:
        """Which cap of the budget nothing more can go under; empty while something is under way."""
        return "" if self.in_flight else self.budget.reason(self._dice.clock())

    @property
    def answered_any(self) -> bool:
        """True when any backend has answered."""
        return any(lane.answered_any for lane in self.lanes)

    @property
    def refused_at(self) -> float:
        """The last fault that made a row wait (loop time)."""
        return max(lane.refused_at for lane in self.lanes)

    @property
    def down(self) -> int:
        """How many backends take nothing but probes."""
        return sum(lane.is_open for lane in self.lanes)

    def waiting_for(self) -> str:
        """Why nothing goes out, or an empty string while one backend takes rows."""
        reasons = []
        for lane in self.lanes:
            if not (reason := lane.waiting_for()):
                return ""
            reasons.append((lane.backend.name, reason))
        if len(reasons) == 1:
            return reasons[0][1]
        return "; ".join(f"{name}: {reason}" for name, reason in reasons)

    def news(self) -> list[str]:
        """What has become of single backends since the last call; nothing where there is one."""
        told: list[str] = []
        for number, lane in enumerate(self.lanes if len(self.lanes) > 1 else ()):
            is_parked = lane.breaker.is_parked
            now = _PARKED if is_parked else _DOWN if lane.is_open else _UP
            if now == self._told[number]:
                continue
            self._told[number] = now
            name = lane.backend.name
            if now == _UP:
                told.append(f"{name} is back")
            else:
                word = "is not asked until somebody acts" if is_parked else "is down"
                others = ", the others go on" if self.down < len(self.lanes) else ""
                told.append(f"{name} {word}{others}: {lane.breaker.reason}")
        return told
