"""Time for tests: a clock that is set by hand, and an event loop whose time jumps.

The loop is asyncio's own with another clock: whenever nothing is left to do, its
time jumps to the next timer instead of waiting for it. A retry after a minute
takes no time, and what is due first still happens first. Threads stay real:
time stands still while the loop's executor works, and other threads get a
moment (`grace_s`) to report before every jump.
"""

import asyncio
import concurrent.futures
import selectors
from collections.abc import Callable, Coroutine
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRACE_S: Final = 0.001  # real seconds; enough for a thread to write to the page cache
_HANGS_S: Final = 30.0  # real seconds without any event and without a timer


class FakeClock:
    """Epoch seconds that move only when told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time it was told."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time that starts at 0."""

    def __init__(self, *, grace_s: float = GRACE_S) -> None:
        self._now = 0.0
        self._in_threads = 0
        super().__init__(_JumpingSelector(self._jump, grace_s))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> "asyncio.Future[T]":
        """As in asyncio; time stands still until the function has returned."""
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self._in_threads -= 1

    def _jump(self, seconds: float) -> None:
        if not self._in_threads:
            self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for events as ever; where it would wait for a timer, the time jumps."""

    def __init__(self, jump: Callable[[float], None], grace_s: float) -> None:
        super().__init__()
        self._jump = jump
        self._grace_s = grace_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        found = super().select(_HANGS_S if timeout is None else self._grace_s)
        if not found and timeout is None:
            raise TimeoutError("the loop hangs: no timer is set and no thread reports")
        if not found and timeout is not None:
            self._jump(timeout)
        return found


def run_jumping(main: Coroutine[object, object, T], *, grace_s: float = GRACE_S) -> T:
    """Run a coroutine to its end on a loop of its own whose time jumps."""
    with asyncio.Runner(loop_factory=lambda: JumpingLoop(grace_s=grace_s)) as runner:
        return runner.run(main)
