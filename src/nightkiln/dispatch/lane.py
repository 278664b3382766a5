"""A lane: the slots to one backend, and everything that decides who goes next.

The problem: hundreds of requests in flight, each of which may come back with
an answer, a wait, or a fault, at a few microseconds of our own time per row. A
task per row costs more than that in memory and scheduling; a timer per retry
or per wait costs another.

The way chosen: one task per slot, each taking the next row whenever it is free.
The rows lie in one place that all lanes of a job share. What may go out at all is
asked of the breaker (is the backend there?), the gate (how many, how fast?) and
the retry quota (does asking again help?), and of the route (should another lane
go first?); all are pure and live in `plan`. A row ends here only by an answer or
by a fault of its own; a backend that is gone makes rows wait, or go elsewhere.

Where lanes of other jobs go to the same backend, the gate is theirs too and they
take turns; see `dispatch.turns`. Nothing here opens chunks, writes parts or knows of jobs.
"""

import asyncio
import math
from typing import Final

from nightkiln.core import crashpoints
from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.dispatch.ends import decide, is_backends_own, unanswered
from nightkiln.dispatch.member import Common, Member
from nightkiln.dispatch.openchunk import Form, Try, cut_off, unsayable
from nightkiln.dispatch.peers import Peers
from nightkiln.dispatch.turns import Place, Turnstile
from nightkiln.dispatch.wakeups import Wakeups
from nightkiln.plan.breaker import Breaker
from nightkiln.plan.quota import RetryQuota
from nightkiln.plan.retry import GiveUp
from nightkiln.plan.route import ELSEWHERE_S, LOOK_AGAIN_S, TYPICAL

BEAT_S: Final = 0.1
LAG_S: Final = 0.05  # later than this, and our own loop is what is slow


class Lane:
    """The slots to one backend. Owned by a fleet: `start`, then `stop`."""

    def __init__(self, member: Member, common: Common) -> None:
        settings = member.settings
        self.backend = member.backend
        self.breaker = Breaker()
        self.quota = RetryQuota()
        self.gate = settings.terms.gate()
        self._turnstile = member.turnstile or Turnstile()
        self.place: Place | None = None  # beside lanes of other jobs; the gate is then this
        self.answered_any = False  # the backend has answered in this lane's life
        self.in_flight = 0
        self.held: Fault | None = None  # whose retries the quota holds back
        self.form: Form | None = None  # of requests to this backend, where it is not the chunk's
        self.settings = settings
        self._budget = common.budget
        self._price = member.price
        self.typical_usd = member.price(TYPICAL)
        self._dice = common.dice
        self._on_low = common.on_low
        self._asker = common.asker
        self._rows = common.rows
        self._joins = common.joins
        self.number = self._rows.join(self)
        self._peers = Peers(())
        self.took_s = 0.0  # an answer, on average; only kept beside peers
        self._wakeups = Wakeups(asyncio.get_running_loop())
        self._heart: asyncio.TimerHandle | None = None
        self._beat_at = 0.0  # loop time
        self.refused_at = -math.inf  # loop time; the last fault that made a row wait
        self.stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    # -- for the owner

    def start(self, peers: "tuple[Lane, ...]" = ()) -> None:
        """Open the slots, beside the other lanes of the job."""
        self._peers = Peers(peers, than=self.typical_usd)
        self._turnstile.enter(self, self.settings.terms, self._asker)
        self._rows.mark()
        self._man_slots()

    async def stop(self, *, drain_s: float) -> None:
        """Take no more rows, wait for those in flight, then cut the rest off."""
        self.stopping = True
        self._wakeups.stop()
        if self._heart is not None:
            self._heart.cancel()
        if self.place is not None:
            self.place.sleeps(self._loop.time())
        try:
            if self._tasks:
                _, left = await asyncio.wait(self._tasks, timeout=max(0.0, drain_s))
                for task in left:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            self._turnstile.leave(self, self._loop.time())

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
        wait = max(self.gate.held_until, self.gate.pacer.ready_at(now)) - now
        if wait > 0.5 and not self.in_flight:
            return f"throttled by {self.backend.name} for {wait:.0f} s"
        if self.held is not None and not self.in_flight:
            return f"retries are held back, too many requests fail ({self.held.code})"
        return ""

    @property
    def slots(self) -> int:
        """How many may be in flight now; beside other jobs, when those want none."""
        return self.gate.limiter.limit if self.place is None else self.place.slots

    @property
    def room(self) -> int:
        """How many more may be in flight now."""
        room = self.slots - self.in_flight if self.place is None else self.place.room
        return max(0, room)

    @property
    def wants(self) -> bool:
        """True when a slot sleeps and there is a row for it."""
        rows = self._rows
        return self._wakeups.any_idle and bool(rows.ready or rows.returned or rows.alone)

    @property
    def is_open(self) -> bool:
        """True while only probes may go."""
        return self.breaker.is_open

    def wake(self, when: float | None = None) -> None:
        """Wake one slot, now or at a loop time."""
        if when is None:
            self._wakeups.one()
        else:
            self._wakeups.at(when)

    def wake_all(self) -> None:
        """Wake every slot that sleeps."""
        self._wakeups.all()

    # -- beside other lanes

    def elsewhere(self, now: float) -> bool:
        """True when another lane could take a row soon."""
        return self._peers.could_serve(now)

    def may_serve(self, now: float, *, within_s: float = 0.0) -> bool:
        """True when nothing but full slots keeps a row from going out here by then."""
        if self.breaker.is_open or self.stopping or self.gate.held_until > now + within_s:
            return False
        return self.gate.pacer.ready_at(now) <= now + within_s

    def _lets_others_go(self, now: float) -> bool:
        """True when cheaper or, at the end, quicker lanes should take the ready rows."""
        if self.breaker.is_open or not self._peers.lets_go(self, self._rows, now):
            return False
        self._wakeups.at(now + LOOK_AGAIN_S)
        return True

    # -- taking the next row

    async def _slot(self) -> None:
        rows, joins = self._rows, self._joins
        while not self.stopping:
            try_ = self._take()
            if try_ is None:
                await self._sleep()
                continue
            if len(rows.ready) == rows.low_mark:
                self._on_low()
            if try_.key is not None and not self.breaker.is_open and joins.holds(try_):
                continue  # a probe always leaves: it says whether the backend is back
            self.in_flight += 1
            rows.in_flight += 1
            try_.stamp = self.gate.sent(self._loop.time(), self.in_flight)
            self._budget.sent()
            if self._heart is None and self.gate.limiter.adapts:
                self._beat()
            if self.place is None and self._wakeups.any_idle and self.in_flight < self.slots:
                self._wakeups.one()  # who wakes wakes the next, for as long as there is room
            try:
                await self._attempt(try_)
            finally:
                self.in_flight -= 1
                rows.in_flight -= 1
                if self.place is not None:
                    self.place.ended()
                if try_.leads:
                    joins.ended(try_)
                if rows.lonely or (rows.alone and not rows.in_flight):
                    rows.lonely = False
                    rows.wake_all()
                if rows.pinched:
                    rows.pinched = False
                    rows.wake(but=self)

    async def _sleep(self) -> None:
        """Until there may be something to do."""
        if self.place is not None:
            self.place.sleeps(self._loop.time())
        await self._wakeups.sleep()

    def _take(self) -> Try | None:
        """The row that may go out now; None when there is none, with a timer set."""
        rows = self._rows
        if rows.lonely or rows.is_empty:
            return None
        now = self._loop.time()
        if (when := rows.next_at) is not None:
            rows.ripen(now)
            if (when := rows.next_at) is not None:
                self._wakeups.at(when)
        if not (rows.ready or rows.returned or rows.alone) or not self._may_send(now):
            return None
        if self._peers and self._lets_others_go(now) and not rows.returned:
            return None
        try_ = rows.pick(self, now)
        if try_ is not None and self.breaker.is_open:
            self.breaker.allow(now)  # this is its probe
        return try_

    def _may_send(self, now: float) -> bool:
        """What throttles and the breaker say; when they say no, something will wake the slots."""
        when = self.gate.ready_at(now, self.in_flight)
        if when == math.inf:
            return False  # whoever comes back goes on
        if self.breaker.is_open:
            when = max(when, self.breaker.next_at() or 0.0)
        when = max(when, self.gate.held_until)
        if when > now:
            self._wakeups.at(when)
            return False
        if not self._budget.may_send(self._dice.clock()):
            self._rows.pinched = bool(self._peers)
            return False  # a reply may make room; else the owner sees it in `capped`
        return True

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
        self._rows.mark()
        self._man_slots()
        self._wakeups.one()
        if self.place is not None:
            self.place.wake_next(now)
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
            outcome = await self._answer(try_, started + self.settings.timeout_s)
        except asyncio.CancelledError:
            chunk.faulted(row, self._end(try_, cut_off(sent=True), sent_at, started))
            self._budget.lost()
            raise
        if isinstance(outcome, Reply):
            self._replied(try_, outcome, sent_at, started)
        else:
            self._fault(try_, outcome, self._end(try_, outcome, sent_at, started))

    async def _sent(self, try_: Try) -> None:
        """Wait until the journal says that this try is about to leave."""
        ticket = try_.chunk.sent(try_.row, try_.number, self.backend.name)
        try:
            await ticket  # shared by many slots; only `stop` cancels, and then all of them
        except asyncio.CancelledError:
            sent_at, now = self._dice.clock(), self._loop.time()
            try_.chunk.faulted(try_.row, self._end(try_, cut_off(sent=False), sent_at, now))
            raise

    async def _answer(self, try_: Try, deadline: float) -> Reply | Fault:
        """The row boundary: whatever happens in here is this attempt's fault."""
        try:
            request = try_.chunk.request(try_.row, larger=try_.larger, form=self.form)
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
        self._budget.ended(reply.usage, attempt.cost_usd)
        if reply.limits is not None:
            self.gate.told(now, reply.limits)
        if len(self._tasks) < self.slots:
            self._man_slots()
        if self._peers:
            self.took_s += (now - started - self.took_s) * (0.05 if self.took_s else 1.0)
        self.quota.on_ok(now, try_.retrying if try_.failed_at >> self.number & 1 else None)
        if misfit is None:
            try_.chunk.answered(try_.row, attempt, reply)
            if try_.key is not None:
                self._joins.answered(try_, attempt, reply)
        elif try_.larger or not try_.chunk.may_mend(reply, self.form):
            try_.chunk.failed(try_.row, attempt, misfit)
        else:
            try_.larger = True
            try_.chunk.faulted(try_.row, attempt)
            self._rows.later(try_, now)

    def _end(self, try_: Try, fault: Fault, sent_at: float, started: float) -> Attempt:
        took_s = self._loop.time() - started
        return unanswered(try_, self.backend.name, fault, sent_at=sent_at, took_s=took_s)

    def _fault(self, try_: Try, fault: Fault, attempt: Attempt) -> None:
        now, was_open = self._loop.time(), self.breaker.is_open
        self.breaker.on_fault(fault, now, self._dice.roll())
        if was_open:
            self.gate.probed(now, try_.stamp, fault)
        else:
            took_s = attempt.latency_ms / 1000
            in_flight = self.in_flight - 1
            self.gate.faulted(now, try_.stamp, fault, in_flight=in_flight, latency_s=took_s)
        if was_open and not self.breaker.is_open:
            self._wakeups.all()  # the probe's fault was a sign of life
        self._budget.failed(fault)
        ours = not self.breaker.counts_against_row and is_backends_own(
            fault, answered_any=self.answered_any, any_untried=self._rows.any_untried
        )
        policy, roll = self.settings.policy, self._dice.roll()
        decision = decide(try_, fault, policy, backends_own=ours, roll=roll)
        if isinstance(decision, GiveUp) and not (decision.exhausted and ours):
            try_.chunk.failed(try_.row, attempt, fault)
            return
        delay = 0.0 if isinstance(decision, GiveUp) else decision.delay_s
        try_.chunk.faulted(try_.row, attempt)
        try_.retrying = fault
        self.refused_at = now
        self._give_back(try_, fault, now, delay)

    def _give_back(self, try_: Try, fault: Fault, now: float, delay: float) -> None:
        """The row waits for its next try: here, or sooner at another lane."""
        try_.failed_at |= 1 << self.number
        try_.failed_last = self.number
        try_.here_at = now + max(delay, ELSEWHERE_S)
        if delay and self._peers.takes(try_, fault, now, is_down=self.breaker.is_open):
            delay = 0.0
        self._rows.later(try_, now + delay)
