"""A lane over a scripted backend, with real journals and virtual time."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from nightkiln.core.answer import Answer
from nightkiln.core.chunk import Chunk, ChunkState, Lease
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.request import Prompt
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.plan.retry import RetryPolicy
from nightkiln.plan.schedule import Claim
from nightkiln.testing.backends import ScriptedBackend, encode_prompt
from nightkiln.testing.clock import GRACE_S, run_jumping
from nightkiln.vault.frames import Frame, decode
from nightkiln.vault.journal import Journal, JournalWriter
from nightkiln.vault.recovery import Recovered

Play: TypeAlias = "Callable[[Stage], Coroutine[Any, Any, None]]"
POLICY = RetryPolicy(base_s=1.0)


def prompt_of(row: int) -> str:
    return f"row {row}"


def member_of(backend: ScriptedBackend, *, slots: int = 4, price_usd: float = 1.0) -> Member:
    """A backend that costs so much a token of output."""
    return Member(
        backend=backend,
        settings=LaneSettings(slots=slots, timeout_s=30.0, policy=POLICY),
        price=lambda usage: price_usd * usage.output_tokens,
    )


class Stage:
    """A fleet, mostly of one lane, its backends and the chunks it was given."""

    def __init__(
        self,
        folder: Path,
        writer: JournalWriter,
        members: Sequence[Member],
        *,
        roll: float,
        by_prefix: bool = True,
        claim: Claim | None = None,
    ) -> None:
        dice = Dice(clock=lambda: 1000.0, roll=lambda: roll)
        self.fleet = Fleet(members, dice=dice, by_prefix=by_prefix, claim=claim)
        self.lane = self.fleet.lanes[0]
        self.backend = backend_of(members[0])
        self.backends = [backend_of(member) for member in members]
        self.chunks: list[OpenChunk] = []
        self._folder = folder
        self._writer = writer
        self._numbers = itertools.count()
        self.fleet.start()

    async def add(
        self,
        rows: Iterable[int],
        *,
        before: Sequence[Frame] = (),
        tell: bool = True,
        form: Form | None = None,
        text: Callable[[int], Prompt] = prompt_of,
    ) -> OpenChunk:
        """A chunk of these rows, with what earlier epochs journalled about them."""
        number = next(self._numbers)
        known = Recovered()
        known.absorb(before)
        prompts = {row: text(row) for row in rows}
        journal = Journal(
            self._writer,
            self._path(number),
            clock=lambda: 1000.0,
            on_synced=lambda _: None,
            on_broken=lambda _: None,
        )
        await journal.open()
        lease = Lease(
            chunk=Chunk(
                job=JobId("job_1"),
                number=number,
                first_row=min(prompts),
                rows=len(prompts),
                segment=0,
                row_group=number,
                state=ChunkState.LEASED,
                epoch=1,
            ),
            run=RunId("run_1"),
        )
        chunk = OpenChunk(
            lease,
            journal,
            prompts=prompts,
            form=form or Form(encode=encode_prompt),
            recovered=known,
        )
        self.chunks.append(chunk)
        if tell:
            self.fleet.add(chunk)
        return chunk

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.1.log"

    async def until(self, done: Callable[[], bool], *, within_s: float = 36_000.0) -> None:
        """Wait in virtual time until something is so."""
        await until(done, within_s=within_s)
        assert self.fleet.broken() is None

    async def until_answered(self, *, within_s: float = 36_000.0) -> None:
        """Wait until every row of every chunk has its answer."""
        await self.until(lambda: not any(c.unanswered for c in self.chunks), within_s=within_s)

    async def frames(self, number: int = 0) -> list[Frame]:
        """What the journal of a chunk holds."""
        await self.chunks[number].journal.drain()
        return self.written(number)

    def written(self, number: int = 0) -> list[Frame]:
        """What the journal of a chunk holds at this moment."""
        return list(decode(self._path(number).read_bytes()))

    def answers(self) -> dict[int, Answer]:
        """All answers by row."""
        return {answer.row: answer for chunk in self.chunks for answer in chunk.answers()}


def backend_of(member: Member) -> ScriptedBackend:
    assert isinstance(member.backend, ScriptedBackend)
    return member.backend


async def until(done: Callable[[], bool], *, within_s: float) -> None:
    step_s = 0.01
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(step_s)
            step_s = min(step_s * 1.05, 5.0)


@contextlib.asynccontextmanager
async def staged(
    folder: Path, members: Sequence[Member], *, roll: float, by_prefix: bool = True
) -> AsyncIterator[Stage]:
    writer = JournalWriter()
    stage = Stage(folder, writer, members, roll=roll, by_prefix=by_prefix)
    try:
        yield stage
    finally:
        for backend in stage.backends:
            backend.open()
        await stage.fleet.stop(drain_s=0.0)
        for chunk in stage.chunks:
            chunk.journal.close()
        await writer.aclose()


def perform(
    folder: Path,
    play: Play,
    *,
    slots: int = 4,
    roll: float = 0.5,
    members: Callable[[], Sequence[Member]] | None = None,
    by_prefix: bool = True,
    grace_s: float = GRACE_S,
) -> None:
    """Run a play on a loop whose time jumps; `members` make a fleet of several backends."""

    async def main() -> None:
        chosen = [member_of(ScriptedBackend(), slots=slots)] if members is None else members()
        async with staged(folder, chosen, roll=roll, by_prefix=by_prefix) as stage:
            await play(stage)

    run_jumping(main(), grace_s=grace_s)


@pytest.fixture
def on_stage(tmp_path: Path) -> Callable[..., None]:
    """Runs a play in virtual time."""

    def run(play: Play, **more: Any) -> None:
        perform(tmp_path, play, **more)

    return run
