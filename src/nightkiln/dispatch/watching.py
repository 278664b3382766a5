"""Watching the engines behind a fleet's lanes: about once a second each is asked how busy it is.

One task for each backend that can tell and whose limit is ours to find. It asks only
while requests are in flight there and the backend is not given up, and always with
a deadline; after a look that brought nothing it waits twice as long. What is learnt
goes to the lane's gate, and the lane's own beat does the rest. Nothing here fails a
row or makes one wait.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from nightkiln.backends.base import TellsLoad
from nightkiln.dispatch.lane import Lane

EVERY_S: Final = 1.0
FIRST_S: Final = 0.25  # the start of a job is when it is worth most
LONGEST_S: Final = 30.0  # between looks that bring nothing
DEADLINE_S: Final = 1.0


class Watching:
    """The watchers of some lanes. Owned by their fleet: `start`, then `stop`."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Watch every lane whose backend can tell."""
        loop = asyncio.get_running_loop()
        for lane in self._lanes:
            backend = lane.backend
            if lane.gate.limiter.adapts and isinstance(backend, TellsLoad) and backend.tells_load:
                name = f"watching {backend.name}"
                self._tasks.append(loop.create_task(_watch(lane, backend), name=name))

    async def stop(self) -> None:
        """Ask nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def broken(self) -> BaseException | None:
        """What killed a watcher, if anything did: a bug of ours."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None


async def _watch(lane: Lane, backend: TellsLoad) -> None:
    loop = asyncio.get_running_loop()
    pause = FIRST_S
    while backend.tells_load:
        await asyncio.sleep(pause)
        if not lane.in_flight or lane.is_open:
            continue
        load = await backend.load(deadline=loop.time() + DEADLINE_S)
        if load is None:
            pause = min(2 * max(pause, EVERY_S), LONGEST_S)
            continue
        lane.gate.loaded(loop.time(), load, in_flight=lane.in_flight)
        pause = min(2 * pause, EVERY_S)
