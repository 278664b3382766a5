"""The owner's hold on an engine's process: it starts, hears, and is gone when closed.

Everything here runs on the event loop and waits for nothing. The process finds
modules where we find them, whatever the folder it is started from holds. What
it writes on its standard output and error reaches nobody; the end of it is kept
for the message about its death.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from nightkiln.backends.engines.chat_trial import DEADLY, TOO_LONG
from nightkiln.backends.engines.messages import (
    PIECE,
    Died,
    FromChild,
    Load,
    Loaded,
    Orders,
    Told,
    Unframing,
    framed,
    received,
)
from nightkiln.core import errors
from nightkiln.core.errors import NightkilnError

START: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; from nightkiln.backends.engines.child import main;"
    " main(int(sys.argv[1]), int(sys.argv[2]))"
)
GRACE_S: Final = 1.0  # for a process to end by itself before it is killed
LOOK_S: Final = 0.005  # between looks whether it has ended
_TAIL: Final = 4096  # bytes of its complaints that are kept
_WORDS: Final = 200  # characters of them in a message


class EngineProcess:
    """One process, from its start to the news of its end, which comes exactly once.

    It is started on the loop's own thread: where the kernel ties a child's life
    to its parent's, it means the thread.
    """

    def __init__(
        self,
        load: Load,
        *,
        on_loaded: Callable[[Loaded], None],
        on_told: Callable[[Told], None],
        on_death: Callable[[Died], None],
    ) -> None:
        self._on_loaded, self._on_told, self._on_death = on_loaded, on_told, on_death
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()  # when it last said anything
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._unframing: Unframing[FromChild] = Unframing(FromChild)
        self._unsent: deque[memoryview] = deque()
        self._tail = b""
        self._died: Died | None = None
        self._is_connected = True
        self._look: asyncio.TimerHandle | None = None
        self._kill_at = 0.0
        self._end, theirs = socket.socketpair()
        self._end.setblocking(False)
        self._said, their_output = os.pipe()
        os.set_blocking(self._said, False)
        try:
            self._process = _started(theirs.fileno(), their_output)
        except OSError:
            self._end.close()
            os.close(self._said)
            raise
        finally:
            theirs.close()
            os.close(their_output)
        self._loop.add_reader(self._end, self._hear)
        self._loop.add_reader(self._said, self._overhear)
        self._send(load)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, orders: Orders) -> None:
        """Tell it what to do next. Nothing happens when it has gone: its death is on the way."""
        self._send(orders)

    def kill(self, because: str) -> None:
        """End it now; the news of its death follows, with this as the reason."""
        self._died = Died(reason=because, is_told=False)
        self._process.kill()

    def close(self) -> None:
        """Let it end by itself, and kill it if it has not after a moment."""
        self._disconnect(GRACE_S)

    # -- talking

    def _send(self, message: Load | Orders) -> None:
        if self._is_connected:
            waiting = bool(self._unsent)
            self._unsent.append(memoryview(framed(message)))
            if not waiting:
                self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                piece = self._unsent[0]
                sent = self._end.send(piece)
                if sent == len(piece):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = piece[sent:]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._end, self._write)
            return
        except OSError:
            self._unsent.clear()  # it has gone; reading will say so
        self._loop.remove_writer(self._end)

    def _hear(self) -> None:
        while (data := received(self._end)) is not None:
            if not data:
                self._disconnect(GRACE_S)
                return
            self.heard_at = self._loop.time()
            try:
                for message in self._unframing.messages(data):
                    self._take(message)
            except ValueError as problem:
                self._died = Died(
                    reason=f"it said what nobody understands: {problem}", is_told=False
                )
                self._disconnect(0.0)
                return
            if len(data) < PIECE or not self._is_connected:
                return

    def _take(self, message: FromChild) -> None:
        match message:
            case Told():
                self._on_told(message)
            case Loaded():
                self._on_loaded(message)
            case Died():
                self._died = message

    def _overhear(self) -> None:
        try:
            data = os.read(self._said, PIECE)
        except (BlockingIOError, InterruptedError):
            return
        self._tail = (self._tail + data)[-_TAIL:]
        if not data:
            self._loop.remove_reader(self._said)

    # -- the end

    def _disconnect(self, grace_s: float) -> None:
        if not self._is_connected:
            return
        self._is_connected = False
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        self._unsent.clear()
        self._kill_at = self._loop.time() + grace_s
        self._reap()

    def _reap(self) -> None:
        """Look until it has ended. A killed process ends, so this does too."""
        code = self._process.poll()
        if code is None:
            if self._loop.time() >= self._kill_at:
                self._process.kill()
            self._look = self._loop.call_later(LOOK_S, self._reap)
            return
        self._overhear()
        self._loop.remove_reader(self._said)
        os.close(self._said)
        self.ended.set_result(None)
        self._on_death(self._died or _unsaid(code, self._tail))


def _started(descriptor: int, output: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-P", "-c", START, str(descriptor), str(os.getpid()), *sys.path]
    return subprocess.Popen(  # noqa: S603  # our own interpreter with our own words
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(descriptor,),
        start_new_session=True,  # a terminal's Ctrl-C is for us
    )


def _unsaid(code: int, tail: bytes) -> Died:
    """The death of a process that gave no reason."""
    if code == -DEADLY:
        return Died(reason=TOO_LONG, error="UsageError", is_told=False)
    return Died(reason=_epitaph(code, tail), is_told=False)


def _epitaph(code: int, tail: bytes) -> str:
    """What is known about the end of a process that gave no reason."""
    how = f"ended with code {code}"
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        how += ", as the kernel does when memory runs out"
    lines = tail.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the engine's process {how}" + (f": {last[:_WORDS]}" if last else "")


def loading_error(died: Died) -> NightkilnError:
    """The death of an engine that never was loaded, as an error for whoever wanted it."""
    if died.error in ("UsageError", "MissingExtra"):
        kind: type[NightkilnError] = getattr(errors, died.error)
        return kind(died.reason, hint=died.hint)
    return errors.UnreachableError(
        f"the engine ended while it loaded the model: {died.reason}",
        hint="another model, or less --kv-cache-gb, may fit this machine",
    )
