"""A fleet in a storm, in virtual time: real dispatch and plan, journals in memory, no threads."""

import asyncio
import random
from collections.abc import Sequence
from typing import cast

from nightkiln.core.answer import Answer
from nightkiln.core.chunk import Chunk, ChunkState, Lease
from nightkiln.core.ids import JobId, RunId
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.dispatch.turns import Turnstile
from nightkiln.plan.limiter import START
from nightkiln.plan.schedule import Claim
from nightkiln.testing.clock import run_jumping
from nightkiln.vault.journal import Journal
from nightkiln.vault.recovery import Recovered

from .weather import StormyBackend, Weather

CHUNK_ROWS = 50
LONGEST_S = 36_000.0  # of virtual time; a job that takes longer never ends
TIMEOUT_S = 30.0


class MemoryJournal:
    """What a chunk journals, kept; everything is safe at once."""

    def __init__(self) -> None:
        self.sends = 0

    def append(self, frame: object, note: object = None) -> None:
        """Nothing has to be read again here."""

    def sent(self, row: int, number: int, backend: str) -> "asyncio.Future[None]":
        """The frame is written before this returns."""
        self.sends += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Sea:
    """Everything a seed's run of one job leaves to look at."""

    def __init__(
        self,
        weathers: Sequence[Weather],
        seed: int,
        *,
        beside: "Sea | None" = None,  # whose backends it shares
        claim: Claim | None = None,
        starts_at: float = 0.0,
        rpm: float | None = None,
    ) -> None:
        self.backends = [
            StormyBackend(weather, seed + 7919 * number, name=f"stormy {number}")
            for number, weather in enumerate(weathers)
        ]
        self.turnstiles = [Turnstile() for _ in weathers]
        if beside is not None:
            self.backends, self.turnstiles = beside.backends, beside.turnstiles
        self.backend = self.backends[0]
        self._claim = claim
        self._starts_at = starts_at
        self._rpm = rpm
        self.chunks: list[OpenChunk] = []
        self.ended_at = 0.0
        self._dice = random.Random(seed + 2)

    def sail(self, prompts: list[str], *, keyed: bool = False, most: int = 64) -> dict[int, Answer]:
        """Answer these rows; the answers by row. Raises TimeoutError when it would never end."""
        run_jumping(self.journey(prompts, keyed=keyed, most=most), grace_s=0.0)
        return self.answers()

    def answers(self) -> dict[int, Answer]:
        """The answers by row."""
        return {answer.row: answer for chunk in self.chunks for answer in chunk.answers()}

    async def journey(self, prompts: list[str], *, keyed: bool = False, most: int = 64) -> None:
        """Answer these rows, on the running loop."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._starts_at)
        settings = LaneSettings(
            slots=most, start=min(START, most), rpm=self._rpm, timeout_s=TIMEOUT_S
        )
        fleet = Fleet(
            [
                Member(backend=one, settings=settings, price=lambda _: 0.001, turnstile=turnstile)
                for one, turnstile in zip(self.backends, self.turnstiles, strict=True)
            ],
            claim=self._claim,
            dice=Dice(clock=loop.time, roll=self._dice.random),
        )
        over = asyncio.Event()
        left = -(-len(prompts) // CHUNK_ROWS)

        def answered(_: OpenChunk) -> None:
            nonlocal left
            left -= 1
            if not left:
                over.set()

        fleet.start()
        for first in range(0, len(prompts), CHUNK_ROWS):
            chunk = self._chunk(first, prompts[first : first + CHUNK_ROWS], keyed=keyed)
            chunk.on_answered = answered
            self.chunks.append(chunk)
            fleet.add(chunk)
        fleet.no_more()
        try:
            async with asyncio.timeout(LONGEST_S):
                await over.wait()
        finally:
            self.ended_at = loop.time()
            await fleet.stop(drain_s=1.0)
        if (bug := fleet.broken()) is not None:
            raise bug

    @classmethod
    def sail_together(cls, seas: "Sequence[Sea]", prompts: Sequence[list[str]]) -> None:
        """Let several jobs go side by side. Raises TimeoutError when one would never end."""

        async def sail() -> None:
            await asyncio.gather(
                *(sea.journey(rows, keyed=True) for sea, rows in zip(seas, prompts, strict=True))
            )

        run_jumping(sail(), grace_s=0.0)

    def _chunk(self, first: int, prompts: list[str], *, keyed: bool) -> OpenChunk:
        rows = dict(enumerate(prompts, first))
        lease = Lease(
            chunk=Chunk(
                job=JobId("job_1"),
                number=first // CHUNK_ROWS,
                first_row=first,
                rows=len(rows),
                segment=0,
                row_group=0,
                state=ChunkState.LEASED,
                epoch=1,
            ),
            run=RunId("run_1"),
        )
        chunk = OpenChunk(
            lease,
            cast("Journal", MemoryJournal()),
            prompts=rows,
            form=Form(encode=lambda prompt: str(prompt).encode()),
            recovered=Recovered(),
        )
        if keyed:
            chunk.keys = {row: prompt.encode() for row, prompt in rows.items()}
        return chunk
