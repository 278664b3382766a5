"""The one event loop of the SDK, on a daemon thread of this process.

It starts with the first thing that has to be done, never at import. Three ends
are seen to:

* *The interpreter exits.* What runs is drained first. `atexit` is too late for
  that: by then no thread may be started and no pool takes work. So the drain is
  one of the calls that `threading` itself makes before it joins its threads.
* *The process forks.* Threads do not survive a fork, locks and connections do,
  halfway through whatever they did. The child forgets the parent's loop without
  touching it and gets one of its own when it needs one.
* *Ctrl-C while somebody waits.* Only the wait ends; the loop never sees it.

A thread that is killed with its process loses nothing that was journalled.
"""

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Final, TypeVar

from nightkiln.sdk.ending import ending
from nightkiln.sdk.notices import say

T = TypeVar("T")

DRAIN_S: Final = 20.0  # the runners' own ten seconds, and what they need to leave
_JOIN_S: Final = 1.0


class LoopThread:
    """A running loop and its thread. Made by `current`."""

    def __init__(self) -> None:
        from nightkiln.dispatch.turns import Turnstiles

        self.loop = _new_loop()
        self.turnstiles = Turnstiles()  # that the jobs of all clients go through
        self._closers: list[Callable[[], Awaitable[tuple[str, ...]]]] = []
        self._thread = threading.Thread(target=self._run, name="nightkiln", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop and wait for it; the caller's own loop, if any, blocks."""
        future = self._begun(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if _Process.ended:
                raise ending() from None
            raise
        finally:
            future.cancel()  # somebody pressed Ctrl-C; nothing happens to one that is done

    async def call_async(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on this loop and await it on the caller's."""
        try:
            return await asyncio.wrap_future(self._begun(work))
        except asyncio.CancelledError:
            if _Process.ended:
                raise ending() from None
            raise

    def _begun(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise ending() from error

    def at_exit(self, close: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        """Have something closed when the process ends; what it returns is said."""
        self._closers.append(close)

    def not_at_exit(self, close: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        """Take back `at_exit`: it has been closed."""
        self._closers.remove(close)

    def drain(self) -> None:
        """Close everything and say what is left unfinished."""
        future = asyncio.run_coroutine_threadsafe(self._close(), self.loop)
        try:
            lines = future.result(DRAIN_S)
        except TimeoutError:
            lines = ["what was asked last may not be recorded; every other answer is kept"]
        for line in lines:
            say(line)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_JOIN_S)  # a thread that C code runs on must not meet the very end
        if not self._thread.is_alive():
            self.loop.close()

    async def _close(self) -> list[str]:
        try:
            closing = (close() for close in self._closers)
            return [line for lines in await asyncio.gather(*closing) for line in lines]
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """End the waits of other threads, which the interpreter joins and nobody would wake."""
        waits = asyncio.all_tasks() - {asyncio.current_task()}
        for wait in waits:
            wait.cancel()
        if waits:
            await asyncio.wait(waits, timeout=_JOIN_S)
        await asyncio.sleep(0)  # their threads are told by callbacks


class _Process:
    """What there is once per process."""

    lock: ClassVar[threading.Lock] = threading.Lock()
    thread: ClassVar[LoopThread | None] = None
    watched: ClassVar[bool] = False
    ended: ClassVar[bool] = False  # the main thread is over
    left: ClassVar[list[LoopThread]] = []  # a parent's: kept, so that nothing closes them


def current() -> LoopThread:
    """The loop thread of this process, started now if need be.

    Raises UsageError when the process ends: then no thread takes work any more.
    """
    with _Process.lock:
        if not _Process.watched:
            _before_exit(_drain)
            os.register_at_fork(after_in_child=_forget)
            _Process.watched = True
        if _Process.thread is None:
            if _Process.ended:
                raise ending()
            _Process.thread = LoopThread()
        return _Process.thread


def running() -> LoopThread | None:
    """The loop thread of this process, if there is one."""
    return _Process.thread


def _forget() -> None:
    """In a forked child: leave the parent's loop alone, for good."""
    _Process.lock = threading.Lock()
    if _Process.thread is not None:
        _Process.left.append(_Process.thread)
        _Process.thread = None


def _drain() -> None:
    with _Process.lock:
        _Process.ended = True
        last, _Process.thread = _Process.thread, None
    if last is not None:
        last.drain()


def _before_exit(call: Callable[[], None]) -> None:
    import concurrent.futures.thread  # noqa: F401 - its own call comes first, so runs after ours

    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(call)
    except RuntimeError as error:  # the interpreter joins its threads already
        raise ending() from error


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
