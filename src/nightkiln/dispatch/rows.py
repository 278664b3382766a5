"""The rows of a lane that are not in flight: ready, waiting for their time, or to run alone.

Rows that must wait lie in one heap, so one timer serves them all. It decides
nothing about backends; the lane does.
"""

import heapq
import itertools
from collections import deque

from nightkiln.core.fault import Fault
from nightkiln.dispatch.openchunk import OpenChunk, Try
from nightkiln.plan.quota import RetryQuota
from nightkiln.vault.recovery import POISON_DEATHS


class Rows:
    """Owned by one lane."""

    def __init__(self, quota: RetryQuota) -> None:
        self.ready: deque[Try] = deque()
        self.alone: deque[Try] = deque()  # suspects of poison: one at a time, nothing beside
        self.untried = 0  # of the ready rows, those never asked
        self.held: Fault | None = None  # whose retries the quota holds back
        self._waiting: list[tuple[float, int, Try]] = []  # a heap by loop time
        self._order = itertools.count()
        self._quota = quota

    def __len__(self) -> int:
        return len(self.ready) + len(self.alone) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Rows that were asked and wait for their next try."""
        return len(self._waiting)

    @property
    def next_at(self) -> float | None:
        """When the first waiting row's time comes (loop time)."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, chunk: OpenChunk) -> None:
        """Queue a chunk's open rows behind those already queued."""
        for try_ in chunk.tries():
            deaths = chunk.deaths(try_.row)
            if deaths > POISON_DEATHS:
                chunk.poison(try_.row)
            elif deaths == POISON_DEATHS:
                try_.suspect, try_.key = True, None  # it shares nothing
                self.alone.append(try_)
            else:
                self.ready.append(try_)
                self.untried += not try_.number

    def pop(self) -> Try:
        """The first of the ready rows."""
        try_ = self.ready.popleft()
        self.untried -= not try_.number
        return try_

    def next(self, try_: Try) -> None:
        """A row goes before all that are ready."""
        self.ready.appendleft(try_)
        self.untried += not try_.number

    def later(self, try_: Try, when: float) -> None:
        """A row comes back at `when` (loop time)."""
        heapq.heappush(self._waiting, (when, next(self._order), try_))

    def ripen(self, now: float) -> None:
        """Move waiting rows whose time has come, and whose retry can be had, to the front."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, try_ = heapq.heappop(self._waiting)
            fault = try_.retrying
            if fault is None or self._quota.try_take(fault, now):
                self.held = None
                (self.alone if try_.suspect else self.ready).appendleft(try_)
            else:
                self.held = fault
                self.later(try_, max(self._quota.next_at(fault, now), now + 0.05))
