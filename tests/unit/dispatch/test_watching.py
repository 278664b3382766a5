"""A fleet whose backend tells how busy its engine is, in virtual time."""

import itertools
from collections.abc import Callable

import pytest
from tests.unit.dispatch.conftest import POLICY, Stage, until

from nightkiln.core.engineload import EngineLoad
from nightkiln.dispatch.member import LaneSettings, Member
from nightkiln.dispatch.watching import LONGEST_S
from nightkiln.plan.limiter import Phase
from nightkiln.testing.backends import ScriptedBackend

BUSY = EngineLoad(running=8, waiting=40)


class Telling(ScriptedBackend):
    """Says one thing of its engine, and counts who asks."""

    def __init__(self, look: EngineLoad | None, *, gives_up_after: int = 10_000) -> None:
        super().__init__(latency_s=5.0)
        self.looks = 0
        self.deadlines: list[float] = []
        self._look = look
        self._gives_up_after = gives_up_after

    @property
    def tells_load(self) -> bool:
        return self.looks < self._gives_up_after

    async def load(self, *, deadline: float) -> EngineLoad | None:
        self.looks += 1
        self.deadlines.append(deadline)
        return self._look


def telling(backend: ScriptedBackend, *, start: int | None = 16) -> Callable[[], list[Member]]:
    settings = LaneSettings(slots=512, start=start, timeout_s=600.0, policy=POLICY)
    return lambda: [Member(backend=backend, settings=settings, price=lambda _: None)]


def test_a_backend_that_tells_is_asked_about_once_a_second_and_heard(
    on_stage: Callable[..., None],
) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(400))
        await stage.until(lambda: backend.looks >= 10)
        assert stage.lane.gate.limiter.phase is Phase.WATCHED
        apart = [late - soon for soon, late in itertools.pairwise(backend.deadlines[2:])]
        assert apart == pytest.approx([1.0] * len(apart), abs=0.01)

    backend = Telling(BUSY)
    on_stage(play, members=telling(backend))


def test_looks_that_bring_nothing_get_rare_and_change_nothing(
    on_stage: Callable[..., None],
) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(3_000))
        await stage.until_answered()
        assert stage.lane.gate.limiter.phase is not Phase.WATCHED
        assert backend.deadlines[-1] - backend.deadlines[-2] <= LONGEST_S + 0.01
        assert backend.looks <= 12

    backend = Telling(None)
    on_stage(play, members=telling(backend))


def test_a_backend_that_gives_up_telling_is_not_asked_again(on_stage: Callable[..., None]) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(500))
        await stage.until_answered()
        assert backend.looks == 3

    backend = Telling(None, gives_up_after=3)
    on_stage(play, members=telling(backend))


def test_nobody_is_asked_while_nothing_is_in_flight_or_about_a_number_that_was_said(
    on_stage: Callable[..., None],
) -> None:
    async def idle(stage: Stage) -> None:
        began = stage.lane._loop.time()
        await stage.until(lambda: stage.lane._loop.time() > began + 20)
        assert backend.looks == 0

    async def said(stage: Stage) -> None:
        await stage.add(range(600))
        await stage.until_answered()
        assert backend.looks == 0

    backend = Telling(BUSY)
    on_stage(idle, members=telling(backend))
    on_stage(said, members=telling(backend, start=None))


def test_a_bug_in_the_watching_is_found(on_stage: Callable[..., None]) -> None:
    class Broken(Telling):
        async def load(self, *, deadline: float) -> EngineLoad | None:
            raise RuntimeError(f"a bug at {deadline}")

    async def play(stage: Stage) -> None:
        await stage.add(range(100))
        await until(lambda: stage.fleet.broken() is not None, within_s=60)
        assert "a bug" in str(stage.fleet.broken())

    on_stage(play, members=telling(Broken(BUSY)))
