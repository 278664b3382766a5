"""A lane: the slots to one backend, and everything that decides who goes next.

The problem: hundreds of requests in flight, each of which may come back with
an answer, a wait, or a fault, at a few microseconds of our own time per row. A
task per row costs more than that in memory and scheduling; a timer per retry
or per wait costs another.

The way chosen: `slots` tasks, each taking the next row whenever it is free.
Rows that must wait lie in one heap with one timer. What may go out at all is
asked of the breaker (is the backend there?) and the retry quota (does asking
again help?); both are pure and live in `plan`. A row ends here only by an
answer or by a fault of its own; a backend that is gone makes rows wait.

Nothing here opens chunks, writes parts or knows of jobs.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.core import crashpoints
from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.dispatch.openchunk import INTERRUPTED, OpenChunk, Try
from nightkiln.plan.breaker import Breaker
from nightkiln.plan.ceiling import Ceiling
from nightkiln.plan.quota import RetryQuota
from nightkiln.plan.retry import GiveUp, RetryPolicy
from nightkiln.vault.recovery import POISON_DEATHS

_NO_USAGE: Final = Usage()


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane is told once."""

    slots: int = 64
    timeout_s: float = 600.0  # of one attempt
    policy: RetryPolicy = RetryPolicy()


class Dice(msgspec.Struct, frozen=True):
    """Time and chance, handed in so that tests may own them."""

    clock: Callable[[], float]  # epoch seconds
    roll: Callable[[], float]  # uniform in [0, 1)


class Lane:
    """The slots to one backend. Owned by a runner: `start`, `add`, then `stop`."""

    def __init__(
        self,
        backend: PromptBackend,
        *,
        settings: LaneSettings,
        price: Callable[[Usage], float | None],
        dice: Dice,
    ) -> None:
        self.backend = backend
        self.breaker = Breaker()
        self.quota = RetryQuota()
        self.ceiling = Ceiling(settings.slots)
        self.answered_any = False  # the backend has answered in this lane's life
        self.in_flight = 0
        self.on_low: Callable[[], None] = lambda: None  # only a round of rows is left
        self._settings = settings
        self._price = price
        self._dice = dice
        self._ready: deque[Try] = deque()
        self._alone: deque[Try] = deque()  # suspects of poison: one at a time, nothing beside
        self._waiting: list[tuple[float, int, Try]] = []  # a heap by loop time
        self._order = itertools.count()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # loop time; not every loop's handles say when they fire
        self.refused_at = -math.inf  # loop time; the last fault that made a row wait
        self._held: Fault | None = None  # whose retries the quota holds back
        self._blocked_until = 0.0  # loop time; a throttle asked us to wait
        self._stopping = False
        self._lonely = False  # a suspect is in flight
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    # -- for the owner

    def start(self) -> None:
        """Open the slots."""
        name = self.backend.name
        self._tasks = [
            self._loop.create_task(self._slot(), name=f"slot {n} of {name}")
            for n in range(self._settings.slots)
        ]

    def add(self, chunk: OpenChunk) -> None:
        """Queue a chunk's open rows behind those already queued."""
        for try_ in chunk.tries():
            deaths = chunk.deaths(try_.row)
            if deaths > POISON_DEATHS:
                chunk.poison(try_.row)
            elif deaths == POISON_DEATHS:
                try_.suspect = True
                self._alone.append(try_)
            else:
                self._ready.append(try_)
        self._wake()

    async def stop(self, *, drain_s: float) -> None:
        """Take no more rows, wait for those in flight, then cut the rest off."""
        self._stopping = True
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=max(0.0, drain_s))
            for task in left:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def broken(self) -> BaseException | None:
        """What killed a slot, if anything did: a bug of ours, never a fault of a row."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    def waiting_for(self) -> str:
        """Why nothing goes out, or an empty string."""
        if self.breaker.is_open:
            return self.breaker.reason
        wait = self._blocked_until - self._loop.time()
        if wait > 0.5 and not self.in_flight:
            return f"throttled by {self.backend.name} for {wait:.0f} s"
        if self._held is not None and not self.in_flight:
            return f"retries are held back, too many requests fail ({self._held.code})"
        return ""

    @property
    def waiting(self) -> int:
        """Rows that were asked and wait for their next try."""
        return len(self._waiting)

    @property
    def queued(self) -> int:
        """Rows not in flight."""
        return len(self._ready) + len(self._alone) + len(self._waiting)

    # -- taking the next row

    async def _slot(self) -> None:
        while not self._stopping:
            try_ = self._take()
            if try_ is None:
                waiter = self._loop.create_future()
                self._idle.append(waiter)
                await waiter
                continue
            self.in_flight += 1
            if len(self._ready) == self._settings.slots:
                self.on_low()
            try:
                await self._attempt(try_)
            finally:
                self.in_flight -= 1
                if self._lonely or (self._alone and not self.in_flight):
                    self._lonely = False
                    self._wake()

    def _take(self) -> Try | None:
        """The row that may go out now; None when there is none, with a timer set."""
        if self._lonely or not (self._ready or self._alone or self._waiting):
            return None
        now = self._loop.time()
        if self._waiting:
            self._ripen(now)
        if not (self._ready or self._may_go_alone()) or not self._may_send(now):
            return None
        if self._ready:
            return self._ready.popleft()
        self._lonely = True
        return self._alone.popleft()

    def _may_send(self, now: float) -> bool:
        """What throttles and the breaker say; when they say no, something will wake the slots."""
        if self.ceiling.is_low and self.in_flight >= self.ceiling.limit:
            return False  # whoever comes back goes on, and `_replied` wakes more
        if now < self._blocked_until:
            self._wake_at(self._blocked_until)
            return False
        if self.breaker.is_open and not self.breaker.allow(now):
            self._wake_at(self.breaker.next_at() or now + 1.0)
            return False
        return True

    def _may_go_alone(self) -> bool:
        return bool(self._alone) and not self.in_flight and not self._waiting

    def _ripen(self, now: float) -> None:
        """Move waiting rows whose time has come to the front of the queue."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, try_ = heapq.heappop(self._waiting)
            fault = try_.retrying
            if fault is None or self.quota.try_take(fault, now):
                self._held = None
                (self._alone if try_.suspect else self._ready).appendleft(try_)
            else:
                later = max(self.quota.next_at(fault, now), now + 0.05)
                self._held = fault
                heapq.heappush(self._waiting, (later, next(self._order), try_))
        if self._waiting:
            self._wake_at(self._waiting[0][0])

    def _wake(self) -> None:
        idle, self._idle = self._idle, deque()
        for waiter in idle:
            if not waiter.done():
                waiter.set_result(None)

    def _wake_one(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(when, self._on_timer), when

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()

    # -- one attempt

    async def _attempt(self, try_: Try) -> None:
        chunk, row = try_.chunk, try_.row
        try_.number += 1
        await self._sent(try_)
        crashpoints.reach("journal.sent")
        sent_at, started = self._dice.clock(), self._loop.time()
        try:
            outcome = await self._answer(try_, started + self._settings.timeout_s)
        except asyncio.CancelledError:
            chunk.faulted(row, self._end(try_, sent_at, started, _cut_off(sent=True)))
            raise
        if isinstance(outcome, Reply):
            self._replied(try_, outcome, sent_at, started)
        else:
            self._fault(try_, outcome, self._end(try_, sent_at, started, outcome))

    async def _sent(self, try_: Try) -> None:
        """Wait until the journal says that this try is about to leave."""
        ticket = try_.chunk.sent(try_.row, try_.number, self.backend.name)
        try:
            await ticket  # shared by many slots; only `stop` cancels, and then all of them
        except asyncio.CancelledError:
            now = self._loop.time()
            try_.chunk.faulted(
                try_.row, self._end(try_, self._dice.clock(), now, _cut_off(sent=False))
            )
            raise

    async def _answer(self, try_: Try, deadline: float) -> Reply | Fault:
        """The row boundary: whatever happens in here is this attempt's fault."""
        try:
            request = try_.chunk.request(try_.row, larger=try_.larger)
            return await self.backend.answer(request, deadline=deadline)
        except Exception as error:
            return Fault(
                kind=FaultClass.PROTOCOL,
                code="backend_raised",
                message=f"{type(error).__name__} in {self.backend.name}",
            )

    def _replied(self, try_: Try, reply: Reply, sent_at: float, started: float) -> None:
        misfit = try_.chunk.misfit(reply)
        attempt = Attempt(
            number=try_.number,
            backend=self.backend.name,
            sent_at=sent_at,
            latency_ms=round((self._loop.time() - started) * 1000, 3),
            usage=reply.usage,
            cost_usd=self._price(reply.usage),
            fault=misfit,
            request_id=reply.request_id,
        )
        self.answered_any = True
        if self.breaker.is_open:
            self._wake()
        now = self._loop.time()
        self.breaker.on_ok(now)
        if self.ceiling.is_low:
            self.ceiling.on_ok()
            self._wake_one()
        self.quota.on_ok(now, try_.retrying)
        if misfit is None:
            try_.chunk.answered(try_.row, attempt, reply)
        elif try_.larger:
            try_.chunk.failed(try_.row, attempt, misfit)
        else:
            try_.larger = True
            try_.chunk.faulted(try_.row, attempt)
            self._later(try_, now)

    def _end(self, try_: Try, sent_at: float, started: float, fault: Fault) -> Attempt:
        return Attempt(
            number=try_.number,
            backend=self.backend.name,
            sent_at=sent_at,
            latency_ms=round((self._loop.time() - started) * 1000, 3),
            usage=_NO_USAGE,
            fault=fault,
        )

    def _fault(self, try_: Try, fault: Fault, attempt: Attempt) -> None:
        now, was_open = self._loop.time(), self.breaker.is_open
        self.breaker.on_fault(fault, now, self._dice.roll())
        if was_open and not self.breaker.is_open:
            self._wake()  # the probe's fault was a sign of life
        policy, ours = self._settings.policy, not self.breaker.counts_against_row
        try_.overloads += fault.kind is FaultClass.OVERLOAD
        try_.throttles += fault.kind is FaultClass.THROTTLE
        try_.counted += not ours and policy.is_counted(fault, overloads=try_.overloads)
        decision = policy.decide(
            fault,
            counted=try_.counted,
            overloads=try_.overloads,
            throttles=try_.throttles,
            roll=self._dice.roll(),
        )
        if isinstance(decision, GiveUp) and not (decision.exhausted and ours):
            try_.chunk.failed(try_.row, attempt, fault)
            return
        delay = 0.0 if isinstance(decision, GiveUp) else decision.delay_s
        try_.chunk.faulted(try_.row, attempt)
        try_.retrying = fault
        self.refused_at = now
        if fault.kind is FaultClass.THROTTLE:
            self.ceiling.on_throttle(now, in_flight=self.in_flight)
            self._blocked_until = max(self._blocked_until, now + (fault.retry_after_s or 0.0))
        self._later(try_, now + delay)

    def _later(self, try_: Try, when: float) -> None:
        heapq.heappush(self._waiting, (when, next(self._order), try_))
        self._wake_at(when)


def _cut_off(*, sent: bool) -> Fault:
    """The end of an attempt that our own stop cut off."""
    kind = FaultClass.AMBIGUOUS if sent else FaultClass.LOCAL
    return Fault(kind=kind, code=INTERRUPTED, message="stopped by the user", sent=sent)
