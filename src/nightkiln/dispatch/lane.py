"""A lane: the slots to one backend, and everything that decides who goes next.

The problem: hundreds of requests in flight, each of which may come back with
an answer, a wait, or a fault, at a few microseconds of our own time per row. A
task per row costs more than that in memory and scheduling; a timer per retry
or per wait costs another.

The way chosen: one task per slot, each taking the next row whenever it is free.
Rows that must wait lie in one heap with one timer. What may go out at all is
asked of the breaker (is the backend there?), the gate (how many, how fast?) and
the retry quota (does asking again help?); all are pure and live in `plan`. A
row ends here only by an answer or by a fault of its own; a backend that is gone
makes rows wait.

Nothing here opens chunks, writes parts or knows of jobs.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.core import crashpoints
from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Totals, Usage
from nightkiln.dispatch.joins import Following
from nightkiln.dispatch.openchunk import INTERRUPTED, OpenChunk, Try, unsayable
from nightkiln.dispatch.rows import Rows
from nightkiln.dispatch.wakeups import Wakeups
from nightkiln.plan.breaker import Breaker
from nightkiln.plan.budget import Budget, Caps
from nightkiln.plan.gate import Gate
from nightkiln.plan.limiter import AdaptiveLimit
from nightkiln.plan.pacing import Pacer
from nightkiln.plan.quota import RetryQuota
from nightkiln.plan.retry import GiveUp, RetryPolicy

BEAT_S: Final = 0.1
LAG_S: Final = 0.05  # later than this, and our own loop is what is slow
_NO_USAGE: Final = Usage()


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane is told once."""

    slots: int = 64  # at most
    start: int | None = None  # slots to begin with and to adapt from; None: all, and no fewer
    rpm: float | None = None  # requests a minute that the user allows
    tpm: float | None = None  # tokens a minute
    timeout_s: float = 600.0  # of one attempt
    policy: RetryPolicy = RetryPolicy()
    recalls: bool = True  # an answer also serves identical requests that come a little later


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
        budget: Budget | None = None,
    ) -> None:
        self.backend = backend
        self.breaker = Breaker()
        self.quota = RetryQuota()
        most = settings.slots
        limiter = AdaptiveLimit(start=settings.start or most, most=most)
        self.gate = Gate(limiter, Pacer(rpm=settings.rpm, tpm=settings.tpm))
        self.answered_any = False  # the backend has answered in this lane's life
        self.in_flight = 0
        self.on_low: Callable[[], None] = lambda: None  # only a round of rows is left
        self._settings = settings
        self.budget = budget or Budget(Caps(), Totals())
        self._price = price
        self._dice = dice
        self._rows = Rows(self.quota)
        self.joins = Following(recalls=settings.recalls, go=self._rows.next)
        self._wakeups = Wakeups(asyncio.get_running_loop())
        self._heart: asyncio.TimerHandle | None = None
        self._beat_at = 0.0  # loop time
        self.refused_at = -math.inf  # loop time; the last fault that made a row wait
        self._blocked_until = 0.0  # loop time; a throttle asked us to wait
        self._stopping = False
        self._lonely = False  # a suspect is in flight
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    # -- for the owner

    def start(self) -> None:
        """Open the slots."""
        self._man_slots()

    def add(self, chunk: OpenChunk) -> None:
        """Take in a chunk: its open rows, and what is in its journal and in no sum yet."""
        self.joins.learn(chunk)
        for attempt in chunk.all_attempts():
            self.budget.had(attempt)
        self._rows.add(chunk)
        self._wakeups.all()

    async def stop(self, *, drain_s: float) -> None:
        """Take no more rows, wait for those in flight, then cut the rest off."""
        self._stopping = True
        self._wakeups.stop()
        if self._heart is not None:
            self._heart.cancel()
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
        now = self._loop.time()
        wait = max(self._blocked_until, self.gate.pacer.ready_at(now)) - now
        if wait > 0.5 and not self.in_flight:
            return f"throttled by {self.backend.name} for {wait:.0f} s"
        if self._rows.held is not None and not self.in_flight:
            return f"retries are held back, too many requests fail ({self._rows.held.code})"
        return ""

    @property
    def capped(self) -> str:
        """Which cap of the budget nothing more can go under; empty while something is under way."""
        return "" if self.in_flight else self.budget.reason(self._dice.clock())

    @property
    def slots(self) -> int:
        """How many may be in flight now."""
        return self.gate.limiter.limit

    @property
    def waiting(self) -> int:
        """Rows that were asked and wait for their next try, and rows that follow others."""
        return self._rows.waiting + len(self.joins)

    @property
    def queued(self) -> int:
        """Rows not in flight."""
        return len(self._rows) + len(self.joins)

    # -- taking the next row

    async def _slot(self) -> None:
        while not self._stopping:
            try_ = self._take()
            if try_ is None:
                await self._wakeups.sleep()
                continue
            if len(self._rows.ready) == self.slots:
                self.on_low()
            if try_.key is not None and not self.breaker.is_open and self.joins.holds(try_):
                continue  # a probe always leaves: it says whether the backend is back
            self.in_flight += 1
            try_.stamp = self.gate.sent(self._loop.time(), self.in_flight)
            self.budget.sent()
            if self._heart is None and self.gate.limiter.adapts:
                self._beat()
            if self._wakeups.any_idle and self.in_flight < self.slots:
                self._wakeups.one()  # who wakes wakes the next, for as long as there is room
            try:
                await self._attempt(try_)
            finally:
                self.in_flight -= 1
                if try_.leads:
                    self.joins.ended(try_)
                if self._lonely or (self._rows.alone and not self.in_flight):
                    self._lonely = False
                    self._wakeups.all()

    def _take(self) -> Try | None:
        """The row that may go out now; None when there is none, with a timer set."""
        rows = self._rows
        if self._lonely or not (rows.ready or rows.alone or rows.waiting):
            return None
        now = self._loop.time()
        if rows.waiting:
            rows.ripen(now)
            if (when := rows.next_at) is not None:
                self._wakeups.at(when)
        if not (rows.ready or self._may_go_alone()) or not self._may_send(now):
            return None
        if rows.ready:
            return rows.pop()
        self._lonely = True
        return rows.alone.popleft()

    def _may_send(self, now: float) -> bool:
        """What throttles and the breaker say; when they say no, something will wake the slots."""
        when = self.gate.ready_at(now, self.in_flight)
        if when == math.inf:
            return False  # whoever comes back goes on
        when = max(when, self._blocked_until)
        if when > now:
            self._wakeups.at(when)
            return False
        if not self.budget.may_send(self._dice.clock()):
            return False  # a reply may make room; else the owner sees it in `capped`
        if self.breaker.is_open and not self.breaker.allow(now):
            self._wakeups.at(self.breaker.next_at() or now + 1.0)
            return False
        return True

    def _may_go_alone(self) -> bool:
        return bool(self._rows.alone) and not self.in_flight and not self._rows.waiting

    def _man_slots(self) -> None:
        """Open the slots that the limit allows; one that was opened stays, idle or not."""
        name = self.backend.name
        while len(self._tasks) < self.slots:
            slot = self._loop.create_task(self._slot(), name=f"slot {len(self._tasks)} of {name}")
            self._tasks.append(slot)

    def _beat(self) -> None:
        """Ten times a second, while any is in flight: what only time tells, and do we keep up?"""
        now = self._loop.time()
        if self._heart is not None and now - self._beat_at > LAG_S:
            self.gate.limiter.lagged()
        self._heart = None
        if not self.in_flight:
            return
        self.gate.limiter.tick(now)
        self._man_slots()
        self._wakeups.one()
        self._beat_at = now + BEAT_S
        self._heart = self._loop.call_at(self._beat_at, self._beat)

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
            self.budget.lost()
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
        except UsageError as error:  # a body that this backend has no words for
            return unsayable(error)
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
            self._wakeups.all()
        now = self._loop.time()
        self.breaker.on_ok(now)
        self.gate.answered(now, try_.stamp, latency_s=now - started, usage=reply.usage)
        self.budget.ended(reply.usage, attempt.cost_usd)
        if reply.limits is not None:
            self.gate.told(now, reply.limits)
        if len(self._tasks) < self.slots:
            self._man_slots()
        self.quota.on_ok(now, try_.retrying)
        if misfit is None:
            try_.chunk.answered(try_.row, attempt, reply)
            if try_.key is not None:
                self.joins.answered(try_, attempt, reply)
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
        self.gate.faulted(
            now,
            try_.stamp,
            fault,
            in_flight=self.in_flight - 1,
            latency_s=attempt.latency_ms / 1000,
        )
        if was_open and not self.breaker.is_open:
            self._wakeups.all()  # the probe's fault was a sign of life
        self.budget.failed(fault)
        policy, ours = self._settings.policy, self._is_backends_own(fault)
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
            self._blocked_until = max(self._blocked_until, now + (fault.retry_after_s or 0.0))
        self._later(try_, now + delay)

    def _is_backends_own(self, fault: Fault) -> bool:
        """True when a fault says nothing about its row, because the backend is down.

        Once it has answered others and only rows that have failed before are left, a
        probe that is replied to is about its row: else the last rows of a job, if they
        always fail, would keep the breaker open and themselves waiting for ever.
        """
        if self.breaker.counts_against_row:
            return False
        heard = fault.status is not None or fault.kind is FaultClass.PROTOCOL
        return not (heard and self.answered_any and not self._rows.untried)

    def _later(self, try_: Try, when: float) -> None:
        self._rows.later(try_, when)
        self._wakeups.at(when)


def _cut_off(*, sent: bool) -> Fault:
    """The end of an attempt that our own stop cut off."""
    kind = FaultClass.AMBIGUOUS if sent else FaultClass.LOCAL
    return Fault(kind=kind, code=INTERRUPTED, message="stopped by the user", sent=sent)
