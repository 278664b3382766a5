"""The thread that owns a machine: it loads it, feeds it, steps it and tells what ended.

One life of a machine is one thread. It talks to the event loop by two deques
and by `call_soon_threadsafe`, at most once per step. It decides nothing: who is
asked again after a death is the pump's affair.

A step holds the interpreter's lock, so the loop runs between steps only, and
every change of hands costs more than the loop has to do for a row. So what has
ended is told together, every few milliseconds, as long as rows are waiting.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from nightkiln.backends.engines.machine import Generated, Handle, Machine
from nightkiln.backends.engines.ticket import Ticket
from nightkiln.core.errors import NightkilnError

IDLE_S: Final = 1.0  # how long an idle thread sleeps before it looks whether it should end
TELL_S: Final = 0.02  # how long an outcome may wait for others while there is work to go on with
_CRASHES: Final = (RuntimeError, MemoryError, OSError, ValueError, SystemError)


class Waiting:
    """The requests that no machine has yet. Outlives machines; filled by the loop."""

    def __init__(self) -> None:
        self.many: deque[Ticket] = deque()
        self.alone: deque[Ticket] = deque()  # suspects: each runs with nothing beside it
        self.cancelled: deque[Ticket] = deque()
        self.wake = threading.Event()

    def __len__(self) -> int:
        return len(self.many) + len(self.alone)


class Report:
    """What the thread tells the loop; every method is called on the loop."""

    def __init__(
        self,
        *,
        loaded: Callable[[], None],
        ended: Callable[[list[tuple[Ticket, Generated | str]]], None],
        died: Callable[[list[Ticket], BaseException | None], None],
    ) -> None:
        self.loaded = loaded
        self.ended = ended  # a str is the engine's refusal
        self.died = died


class PumpThread:
    """One life of a machine."""

    def __init__(
        self,
        load: Callable[[], Machine],
        waiting: Waiting,
        *,
        side_by_side: int,
        report: Report,
    ) -> None:
        self._load = load
        self._waiting = waiting
        self._side_by_side = side_by_side
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._running: dict[Handle, Ticket] = {}
        self._handles: dict[Ticket, Handle] = {}
        self._ended: list[tuple[Ticket, Generated | str]] = []  # not told yet
        self._tell_at = 0.0  # by the monotonic clock
        self._lonely = False
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="nightkiln engine", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the step it is in."""
        self._stopping = True
        self._waiting.wake.set()

    def _run(self) -> None:
        """Whatever ends this thread, the loop hears of it."""
        reason: BaseException | None = None
        try:
            self._live()
        except (*_CRASHES, NightkilnError) as problem:
            reason = problem
        finally:
            self._tell_ended()
            in_flight = list(self._handles)
            self._running.clear()
            self._handles.clear()
            self._tell(lambda: self._report.died(in_flight, reason))

    def _live(self) -> None:
        machine = self._load()
        self._tell(self._report.loaded)
        while not self._stopping:
            self._take_in(machine)
            if not self._running:
                self._waiting.wake.wait(IDLE_S)
                self._waiting.wake.clear()
                continue
            machine.step()
            self._let_go(machine)
            self._give_out(machine)
        for handle in self._running:
            machine.cancel(handle)
        machine.step()  # so that what was cancelled gives its memory back

    def _take_in(self, machine: Machine) -> None:
        refused: list[tuple[Ticket, Generated | str]] = []
        while (ticket := self._next()) is not None:
            if ticket.dropped:
                continue
            self._handles[ticket] = None  # from here on a death is a death under this request
            try:
                handle = machine.begin(ticket.ids, ticket.settings)
            except ValueError as problem:
                del self._handles[ticket]
                refused.append((ticket, str(problem)))
                continue
            self._running[handle] = ticket
            self._handles[ticket] = handle
        if refused:
            self._tell(lambda: self._report.ended(refused))

    def _next(self) -> Ticket | None:
        """The request to take in now. Suspects wait until nothing else runs, then run alone."""
        waiting = self._waiting
        if not self._running:
            self._lonely = False
        if self._lonely or len(self._running) >= self._side_by_side:
            return None
        if waiting.alone:
            if self._running:
                return None
            ticket = waiting.alone.popleft()
            self._lonely = not ticket.dropped
            return ticket
        return waiting.many.popleft() if waiting.many else None

    def _let_go(self, machine: Machine) -> None:
        while self._waiting.cancelled:
            handle = self._handles.pop(self._waiting.cancelled.popleft(), None)
            if handle is not None:
                del self._running[handle]
                machine.cancel(handle)

    def _give_out(self, machine: Machine) -> None:
        for handle, generated in machine.finished(list(self._running)):
            ticket = self._running.pop(handle)
            del self._handles[ticket]
            self._ended.append((ticket, generated))
        has_work = self._running and self._waiting.many
        if not has_work or time.monotonic() >= self._tell_at:
            self._tell_ended()

    def _tell_ended(self) -> None:
        if self._ended:
            ended, self._ended = self._ended, []
            self._tell_at = time.monotonic() + TELL_S
            self._tell(lambda: self._report.ended(ended))

    def _tell(self, say: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(say)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            self._stopping = True
