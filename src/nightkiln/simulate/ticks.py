"""Timers in steps of one millisecond: one event-loop timer per tick, however many wait for it.

At ten thousand requests a second this replaces ten thousand heap operations by one thousand. It
never fires early, and at most one tick late.
"""

import asyncio
from collections.abc import Callable
from typing import Final

TICKS_PER_S: Final = 1000


class Alarm:
    """One callback that waits for its tick; cancelling frees what the callback holds."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never fire."""
        self._callback = None

    def fire(self) -> None:
        """Run the callback, unless cancelled."""
        if self._callback is not None:
            self._callback()


class TickWheel:
    """All alarms of one event loop."""

    __slots__ = ("_alarms", "_handles", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._alarms: dict[int, list[Alarm]] = {}
        self._handles: dict[int, asyncio.TimerHandle] = {}

    def after(self, delay_s: float, callback: Callable[[], None]) -> Alarm:
        """Call back once, `delay_s` from now."""
        tick = int((self._loop.time() + delay_s) * TICKS_PER_S) + 1
        alarm = Alarm(callback)
        waiting = self._alarms.get(tick)
        if waiting is None:
            self._alarms[tick] = [alarm]
            self._handles[tick] = self._loop.call_at(tick / TICKS_PER_S, self._fire, tick)
        else:
            waiting.append(alarm)
        return alarm

    def close(self) -> None:
        """Drop every alarm without firing it."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        self._alarms.clear()

    def _fire(self, tick: int) -> None:
        del self._handles[tick]
        for alarm in self._alarms.pop(tick):
            alarm.fire()
