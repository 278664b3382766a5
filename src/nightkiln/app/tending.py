"""Work that goes on for as long as a server lives, and who owns it.

An error that nobody foresaw ends one round of it, and never the work: it is begun
again, later each time it fails, and counted. What is logged of such an error is its
type and the places it passed, for its text may hold anything: a prompt, or the
parameters of a statement.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, TypeAlias

Work: TypeAlias = Callable[[], Coroutine[None, None, None]]
_FIRST_S: Final = 1.0
_MOST_S: Final = 300.0
_QUIET_S: Final = 600.0  # without trouble: what was before is forgotten
_PLACES: Final = 6

_log: Final = logging.getLogger(__name__)


def told(error: BaseException) -> str:
    """An error as it may be logged: what it is and where it came from, no word of its text."""
    places = [
        f"{Path(one.filename).name}:{one.lineno} in {one.name}"
        for one in traceback.extract_tb(error.__traceback__, limit=-_PLACES)
    ]
    return f"{type(error).__name__} at {' < '.join(reversed(places)) or 'no known place'}"


class Tended:
    """Work without an end. `start` once, `aclose` once; on one event loop."""

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        first_s: float = _FIRST_S,
    ) -> None:
        self.name = name
        self.stumbles = 0  # since the start
        self._work = work
        self._first_s = first_s
        self._task: asyncio.Task[None] | None = None
        self._round: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._tend(), name=self.name)

    async def aclose(self) -> None:
        """End it. What it was doing is cut short."""
        for task in (self._task, self._round):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _tend(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            self._round = loop.create_task(self._work(), name=f"{self.name} at work")
            await asyncio.wait([self._round])
            if self._round.cancelled() or (error := self._round.exception()) is None:
                return
            failures = 1 if loop.time() - began > _QUIET_S else failures + 1
            self.stumbles += 1
            _log.error("%s stumbled: %s", self.name, told(error))
            await asyncio.sleep(min(_MOST_S, self._first_s * 2.0 ** min(failures - 1, 30)))
