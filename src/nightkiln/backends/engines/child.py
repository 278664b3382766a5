"""An engine's own process: it loads a machine, feeds it, steps it and tells what ended.

Why a process. A step of the engine holds the interpreter's lock from its
beginning to its end, so on a thread of ours it would stop the event loop, the
tokenizer and the journal, which have work for every row. And native code can
crash, or be killed by the kernel when memory runs out; that must end an engine,
never the job.

It lives for its owner alone: it ends when the owner's end of the socket closes,
and on Linux also when the owner is killed while a step runs. Of the signals
that a terminal or a service manager sends to everybody it hears none, so that
the owner can drain. When memory runs out, the kernel is asked to take it first.

Between two steps it takes in all that has arrived, without waiting. What has
ended is told at once when nothing else runs or when the engine has room for
more, and otherwise together with what ends in the next few milliseconds: a
frame per row would cost both sides more than the row.

Requests wait here in the order in which they were handed over, so that the
engine has work while the owner is busy. Of all that were handed over and not
told of, only the first `Load.in_engine` are ever in the engine: so the owner knows who
was in it when it dies.

It decides nothing about rows: who is asked again after a death is the pump's
affair. Started by `process.py` only.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, cast

from nightkiln.backends.engines.machine import Machine, NotTaken, words_of
from nightkiln.backends.engines.messages import (
    PIECE,
    Ask,
    Died,
    Ended,
    Load,
    Loaded,
    Orders,
    Refused,
    ToChild,
    Told,
    Unframing,
    framed,
    received,
)
from nightkiln.core.errors import NightkilnError

TELL_S: Final = 0.005  # how long an outcome may wait for others
ALIVE_S: Final = 1.0  # between signs of life
CRASHES: Final = (RuntimeError, MemoryError, OSError, ValueError, SystemError)
_PDEATHSIG: Final = 1  # prctl's number for it
_FIRST_TO_GO: Final = b"600"  # of 1000; the kernel's choice when memory runs out


class Serving:
    """One life of a machine, at one end of a socket."""

    def __init__(
        self,
        end: socket.socket,
        *,
        tell_s: float = TELL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end = end
        self._tell_s = tell_s
        self._clock = clock
        self._unframing: Unframing[ToChild] = Unframing(ToChild)
        self._waiting: dict[int, Ask] = {}  # handed over, not in the engine
        self._running: set[int] = set()
        self._ended: list[Ended] = []  # not told yet
        self._refused: list[Refused] = []
        self._told_at = clock()

    def run(self) -> None:
        """Load what is asked for and serve until the owner goes."""
        load = self._first()
        if load is None:
            return
        try:
            machine = _made(load)
            self._say(machine.loaded())
            self._serve(machine, load)
        except BrokenPipeError:
            return
        except NightkilnError as problem:
            self._die(Died(reason=problem.message, error=type(problem).__name__, hint=problem.hint))
        except CRASHES as problem:
            self._die(Died(reason=words_of(problem)))

    def _first(self) -> Load | None:
        while data := self._end.recv(PIECE):
            for message in self._unframing.messages(data):
                assert isinstance(message, Load)
                return message
        return None

    def _serve(self, machine: Machine, load: Load) -> None:
        room = load.in_engine
        while self._took_in(machine):
            self._begin(machine, room)
            if self._running:
                machine.step()
                for ended in machine.finished():
                    self._running.discard(ended.number)
                    self._ended.append(ended)
            is_short = not self._running or len(self._running) + len(self._waiting) < room
            self._tell(at_once=is_short)

    def _took_in(self, machine: Machine) -> bool:
        """Do what the owner has said; False when it has gone. Waits only with nothing to do."""
        is_busy = self._running or self._waiting
        data = received(self._end) if is_busy else self._end.recv(PIECE)
        while data:
            for message in self._unframing.messages(data):
                assert isinstance(message, Orders)
                self._obey(machine, message)
            data = received(self._end)
        return data is None

    def _obey(self, machine: Machine, orders: Orders) -> None:
        if orders.forget:
            machine.forget(orders.forget)
        for learn in orders.learn:
            machine.learn(learn)
        for number in orders.cancel:
            if self._waiting.pop(number, None) is None:
                self._running.discard(number)
                machine.cancel(number)
        for ask in orders.ask:
            self._waiting[ask.number] = ask

    def _begin(self, machine: Machine, room: int) -> None:
        """Take in whoever is next, up to the number that the owner counts on."""
        while self._waiting and len(self._running) + len(self._ended) < room:
            ask = self._waiting.pop(next(iter(self._waiting)))
            try:
                machine.begin(ask)
            except NotTaken as problem:
                self._refused.append(Refused(ask.number, problem.code, str(problem)))
            else:
                self._running.add(ask.number)

    def _tell(self, *, at_once: bool) -> None:
        now = self._clock()
        news = bool(self._ended or self._refused)
        since = now - self._told_at
        if (news and (at_once or since >= self._tell_s)) or (self._running and since >= ALIVE_S):
            self._say(Told(self._ended, self._refused))
            self._ended, self._refused, self._told_at = [], [], now

    def _say(self, message: Loaded | Told | Died) -> None:
        """Send, waiting for as long as the owner reads nothing: it is the one who asked."""
        self._end.sendall(framed(message))

    def _die(self, died: Died) -> None:
        with contextlib.suppress(OSError):
            if self._ended or self._refused:
                self._say(Told(self._ended, self._refused))
            self._say(died)


def _made(load: Load) -> Machine:
    module, _, name = load.machine.partition(":")
    make = cast("Callable[[Load], Machine]", getattr(importlib.import_module(module), name))
    return make(load)


def _live_for(owner: int) -> None:
    """End with the owner, and before it when memory runs out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:  # it went before we could ask
        os._exit(1)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(_FIRST_TO_GO)


def main(descriptor: int, owner: int) -> None:
    """Serve at this file descriptor for the process with this id."""
    _live_for(owner)
    with socket.socket(fileno=descriptor) as end:
        Serving(end).run()
        sys.stderr.flush()
    os._exit(0)  # no destructors: the kernel frees an engine's memory sooner, and never crashes
