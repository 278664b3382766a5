"""The rows of a job that are not in flight: ready, come back, waiting for their time, or alone.

All lanes of a job take from here, so whoever is free takes more. Ready rows
lie in the table's order or, where they share beginnings, in groups by those
(`plan.order`, `plan.groups`). Rows that must wait lie in one heap. A row that
failed at a lane is kept for the others first, for a bounded time; whether a lane
may ask it again is for that lane's own quota. It decides nothing about backends; the lanes do.
"""

import heapq
import itertools
from collections import deque
from typing import Protocol

from nightkiln.core.fault import Fault
from nightkiln.dispatch.openchunk import OpenChunk, Try
from nightkiln.dispatch.prefixes import Prefixes
from nightkiln.plan.groups import Groups
from nightkiln.plan.quota import RetryQuota
from nightkiln.vault.recovery import POISON_DEATHS

_QUOTA_LEAST_S = 0.05  # between two looks at a quota that is empty


class Taker(Protocol):
    """A lane, as the rows see it."""

    number: int  # its place among the lanes
    quota: RetryQuota
    held: Fault | None  # whose retries the quota holds back

    @property
    def slots(self) -> int:
        """How many may be in flight at it."""
        ...

    @property
    def is_open(self) -> bool:
        """True while only probes may go to it."""
        ...

    def elsewhere(self, now: float) -> bool:
        """True when another lane could take a row soon."""
        ...

    def wake(self, when: float | None = None) -> None:
        """Wake one of its slots, now or then."""
        ...

    def wake_all(self) -> None:
        """Wake all of its slots."""
        ...


class Rows:
    """Shared by the lanes of one job, on their event loop."""

    def __init__(self, *, by_prefix: bool = True) -> None:
        self.ready: deque[Try] | Groups[Try] = deque()
        self.alone: deque[Try] = deque()  # suspects of poison: one at a time, nothing beside
        self.returned = 0  # rows that failed and whose time has come
        self.in_flight = 0  # at all lanes
        self.lonely = False  # a suspect is in flight
        self.more = True  # more rows may come
        self.pinched = False  # the budget has held a lane back since somebody looked
        self.low_mark = 0  # ready rows that are only a round
        self._prefixes = Prefixes() if by_prefix else None  # None: always the table's order
        self._lanes: list[Taker] = []
        self._returned: list[deque[Try]] = []  # by the lane where they failed last
        self._waiting: list[tuple[float, int, Try]] = []  # a heap by loop time
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self.ready) + len(self.alone) + self.waiting

    @property
    def waiting(self) -> int:
        """Rows that were asked and wait for their next try."""
        return len(self._waiting) + self.returned

    @property
    def is_empty(self) -> bool:
        """True when nobody can take anything, now or later."""
        return not (self.ready or self.returned or self._waiting or self.alone)

    @property
    def shares(self) -> bool:
        """True while rows go together by what they begin with."""
        return isinstance(self.ready, Groups)

    @property
    def next_at(self) -> float | None:
        """When the first waiting row's time comes (loop time)."""
        return self._waiting[0][0] if self._waiting else None

    # -- who takes

    def join(self, lane: Taker) -> int:
        """One more lane takes from here; its number."""
        self._lanes.append(lane)
        self._returned.append(deque())
        return len(self._lanes) - 1

    def mark(self) -> None:
        """Take down anew how many ready rows are few."""
        lanes = self._lanes
        self.low_mark = sum(one.slots for one in lanes if not one.is_open or len(lanes) == 1)

    def wake(self, *, but: Taker | None = None) -> None:
        """Wake one slot of every lane; who finds work wakes the next."""
        for lane in self._lanes:
            if lane is not but:
                lane.wake()

    def wake_all(self) -> None:
        """Wake every slot; one of a lane that only probes."""
        for lane in self._lanes:
            if lane.is_open:
                lane.wake()
            else:
                lane.wake_all()

    # -- rows come

    def add(self, chunk: OpenChunk) -> None:
        """Queue a chunk's open rows behind those already queued, or with their like."""
        fresh: list[Try] = []
        for try_ in chunk.tries():
            deaths = chunk.deaths(try_.row)
            if deaths > POISON_DEATHS:
                chunk.poison(try_.row)
            elif deaths == POISON_DEATHS:
                try_.suspect, try_.key = True, None  # it shares nothing
                self.alone.append(try_)
            else:
                fresh.append(try_)
        self._line_up(chunk, fresh)
        self.mark()
        self.wake()

    def _line_up(self, chunk: OpenChunk, fresh: list[Try]) -> None:
        prefixes, ready = self._prefixes, self.ready
        if prefixes is not None and prefixes.saw(chunk, fresh):
            again = [try_ for try_ in ready if try_.number or try_.leads]  # they stay in front
            fresh = [*(try_ for try_ in ready if not (try_.number or try_.leads)), *fresh]
            ready = self.ready = Groups() if prefixes.shares else deque()
            for try_ in reversed(again):
                ready.appendleft(try_)
        if isinstance(ready, deque):
            ready.extend(fresh)
        elif prefixes is not None:
            for try_ in fresh:
                ready.add(prefixes.key(try_), try_)

    def no_more(self) -> None:
        """No row will be added any more: those whose answers will be long go first."""
        if not self.more:
            return
        self.more = False
        if self._prefixes is None or len(self.ready) < 2:
            return
        ready = self.ready
        first = self._prefixes.long_first(list(ready))
        if isinstance(ready, Groups):
            ready.put_first(first)
        else:
            chosen = set(first)
            self.ready = deque([*first, *(try_ for try_ in ready if try_ not in chosen)])

    def any_untried(self) -> bool:
        """True while a ready row was never asked. Looks at all of them: not for every row."""
        return any(not try_.number for try_ in self.ready)

    def next(self, try_: Try) -> None:
        """A row goes before all that are ready."""
        self.ready.appendleft(try_)
        if len(self._lanes) > 1:
            self.wake()

    def later(self, try_: Try, when: float) -> None:
        """A row comes back at `when` (loop time)."""
        heapq.heappush(self._waiting, (when, next(self._order), try_))
        for lane in self._lanes:
            lane.wake(when)

    # -- rows go

    def ripen(self, now: float) -> None:
        """Bring back the waiting rows whose time has come."""
        ripe = False
        while self._waiting and self._waiting[0][0] <= now:
            _, _, try_ = heapq.heappop(self._waiting)
            if try_.suspect:
                self.alone.appendleft(try_)
            elif try_.retrying is None:
                self.ready.appendleft(try_)
            else:
                self._returned[try_.failed_last].append(try_)
                self.returned += 1
            ripe = True
        if ripe and len(self._lanes) > 1:
            self.wake()

    def pick(self, lane: Taker, now: float) -> Try | None:
        """The row this lane may ask now, taken out; None when there is none for it."""
        if self.returned and (try_ := self._come_back(lane, now)) is not None:
            return try_
        if ready := self.ready:
            if isinstance(ready, deque):
                return ready.popleft()
            return ready.take(lane.number, stays=not lane.is_open)
        if not self._may_go_alone(lane, now):
            return None
        self.lonely = True
        return self.alone.popleft()

    def _come_back(self, lane: Taker, now: float) -> Try | None:
        """A row that failed: of another lane first, of this one when nobody else would."""
        mine = lane.number
        for at in (*range(mine + 1, len(self._lanes)), *range(mine + 1)):
            queue: deque[Try] = self._returned[at]
            if queue and self._may_retry(queue[0], lane, now):
                self.returned -= 1
                return queue.popleft()
            if len(queue) > 1 and len(self._lanes) > 1:
                queue.rotate(-1)  # one that this lane has to leave hides no others
        return None

    def _may_retry(self, try_: Try, lane: Taker, now: float) -> bool:
        if self._is_for_others(try_, lane, now):
            return False
        fault = try_.retrying
        if fault is None or not try_.failed_at >> lane.number & 1:
            return True  # a first try, for this lane
        if lane.quota.try_take(fault, now):
            lane.held = None
            return True
        lane.held = fault
        lane.wake(max(lane.quota.next_at(fault, now), now + _QUOTA_LEAST_S))
        return False

    def _is_for_others(self, try_: Try, lane: Taker, now: float) -> bool:
        if try_.failed_last != lane.number or now >= try_.here_at or not lane.elsewhere(now):
            return False
        lane.wake(try_.here_at)
        return True

    def _may_go_alone(self, lane: Taker, now: float) -> bool:
        if not self.alone or self.in_flight or self.waiting:
            return False
        return not self._is_for_others(self.alone[0], lane, now)
