"""Jobs that go to the same backend: one limit for all of them, and each in its turn.

How much of a capacity they use together is measured in the storm, where no thread is slow.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.ids import ProjectId
from nightkiln.core.request import Request
from nightkiln.dispatch.member import LaneSettings, Member
from nightkiln.dispatch.turns import Address, Asker, Place, Terms, Turnstile, Turnstiles
from nightkiln.plan.gate import Gate
from nightkiln.plan.limiter import START, AdaptiveLimit
from nightkiln.plan.schedule import PRODUCTION, Claim
from nightkiln.testing.backends import ScriptedBackend, fault
from nightkiln.testing.clock import run_jumping
from nightkiln.vault.journal import JournalWriter

from .conftest import POLICY, Stage, until

Play: TypeAlias = "Callable[[Hall], Coroutine[Any, Any, None]]"
FIXED = LaneSettings(slots=8, timeout_s=30.0, policy=POLICY)


class Sticking(ScriptedBackend):
    """Row 0 takes for ever."""

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """As ever, but for row 0."""
        if request.row == 0:
            await asyncio.Event().wait()
        return await super().answer(request, deadline=deadline)


class Hall:
    """Stages side by side before one backend."""

    def __init__(self, folder: Path, writer: JournalWriter, *, sticks: bool) -> None:
        self.backend = Sticking(latency_s=0.1) if sticks else ScriptedBackend(latency_s=0.1)
        self.turnstile = Turnstile()
        self.stages: list[Stage] = []
        self._folder = folder
        self._writer = writer

    def job(
        self, claim: Claim | None = None, *, settings: LaneSettings = FIXED, roll: float = 0.5
    ) -> Stage:
        """One more job, which has started."""
        member = Member(
            backend=self.backend,
            settings=settings,
            price=lambda _: None,
            turnstile=self.turnstile,
        )
        folder = self._folder / str(len(self.stages))
        folder.mkdir()
        stage = Stage(folder, self._writer, [member], roll=roll, claim=claim)
        self.stages.append(stage)
        return stage


@contextlib.asynccontextmanager
async def hall(folder: Path, *, sticks: bool) -> AsyncIterator[Hall]:
    writer = JournalWriter()
    here = Hall(folder, writer, sticks=sticks)
    try:
        yield here
    finally:
        here.backend.open()
        for stage in here.stages:
            await stage.fleet.stop(drain_s=0.0)
            for chunk in stage.chunks:
                chunk.journal.close()
        await writer.aclose()


@pytest.fixture
def in_hall(tmp_path: Path) -> Callable[..., None]:
    """Runs a play in virtual time."""

    def run(play: Play, *, sticks: bool = False) -> None:
        async def main() -> None:
            async with hall(tmp_path, sticks=sticks) as here:
                await play(here)

        run_jumping(main())

    return run


def left(stage: Stage) -> int:
    return sum(chunk.unanswered for chunk in stage.chunks)


def held(stages: Sequence[Stage]) -> list[int]:
    return [stage.lane.in_flight for stage in stages]


async def over(stage: Stage) -> float:
    """Loop time at which a job has all its answers."""
    await stage.until_answered()
    return asyncio.get_running_loop().time()


Run: TypeAlias = Callable[..., None]


def test_three_jobs_share_one_limit_equally_and_use_all_of_it(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        jobs = [here.job(settings=msgspec.structs.replace(FIXED, slots=9)) for _ in range(3)]
        for one in jobs:
            await one.add(range(300))
        await until(lambda: left(jobs[0]) < 250, within_s=60.0)
        assert held(jobs) == [3, 3, 3]
        ends = await asyncio.gather(*(over(one) for one in jobs))
        assert max(ends) - min(ends) < 1.0
        assert here.backend.most_in_flight == 9

    in_hall(play)


def test_a_prototype_beside_production_is_done_long_before(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        night = here.job(Claim(priority=PRODUCTION))
        await night.add(range(400))
        await until(lambda: left(night) < 380, within_s=60.0)
        began = asyncio.get_running_loop().time()
        small = here.job()
        await small.add(range(28))
        await until(lambda: small.lane.in_flight == 7, within_s=1.0)
        assert night.lane.in_flight == 1
        assert await over(small) - began < 4.0
        assert left(night) > 300
        await small.fleet.stop(drain_s=0.0)
        assert small.lane.place is night.lane.place is None  # alone again
        await until(lambda: night.lane.in_flight == 8, within_s=1.0)
        await over(night)

    in_hall(play)


def test_projects_share_by_halves_however_many_jobs_they_have(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        of_one = Claim(project=ProjectId("one"))
        jobs = [here.job(of_one), *(here.job() for _ in range(4))]
        for one in jobs:
            await one.add(range(200))
        await until(lambda: left(jobs[0]) < 150, within_s=60.0)
        assert held(jobs) == [4, 1, 1, 1, 1]
        await asyncio.gather(*(over(one) for one in jobs))

    in_hall(play)


def test_a_deadline_takes_what_it_needs(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        # The clock of a stage stands at 1000: 100 rows of 0.1 s in 5 s need 2.4 slots.
        soon = here.job(Claim(priority=PRODUCTION, until=1005.0))
        soon.fleet.rows_left = lambda: 100
        others = [here.job() for _ in range(2)]
        for one in (soon, *others):
            await one.add(range(200))
        await until(lambda: left(soon) < 150, within_s=60.0)
        assert soon.lane.in_flight in (3, 4)
        assert sum(held((soon, *others))) == 8

    in_hall(play)


def test_what_runs_dry_or_is_down_leaves_its_share_to_the_others(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        busy, dry, down = here.job(), here.job(), here.job()
        await busy.add(range(300))
        await dry.add(range(10))
        for _ in range(20):
            down.lane.breaker.on_fault(
                fault(FaultClass.AUTH, status=401), asyncio.get_running_loop().time(), 0.5
            )
        await down.add(range(20))
        await until(lambda: not left(dry), within_s=5.0)
        await until(lambda: busy.lane.in_flight == 8, within_s=5.0)
        await over(busy)
        await over(down)

    in_hall(play)


def test_a_job_that_stops_frees_its_slots_while_it_drains(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        first = here.job()
        await first.add(range(100))
        await until(lambda: first.lane.in_flight == 8, within_s=1.0)
        here.backend.shut()
        second = here.job(Claim(priority=PRODUCTION))
        await second.add(range(100, 200))
        stopping = asyncio.create_task(first.fleet.stop(drain_s=20.0))
        await until(lambda: first.lane.stopping, within_s=1.0)
        assert second.lane.in_flight == 0
        here.backend.open()
        await until(lambda: not left(second), within_s=5.0)
        assert not stopping.done()
        await stopping

    in_hall(play, sticks=True)


def test_what_is_set_for_one_job_binds_that_job_alone(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        capped = here.job(settings=LaneSettings(slots=2, rpm=120.0, timeout_s=30.0, policy=POLICY))
        await capped.add(range(40))
        free = here.job(settings=LaneSettings(slots=64, start=START, timeout_s=30.0, policy=POLICY))
        await free.add(range(500))
        assert free.lane.gate.limiter is capped.lane.gate.limiter
        assert free.lane.gate.limiter.adapts
        ends = await asyncio.gather(over(capped), over(free))
        assert ends[1] < 50.0  # and not 250 s, at two a second
        assert ends[0] > 18.0
        assert capped.backend.most_in_flight > 2

    in_hall(play)


def test_refusals_cut_the_limit_that_all_share_once(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        jobs = [here.job(settings=msgspec.structs.replace(FIXED, slots=16)) for _ in range(2)]
        for one in jobs:
            await one.add(range(50))
        limiter = jobs[0].lane.gate.limiter
        assert limiter is jobs[1].lane.gate.limiter
        here.backend.fail_until(0.15, fault(FaultClass.THROTTLE, status=429))
        await until(lambda: limiter.limit < 16, within_s=5.0)
        await asyncio.gather(*(over(one) for one in jobs))

    in_hall(play)


def test_a_job_that_comes_later_makes_nobody_forget_what_refusals_taught(in_hall: Run) -> None:
    async def play(here: Hall) -> None:
        first = here.job(settings=msgspec.structs.replace(FIXED, slots=16, rpm=60_000.0))
        await first.add(range(200))
        limiter, pacer = first.lane.gate.limiter, first.lane.gate.pacer
        here.backend.fail_until(0.15, fault(FaultClass.THROTTLE, status=429))
        await until(lambda: limiter.limit < 16, within_s=5.0)
        cut = limiter.limit
        second = here.job(settings=msgspec.structs.replace(FIXED, slots=64))
        gate = second.lane.gate
        assert (gate.limiter, gate.pacer) == (limiter, pacer)
        assert limiter.limit == cut
        await second.add(range(200))
        await asyncio.gather(over(first), over(second))

    in_hall(play)


class Noting(AdaptiveLimit):
    """Remembers how many it heard to be in flight when a request was refused."""

    def refused(self, *args: Any, **more: Any) -> bool:
        """As ever."""
        self.heard: int = more["in_flight"]
        return super().refused(*args, **more)


class Waiting:
    """A lane that always has a row, and is never woken for real."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.place: Place | None = None
        self.in_flight = 0
        self.stopping = False
        self.wants = True

    def wake(self, when: float | None = None) -> None:
        """Nothing happens."""


async def test_a_slot_that_is_given_and_not_used_yet_is_not_in_flight() -> None:
    turnstile, limiter = Turnstile(), Noting(start=3, most=3)
    asker = Asker(claim=Claim(), rows_left=lambda: 1, clock=lambda: 1000.0)
    first, second = Waiting(Gate(limiter)), Waiting(Gate(Noting(start=3, most=3)))
    for lane in (first, second):
        turnstile.enter(lane, Terms(slots=3), asker)
    place = first.place
    assert place is not None
    stamp = place.sent(0.0, 1)  # and the next slot is given to the other
    assert turnstile.given is second.place
    assert (turnstile.in_flight, turnstile.sent) == (2, 1)
    refusal = fault(FaultClass.THROTTLE, status=429)
    place.faulted(0.1, stamp, refusal, in_flight=0, latency_s=0.1)
    assert limiter.heard == 0


def test_addresses_that_differ_share_nothing_and_what_nobody_uses_is_forgotten() -> None:
    known = Turnstiles()
    here = Address(endpoint="http://a/v1", credential="env:KEY", model="m")
    mine = known.at(here)
    assert known.at(msgspec.structs.replace(here)) is mine
    assert known.at(msgspec.structs.replace(here, credential="env:OTHER")) is not mine
    assert known.at(msgspec.structs.replace(here, model="n")) is not mine
