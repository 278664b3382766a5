"""Runs one job: leases chunks, keeps the slots busy, seals and commits, until there is no more.

The runner obeys what is wanted of the job (it polls), reports how far it is,
and stops when told to. It ends a run early only for what no waiting mends; a
row's failure is never its business, and a backend's absence makes it wait.
"""

import asyncio
import enum
import gc
from collections.abc import Callable
from typing import Final

import msgspec

from nightkiln.core.errors import (
    AuthError,
    DiskError,
    Fenced,
    NightkilnError,
    QuotaError,
    UnreachableError,
)
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobState, Live, Wanted
from nightkiln.core.usage import Totals
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.dispatch.tally import Tally
from nightkiln.wire.trouble import Trouble
from nightkiln.worker.base import Desk
from nightkiln.worker.forms import give_forms
from nightkiln.worker.pace import Pace
from nightkiln.worker.patience import Patience
from nightkiln.worker.telling import Told
from nightkiln.worker.window import Window

TICK_S: Final = 0.1
DRAIN_S: Final = 10.0
LEAVE_S: Final = 5.0  # to make the journals safe at the end
_SEAL_AGAIN_S: Final = 1.0
_ASIDE: Final = 8  # times the slots: waiting rows that fresh ones may go past


class Ending(enum.StrEnum):
    """Why a run ended."""

    DONE = "done"  # every chunk is committed
    STOPPED = "stopped"  # it was told to stop
    PAUSE = "pause"  # a pause is wanted
    CANCEL = "cancel"  # a cancel is wanted
    GONE = "gone"  # the job is being deleted
    CAPPED = "capped"  # a cap of its budget is reached
    WAITED = "waited"  # nothing moved for as long as it may wait


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is told once."""

    slots: int = 64
    wait_s: float | None = 600.0  # None: wait without limit
    drain_s: float = DRAIN_S


class Runner:
    """One run of one job by one process. `run` once, then throw away."""

    def __init__(
        self,
        desk: Desk,
        *,
        fleet: Fleet,
        settings: RunSettings,
        on_live: Callable[[Live], None],
        stop: asyncio.Event,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._job = desk.job
        self._leases = desk.leases
        self._clock = desk.dice.clock
        self._fleet = fleet
        self._settings = settings
        self._on_live = on_live
        self._on_notice = on_notice
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self.tally = Tally(desk.job.totals)
        self._told = Told(desk.job)
        self.pace = Pace(self._loop.time())
        self.waiting = ""
        form = give_forms(desk.job.spec, fleet)
        self._window = Window(desk, form=form, tally=self.tally)
        self._pulse = asyncio.Event()
        fleet.on_low = self._pulse.set
        self._chunk_rows = 16  # of the largest chunk seen, to lease no more than is needed
        self._sealing: dict[int, asyncio.Task[None]] = {}
        self._more = True  # the store may have more open chunks
        self._patience = Patience(
            settings.wait_s, fleet=fleet, tally=self.tally, now=self._loop.time()
        )

    async def run(self) -> Ending:
        """Work until there is nothing more to do. Raises what no waiting mends."""
        # What is here now, modules above all, stays for the whole run. Unfrozen,
        # each full collection looks at it again while every slot waits.
        gc.freeze()
        try:
            self._fleet.start()
            ending = await self._work()
        finally:
            gc.unfreeze()
            await self._finish()
        return ending

    async def _work(self) -> Ending:
        while True:
            self._look_for_bugs()
            await self._fill()
            if not self._more and not self._window.open and not self._sealing:
                return Ending.DONE
            if (ending := await self._told_to_end()) is not None:
                return ending
            for text in self._fleet.news():
                self._on_notice(text)
            check_fleet(self._fleet)
            if self._fleet.queued and (reason := self._fleet.capped):
                self.waiting = reason
                return Ending.CAPPED
            if self._waited_enough():
                return Ending.WAITED
            await self._tick()

    # -- the window

    async def _fill(self) -> None:
        """Lease chunks until the slots have two rounds of rows before them, or `plan.order`'s more.

        Rows that wait for another try are no work at hand: fresh rows go past
        them, up to a bound, and their answers are what lets retries go again.
        """
        aside = min(self._fleet.waiting, _ASIDE * self._fleet.slots)
        target = self._fleet.window + aside
        try:
            while self._more and self._window.unanswered < target and not self._window.is_full:
                missing = target - self._window.unanswered
                opened = await self._window.lease_more(1 + missing // self._chunk_rows)
                self._more = bool(opened)
                for chunk in opened:
                    self._begin(chunk)
            if not self._more:
                self._fleet.no_more()
        except DiskError as error:
            self._window.troubles["lease"] = error
        else:
            self._window.troubles.pop("lease", None)

    def _begin(self, chunk: OpenChunk) -> None:
        chunk.on_answered = self._answered
        self._chunk_rows = max(self._chunk_rows, chunk.lease.chunk.rows)
        is_whole = not chunk.unanswered
        self._fleet.add(chunk)
        if is_whole:
            self._answered(chunk)

    def _answered(self, chunk: OpenChunk) -> None:
        number = chunk.lease.chunk.number
        task = self._loop.create_task(self._seal(chunk), name=f"seal chunk {number}")
        self._sealing[number] = task
        task.add_done_callback(lambda _: self._pulse.set())

    async def _seal(self, chunk: OpenChunk) -> None:
        """Seal and commit; a full disk is waited out, for the answers are safe elsewhere."""
        while True:
            try:
                await self._window.seal(chunk, backend=self._fleet.names[0])
            except DiskError as error:
                self._window.troubles["seal"] = error
                await asyncio.sleep(_SEAL_AGAIN_S)
            else:
                self._window.troubles.pop("seal", None)
                return

    def _look_for_bugs(self) -> None:
        """Raise what killed a slot, a healing or a sealing (Fenced among them)."""
        if (bug := self._fleet.broken()) is not None:
            raise bug
        self._window.check_healing()
        for number, task in list(self._sealing.items()):
            if task.done():
                del self._sealing[number]
                task.result()

    # -- when to end

    async def _told_to_end(self) -> Ending | None:
        if self._stop.is_set():
            return Ending.STOPPED
        if not self._told.is_due(self._loop.time()):
            return None
        await self._report()
        job = await self._leases.job(self._job.id)
        if job.state is JobState.DELETING:
            return Ending.GONE
        return {Wanted.CANCEL: Ending.CANCEL, Wanted.PAUSE: Ending.PAUSE}.get(job.wanted)

    def _waited_enough(self) -> bool:
        over = self._patience.is_over(self._loop.time(), self._window.trouble)
        self.waiting = self._patience.waiting
        return over

    async def _tick(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._pulse.wait()
        except TimeoutError:
            pass
        self._pulse.clear()
        self.pace.count(
            self._loop.time(), rows=self.tally.fresh_rows, tokens=self.tally.fresh_tokens
        )
        self._on_live(self._live(self._told.totals))

    # -- telling

    def _live(self, totals: Totals) -> Live:
        return Live(
            at=self._clock(),
            totals=totals,
            rows_per_s=self.pace.rows_per_s,
            tokens_per_s=self.pace.tokens_per_s,
            in_flight=self._fleet.in_flight,
            slots=self._fleet.slots,
            backends=len(self._fleet.lanes),
            down=self._fleet.down,
            waiting=self.waiting,
        )

    async def _report(self) -> None:
        self._told.reports(self._loop.time())
        totals = self._told.at_least(self.tally.totals())
        try:
            await self._leases.report(self._job.id, self._live(totals))
        except DiskError as error:
            self._window.troubles["report"] = error
        else:
            self._told.heard(totals)
            self._window.troubles.pop("report", None)

    # -- the end

    async def _finish(self) -> None:
        """Stop the fleet, keep every answer, and let go of everything."""
        await self._fleet.stop(drain_s=self._settings.drain_s)
        try:
            async with asyncio.timeout(LEAVE_S):  # a disk that fills up now must not hold us
                await asyncio.gather(*self._sealing.values(), return_exceptions=True)
                for chunk in list(self._window.open.values()):
                    await self._window.leave(chunk)
                await self._report()  # whoever looks next sees every answer that is safe
                self._on_live(self._live(self._told.totals))
        except (TimeoutError, DiskError, Fenced):
            pass  # what is journalled stays; the next run finds the leases dead with our lock
        finally:
            await self._window.aclose()


def error_of(fault: Fault, backend: str) -> NightkilnError | None:
    """What ends a run before its first answer."""
    said = f"{backend}: {fault.code}" + (f": {fault.message}" if fault.message else "")
    if fault.kind is FaultClass.AUTH:
        return AuthError(f"the credential is refused by {said}", hint="give another --key")
    if fault.kind is FaultClass.QUOTA:
        return QuotaError(f"no quota left at {said}", hint="add credits or use another key")
    if fault.kind is FaultClass.ROUTE:
        return UnreachableError(
            f"the model is not served by {said}", hint="check --model and --endpoint"
        )
    if fault.unreachable:
        hint = "check --endpoint, and that the server runs"
        if fault.code == Trouble.TLS:
            hint = "check --endpoint; a certificate of your own is trusted by SSL_CERT_FILE=ca.pem"
        return UnreachableError(f"no connection to {said}", hint=hint)
    return None


def check_fleet(fleet: Fleet) -> None:
    """Before the first answer, what is wrong with every backend ends the run."""
    if fleet.answered_any:
        return
    errors: list[NightkilnError] = []
    for lane in fleet.lanes:
        fault = lane.breaker.fault
        error = None if fault is None else error_of(fault, lane.backend.name)
        if error is None:
            return
        errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    said = "; ".join(error.message for error in errors)
    raise type(errors[0])(f"no backend takes the rows: {said}", hint=errors[0].hint)
