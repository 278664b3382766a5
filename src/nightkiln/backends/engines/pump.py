"""Requests in, outcomes out, over engines that may die.

The problem: an engine in our own process can crash on a row, run out of
memory, or lose its thread, with hundreds of requests in flight of which at most
one is to blame. Failing them all would punish the innocent; asking them all
again together would crash the next engine with the same row.

The way chosen: nothing is failed for a death. The engine starts again after a
growing wait, and whoever was in flight is asked again, but alone, with nothing
beside it. A request that kills a second engine while alone is poison; the
others come back with their answers and never learn what happened. Only when no
engine can be loaded several times in a row are callers told that the engine is
down; what they ask later starts a new attempt.

Everything here runs on the event loop; the threads are in `pumpthread`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from nightkiln.backends.engines.machine import Generated, Machine
from nightkiln.backends.engines.pumpthread import PumpThread, Report, Waiting
from nightkiln.backends.engines.ticket import Outcome, Ticket
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass

DEATHS: Final = 2  # engines that may die of a request before it is given up
LOADS: Final = 3  # vain attempts to load before callers are told
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 30.0
JOIN_S: Final = 30.0  # how long closing waits for the step in work

CLOSED: Final = Fault(kind=FaultClass.LOCAL, code="closed", message="closed", sent=False)
TIMEOUT: Final = Fault(
    kind=FaultClass.TRANSIENT, code="timeout", message="not answered in time", sent=False
)
FULL: Final = Fault(
    kind=FaultClass.OVERLOAD, code="engine_queue_full", message="too many requests", sent=False
)


class Pump:
    """Owns the engine's thread and starts a new one when it dies."""

    def __init__(
        self, load: Callable[[], Machine], *, side_by_side: int = 256, queue: int = 4096
    ) -> None:
        self._load = load
        self._side_by_side = side_by_side
        self._queue = queue
        self._waiting = Waiting()
        self._thread: PumpThread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None  # done when a machine is loaded
        self._is_loaded = False
        self._failed_loads = 0
        self._barren = 0  # machines in a row that died before any outcome
        self._closed = False
        self.restarts = 0  # machines that died
        self.last_death = ""  # what the last one said

    @property
    def is_up(self) -> bool:
        """True while a machine is loaded and has not died."""
        return self._is_loaded

    async def start(self) -> None:
        """Load a machine unless there is one. Raises what loading raised."""
        if self._closed or self._is_loaded:
            return
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._ready.add_done_callback(_heard)
            if self._timer is None and self._thread is None:
                self._launch()
        await asyncio.shield(self._ready)

    async def ask(self, ids: Sequence[int], settings: Any, *, deadline: float) -> Outcome:
        """What became of a request, by `deadline` (event loop time). Cancelling gives it up."""
        if self._closed:
            return CLOSED
        if len(self._waiting) >= self._queue:
            return FULL
        loop = asyncio.get_running_loop()
        ticket = Ticket(ids, settings, loop.create_future())
        self._waiting.many.append(ticket)
        self._waiting.wake.set()
        timer = loop.call_at(deadline, self._expire, ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._drop(ticket)
            raise
        finally:
            timer.cancel()

    def _expire(self, ticket: Ticket) -> None:
        ticket.end(TIMEOUT)
        self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        ticket.dropped = True
        self._waiting.cancelled.append(ticket)

    async def aclose(self) -> None:
        """End the thread after its step and tell all who wait. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.stop()
            await asyncio.to_thread(self._thread.thread.join, JOIN_S)
            await asyncio.sleep(0)  # the thread's last word
        self._end_all(CLOSED)
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    # -- the life of machines

    def _launch(self) -> None:
        self._timer = None
        self._thread = PumpThread(
            self._load,
            self._waiting,
            side_by_side=self._side_by_side,
            report=Report(loaded=self._on_loaded, ended=self._on_ended, died=self._on_death),
        )

    def _on_loaded(self) -> None:
        self._is_loaded = True
        self._failed_loads = 0
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._ready = None

    def _on_ended(self, ended: list[tuple[Ticket, Generated | str]]) -> None:
        self._barren = 0
        for ticket, outcome in ended:
            ticket.end(_refusal(outcome) if isinstance(outcome, str) else outcome)

    def _on_death(self, in_flight: list[Ticket], reason: BaseException | None) -> None:
        was_loaded, self._is_loaded, self._thread = self._is_loaded, False, None
        for ticket in in_flight:
            self._survived(ticket)
        if self._closed:
            self._end_all(CLOSED)
            return
        self.last_death = f"{type(reason).__name__}: {reason}" if reason else "its thread ended"
        if was_loaded:
            self.restarts += 1
            self._barren += 1
        else:
            self._failed_loads += 1
        if self._ready is not None and not self._ready.done() and reason is not None:
            self._ready.set_exception(reason)
            self._ready = None
        wanted = was_loaded or len(self._waiting) or self._ready is not None
        if self._failed_loads >= LOADS or not wanted:
            self._end_all(self.down())
            return  # the next `start` begins again
        wait = min(FIRST_WAIT_S * 2.0 ** (self._barren + self._failed_loads - 1), LONGEST_WAIT_S)
        self._timer = asyncio.get_running_loop().call_later(wait, self._launch)

    def _survived(self, ticket: Ticket) -> None:
        """A request whose engine died under it: asked again alone, or given up."""
        ticket.deaths += 1
        if ticket.dropped:
            return
        if ticket.deaths >= DEATHS:
            ticket.end(
                Fault(
                    kind=FaultClass.POISON,
                    code="engine_deaths",
                    message=f"{ticket.deaths} engines died of this row",
                    sent=False,
                )
            )
        else:
            self._waiting.alone.append(ticket)

    def down(self) -> Fault:
        """What callers are told while no engine can be loaded."""
        return Fault(
            kind=FaultClass.TRANSIENT,
            code="engine_down",
            message=self.last_death[:MESSAGE_LIMIT],
            sent=False,
            unreachable=True,
        )

    def _end_all(self, fault: Fault) -> None:
        for queue in (self._waiting.alone, self._waiting.many):
            while queue:
                queue.popleft().end(fault)


def _heard(ready: "asyncio.Future[None]") -> None:
    """A load that failed after its waiters left is no news."""
    if not ready.cancelled():
        ready.exception()


def _refusal(said: str) -> Fault:
    return Fault(
        kind=FaultClass.PERMANENT,
        code="engine_refused",
        message=said[:MESSAGE_LIMIT],
        sent=False,
    )
