"""Slots that have nothing to do, and the one timer that wakes them.

Waking is cheap and sparse: who wakes wakes the next for as long as there is room, so
a timer never wakes a thousand slots for one row.
"""

import asyncio
from collections import deque


class Wakeups:
    """Owned by one lane, on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._timer_at = 0.0  # loop time; not every loop's handles say when they fire

    @property
    def any_idle(self) -> bool:
        """True while some slot sleeps."""
        return bool(self._idle)

    async def sleep(self) -> None:
        """Sleep until woken; ends only by `all`, `one` or cancelling."""
        waiter = self._loop.create_future()
        self._idle.append(waiter)
        await waiter

    def all(self) -> None:
        """Wake every slot that sleeps."""
        idle, self._idle = self._idle, deque()
        for waiter in idle:
            if not waiter.done():
                waiter.set_result(None)

    def one(self) -> None:
        """Wake one slot."""
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def at(self, when: float) -> None:
        """Wake one slot at `when` (loop time), or earlier if that is asked for too."""
        if self._stopped:
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(when, self._on_timer), when

    def _on_timer(self) -> None:
        self._timer = None
        self.one()

    def stop(self) -> None:
        """Wake everybody, and nobody by time any more, whoever still asks for it."""
        self._stopped = True
        self.all()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
