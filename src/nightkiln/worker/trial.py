"""Asks a few rows of a job first, so that somebody can look at the answers before the rest.

The rows are asked under the job's own leases and journalled like all others:
the run that follows finds their answers and never asks them again. Nothing is
sealed here, and a chunk is given back as soon as its chosen rows are answered.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from nightkiln.core.answer import Answer
from nightkiln.core.errors import DiskError, Fenced
from nightkiln.core.job import JobState, Live, Wanted
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.dispatch.tally import Tally
from nightkiln.worker.base import Desk
from nightkiln.worker.forms import give_forms
from nightkiln.worker.patience import Patience
from nightkiln.worker.runner import DRAIN_S, LEAVE_S, TICK_S, Ending, check_fleet
from nightkiln.worker.telling import Told
from nightkiln.worker.window import Window

_OPEN: Final = 64  # chunks at once, besides what the window holds by bytes
_LOOK_S: Final = 1.0  # between looks at what is wanted of the job


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came back."""

    ending: Ending  # DONE when every chosen row has its answer
    answers: tuple[Answer, ...]  # in row order, those found in the journal included
    elapsed_s: float  # of asking
    fresh_tokens: int  # that this trial took, in and out
    waiting: str = ""  # why nothing moved, if that ended it


class Trial:
    """One trial by one process. `run` once, then throw away."""

    def __init__(
        self, desk: Desk, *, fleet: Fleet, wait_s: float | None, stop: asyncio.Event
    ) -> None:
        self.tally = Tally(desk.job.totals)
        self._desk = desk
        self._fleet = fleet
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._window = Window(desk, form=give_forms(desk.job.spec, fleet), tally=self.tally)
        self._answers: dict[int, Answer] = {}
        self._unopened: list[int] = []  # chunks with chosen rows, by number
        self._looked_at = self._loop.time()
        self._patience = Patience(wait_s, fleet=fleet, tally=self.tally, now=self._looked_at)

    async def run(self, rows: Mapping[int, frozenset[int]]) -> Tried:
        """Ask these rows, by chunk. Raises what no waiting mends."""
        started = self._loop.time()
        ending = Ending.STOPPED
        try:
            self._fleet.start()
            ending = await self._work(rows)
        finally:
            await self._finish(rows)
        return Tried(
            ending=ending,
            answers=tuple(self._answers[row] for row in sorted(self._answers)),
            elapsed_s=self._loop.time() - started,
            fresh_tokens=self.tally.fresh_tokens,
            waiting=self._why(ending),
        )

    def _why(self, ending: Ending) -> str:
        """Why nothing moves, if that ended it."""
        if ending is Ending.CAPPED:
            return self._fleet.capped
        return self._patience.waiting if ending is Ending.WAITED else ""

    async def _work(self, rows: Mapping[int, frozenset[int]]) -> Ending:
        left = self._unopened = sorted(rows)
        # A deadline needs slots for these rows, not for the whole table.
        self._fleet.rows_left = lambda: self._rows_left(rows)
        while left:
            for chunk in await self._opened(left, rows):
                left.remove(chunk.lease.chunk.number)
                self._fleet.add(chunk)
            if not self._window.open:
                return Ending.DONE  # the others are committed: somebody was here before
            while any(chunk.lacks(rows[number]) for number, chunk in self._window.open.items()):
                if (ending := await self._told_to_end()) is not None:
                    return ending
                await asyncio.sleep(TICK_S / 2)
            await self._leave(rows)
        return Ending.DONE

    def _rows_left(self, rows: Mapping[int, frozenset[int]]) -> int:
        """How many chosen rows have no answer yet, as far as that is known."""
        here = (
            chunk.lacks((row,))
            for number, chunk in self._window.open.items()
            for row in rows[number]
        )
        return sum(here) + sum(len(rows[number]) for number in self._unopened)

    async def _opened(self, left: list[int], rows: Mapping[int, frozenset[int]]) -> list[OpenChunk]:
        """As many of these chunks as may be open at once, told whom to ask."""
        opened: list[OpenChunk] = []
        while len(opened) < min(_OPEN, len(left)) and not self._window.is_full:
            more = await self._window.lease_more(len(left) - len(opened), among=left)
            if not more:
                break
            for chunk in more:
                chunk.only = rows[chunk.lease.chunk.number]
            opened += more
        return opened

    async def _told_to_end(self) -> Ending | None:
        """Why this ends early, if it does. Raises before the first answer what `run` would."""
        if (bug := self._fleet.broken()) is not None:
            raise bug
        self._window.check_healing()
        if self._stop.is_set():
            return Ending.STOPPED
        check_fleet(self._fleet)
        if self._fleet.capped:
            return Ending.CAPPED
        now = self._loop.time()
        if self._patience.is_over(now, self._window.trouble):
            return Ending.WAITED
        if now - self._looked_at < _LOOK_S:
            return None
        self._looked_at = now
        job = await self._desk.leases.job(self._desk.job.id)
        if job.state is JobState.DELETING:
            return Ending.GONE
        return {Wanted.CANCEL: Ending.CANCEL, Wanted.PAUSE: Ending.PAUSE}.get(job.wanted)

    async def _leave(self, rows: Mapping[int, frozenset[int]]) -> None:
        """Give every open chunk back, its answers taken down."""
        for number, chunk in list(self._window.open.items()):
            chosen = rows[number]
            self._answers |= {one.row: one for one in chunk.answers() if one.row in chosen}
            await self._window.leave(chunk)

    async def _finish(self, rows: Mapping[int, frozenset[int]]) -> None:
        await self._fleet.stop(drain_s=DRAIN_S)
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._leave(rows)
                totals = Told(self._desk.job).at_least(self.tally.totals())
                live = Live(at=self._desk.dice.clock(), totals=totals)
                await self._desk.leases.report(self._desk.job.id, live)
        except (TimeoutError, DiskError, Fenced):
            pass  # what is journalled stays, as after any run
        finally:
            await self._window.aclose()
