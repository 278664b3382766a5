"""Requests in, outcomes out, over engines that may die.

The problem: an engine can crash on a row, run out of memory, or be killed, with
hundreds of requests in flight of which at most one is to blame. Failing them
all would punish the innocent; asking them all again together would crash the
next engine with the same row.

The way chosen: nothing is failed for a death. The engine starts again after a
growing wait, and whoever was in the engine is asked again, but alone, with
nothing beside it. A request that kills a second engine while alone is poison; the
others come back with their answers and never learn what happened. Only when no
engine can be loaded several times in a row are callers told that the engine is
down; what they ask later starts a new attempt. A process that says nothing for
minutes while it has work is killed, which makes it one of the dead.

A trial is a request whose answer nobody wants: it shows what becomes of an
engine that is given a certain schema, before rows are beside it.

What is asked in one turn of the loop goes out in one message. There is no timer
per request: one timer stands at the earliest deadline and then looks at all.
Everything here runs on the event loop; the engine runs in `child.py`.
"""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from nightkiln.backends.engines.messages import Ask, Died, Learn, Load, Loaded, Orders, Told
from nightkiln.backends.engines.process import EngineProcess, loading_error
from nightkiln.backends.engines.ticket import Outcome, Ticket
from nightkiln.core.errors import NightkilnError, UnreachableError
from nightkiln.core.fault import MESSAGE_LIMIT, Fault, FaultClass

DEATHS: Final = 2  # engines that may die of a request before it is given up
LOADS: Final = 3  # vain attempts to load before callers are told
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 30.0
_DOUBLINGS: Final = 10  # of the wait; more would only be cut to the longest
SILENCE_S: Final = 300.0  # of a process with work, before it counts as hung
LOADING_S: Final = 1800.0  # of a process that loads its model
KNOWN: Final = 256  # ways of sampling that a process remembers beside those in use

CLOSED: Final = Fault(kind=FaultClass.LOCAL, code="closed", message="closed", sent=False)
TIMEOUT: Final = Fault(
    kind=FaultClass.TRANSIENT, code="timeout", message="not answered in time", sent=False
)
FULL: Final = Fault(
    kind=FaultClass.OVERLOAD, code="engine_queue_full", message="too many requests", sent=False
)


class Pump:
    """Owns the engine's process and starts a new one when it dies."""

    def __init__(
        self,
        load: Load,
        *,
        side_by_side: int = 512,
        queue: int = 4096,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.process: EngineProcess | None = None
        self.restarts = 0  # engines that died
        self.last_death = ""  # what the last one said
        # Called with what a loaded engine says; may raise NightkilnError.
        self.set_up: Callable[[Loaded], None] = _nothing
        self._load = load
        self._side_by_side = side_by_side  # requests that the process has at a time
        self._queue = queue
        self._silence_s = silence_s
        self._many: deque[Ticket] = deque()
        self._alone: deque[Ticket] = deque()  # suspects and trials: each runs with nothing beside
        self._running: dict[int, Ticket] = {}  # by its number in the process
        self._numbers = itertools.count()
        self._learned: set[int] = set()  # kinds that the process knows
        self._cancelled: list[int] = []
        self._any_over = False  # of those running, perhaps: nobody waits for it any more
        self._is_lonely = False
        self._flush: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # loop time
        self._watch: asyncio.TimerHandle | None = None
        self._launching: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None  # done when an engine is loaded
        self._is_loaded = False
        self._failed_loads = 0
        self._barren = 0  # engines in a row that died before any outcome
        self._closed = False

    @property
    def is_up(self) -> bool:
        """True while an engine is loaded and has not died."""
        return self._is_loaded

    async def start(self) -> None:
        """Load the model unless it is. Raises what loading raised, a NightkilnError."""
        if self._closed or self._is_loaded:
            return
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._ready.add_done_callback(_heard)
        ready = self._ready
        self._see_to_it()
        await asyncio.shield(ready)

    async def ask(self, ticket: Ticket, *, deadline: float) -> Outcome:
        """What became of a request, by `deadline` (event loop time). Cancelling gives it up."""
        if self._closed:
            return CLOSED
        if len(self._many) + len(self._alone) >= self._queue:
            return FULL
        ticket.deadline = deadline
        (self._alone if ticket.is_trial else self._many).append(ticket)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        self._soon()
        self._see_to_it()
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._any_over = True
            self._soon()
            raise

    async def aclose(self) -> None:
        """End the process and tell all who wait. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for handle in (self._flush, self._timer, self._watch, self._launching):
            if handle is not None:
                handle.cancel()
        if self.process is not None:
            process = self.process
            process.close()
            await asyncio.shield(process.ended)
        self._end_all(CLOSED)
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    # -- what goes out

    def _soon(self) -> None:
        """Hand over at the end of this turn of the loop."""
        if self._flush is None and self._is_loaded:
            self._flush = asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """One message with all that the process should do now."""
        self._flush = None
        if not self._is_loaded or self.process is None or self._closed:
            return
        if not self._running:
            self.process.heard_at = asyncio.get_running_loop().time()  # its silence begins now
        if self._any_over:
            self._give_up()
        learn: list[Learn] = []
        ask: list[Ask] = []
        forget = self._forgotten()
        while (ticket := self._next()) is not None:
            kind = ticket.kind
            if kind.number not in self._learned:
                self._learned.add(kind.number)
                learn.append(Learn(kind.number, kind.said))
            number = next(self._numbers)
            self._running[number] = ticket
            ask.append(Ask(number, kind.number, ticket.ids, ticket.text))
        if learn or ask or forget or self._cancelled:
            self.process.send(Orders(learn, self._cancelled, ask, forget))
            self._cancelled = []

    def _forgotten(self) -> list[int]:
        """Ways of sampling that no request in the process has, not even one that waits there."""
        if len(self._learned) < KNOWN + len(self._running):
            return []
        needed = {ticket.kind.number for ticket in self._running.values()}
        forget = self._learned - needed
        self._learned &= needed
        return list(forget)

    def _next(self) -> Ticket | None:
        """The request to hand over now. Suspects wait until nothing else runs, then run alone."""
        running, alone, many = self._running, self._alone, self._many
        if not running:
            self._is_lonely = False
        if self._is_lonely or len(running) >= self._side_by_side:
            return None
        while alone:
            if running:
                return None
            ticket = alone.popleft()
            if not ticket.is_over:
                self._is_lonely = True
                return ticket
        while many:
            ticket = many.popleft()
            if not ticket.is_over:
                return ticket
        return None

    def _give_up(self) -> None:
        """Tell the process of the requests that nobody waits for any more."""
        self._any_over = False
        over = [number for number, ticket in self._running.items() if ticket.is_over]
        for number in over:
            del self._running[number]
        self._cancelled += over

    # -- what comes back

    def _on_loaded(self, loaded: Loaded) -> None:
        problem: NightkilnError | None = UnreachableError("the engine's words are not understood")
        try:
            self.set_up(loaded)
            problem = None
        except NightkilnError as said:
            problem = said
        finally:  # a bug goes on its way, but nobody waits for ever
            if problem is not None:
                self._unusable(problem)
        if problem is not None:
            return
        self._is_loaded = True
        self._failed_loads = 0
        self._learned.clear()
        self._tell_ready(None)
        self._hand_over()

    def _unusable(self, problem: NightkilnError) -> None:
        self._tell_ready(problem)
        if self.process is not None:
            self.process.kill(problem.message)

    def _on_told(self, told: Told) -> None:
        for ended in told.ended:
            if (ticket := self._running.pop(ended.number, None)) is not None:
                ticket.end(ended)
        for refused in told.refused:
            if (ticket := self._running.pop(refused.number, None)) is not None:
                ticket.end(_permanent(refused.code, refused.message))
        if told.ended or told.refused:
            self._barren = 0
            self._hand_over()

    # -- deadlines

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._expire)

    def _expire(self) -> None:
        """End what is late, and set the timer to the next that can be."""
        now, soonest = asyncio.get_running_loop().time(), math.inf
        for ticket in self._tickets():
            if ticket.is_over:
                continue
            if ticket.deadline <= now:
                self._any_over = True
                ticket.end(TIMEOUT)
            else:
                soonest = min(soonest, ticket.deadline)
        self._timer, self._timer_at = None, math.inf
        if soonest < math.inf:
            self._set_timer(soonest)
        self._soon()

    def _tickets(self) -> Iterator[Ticket]:
        return itertools.chain(self._running.values(), self._alone, self._many)

    def _listen(self) -> None:
        """Kill a process that has work and says nothing."""
        self._watch = None
        process = self.process
        if process is None:
            return
        loop = asyncio.get_running_loop()
        patience = self._silence_s if self._is_loaded else LOADING_S
        if self._is_loaded and not self._running:
            process.heard_at = loop.time()
        if (left := process.heard_at + patience - loop.time()) <= 0:
            process.kill(f"the engine's process said nothing for {patience:.0f} s")
            left = patience
        self._watch = loop.call_later(min(left, self._silence_s), self._listen)

    # -- the life of engines

    def _see_to_it(self) -> None:
        """Start a process unless there is one or it is about to start."""
        if self._launching is None and self.process is None:
            self._launch()

    def _launch(self) -> None:
        self._launching = None
        try:
            self.process = EngineProcess(
                self._load,
                on_loaded=self._on_loaded,
                on_told=self._on_told,
                on_death=self._on_death,
            )
        except OSError as problem:
            self._on_death(Died(reason=f"no process can be started: {problem.strerror}"))
            return
        if self._watch is None:
            self._listen()

    def _on_death(self, died: Died) -> None:
        was_loaded, self._is_loaded, self.process = self._is_loaded, False, None
        self.last_death = died.reason
        in_flight, self._running = list(self._running.values()), {}
        self._cancelled = []
        if self._closed:
            self._alone.extend(in_flight)
            self._end_all(CLOSED)
            return
        ahead = self._load.in_engine
        suspects, innocent = in_flight[:ahead], in_flight[ahead:]
        self._many.extendleft(reversed(innocent))  # they waited in the process: see `child.py`
        for ticket in suspects:
            self._survived(ticket, is_told=died.is_told)
        if was_loaded:
            self.restarts += 1
            self._barren += 1
        else:
            self._failed_loads += 1
            self._tell_ready(loading_error(died))
        wanted = was_loaded or self._many or self._alone or self._ready is not None
        if self._failed_loads >= LOADS or not wanted:
            self._end_all(self.down())
            return  # the next `start` begins again
        times = min(self._barren + self._failed_loads - 1, _DOUBLINGS)
        wait = min(FIRST_WAIT_S * 2.0**times, LONGEST_WAIT_S)
        self._launching = asyncio.get_running_loop().call_later(wait, self._launch)

    def _survived(self, ticket: Ticket, *, is_told: bool) -> None:
        """A request whose engine died under it: asked again alone, or given up."""
        ticket.deaths += 1
        if ticket.is_over:
            return
        if ticket.is_trial and is_told:  # it ran alone, and the engine said why
            ticket.end(_permanent("engine_refused", self.last_death))
        elif ticket.deaths >= DEATHS:
            message = f"{ticket.deaths} engines died of this row: {self.last_death}"
            ticket.end(
                Fault(
                    kind=FaultClass.POISON,
                    code="engine_deaths",
                    message=message[:MESSAGE_LIMIT],
                    sent=False,
                )
            )
        else:
            self._alone.append(ticket)

    def _tell_ready(self, problem: NightkilnError | None) -> None:
        ready, self._ready = self._ready, None
        if ready is None or ready.done():
            return
        if problem is None:
            ready.set_result(None)
        else:
            ready.set_exception(problem)

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
        for queue in (self._alone, self._many):
            while queue:
                queue.popleft().end(fault)


def _nothing(_: Loaded) -> None:
    """What is done with a loaded engine when nobody says."""


def _heard(ready: "asyncio.Future[None]") -> None:
    """A load that failed after its waiters left is no news."""
    if not ready.cancelled():
        ready.exception()


def _permanent(code: str, said: str) -> Fault:
    return Fault(kind=FaultClass.PERMANENT, code=code, message=said[:MESSAGE_LIMIT], sent=False)
