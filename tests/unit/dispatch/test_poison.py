"""Rows that were in flight whenever a worker died: first alone, then set aside."""

from collections.abc import Callable

from nightkiln.core.fault import FaultClass
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.testing.backends import fault
from nightkiln.vault.frames import Sent

from .conftest import Stage, prompt_of

Run = Callable[..., None]


def deaths(row: int, count: int) -> list[Sent]:
    """What that many workers left behind that died with this row in flight."""
    return [Sent(at=1.0, backend="b", tries=((row, number),)) for number in range(1, count + 1)]


def test_a_row_that_saw_one_death_is_asked_like_any_other(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(8), before=deaths(0, 1))
        await stage.until_answered()
        assert stage.backend.seen[0][1] == 0
        assert stage.backend.beside[0] > 0

    on_stage(play)


def test_a_row_that_saw_two_deaths_runs_alone(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(8), before=[*deaths(3, 2), *deaths(5, 2)])
        await stage.until_answered()
        assert stage.backend.beside[3] == 0
        assert stage.backend.beside[5] == 0
        assert stage.answers()[3].text == "ROW 3"

    on_stage(play)


def test_a_suspect_runs_alone_at_every_attempt(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(3), [fault(FaultClass.TRANSIENT)] * 2)
        await stage.add(range(8), before=deaths(3, 2))
        await stage.until(lambda: stage.backend.asks[3] == 1)
        await stage.add(range(8, 2000))
        await stage.until_answered()
        assert stage.backend.asks[3] == 3
        assert stage.backend.beside[3] == 0

    on_stage(play)


def test_a_third_death_is_the_end_of_the_row_and_of_nobody_else(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        chunk = await stage.add(range(4), before=deaths(2, 3))
        await stage.until_answered()
        answer = stage.answers()[2]
        assert answer.fault is not None
        assert answer.fault.kind is FaultClass.POISON
        assert [attempt.number for attempt in answer.attempts] == [1, 2, 3]
        assert stage.backend.asks[2] == 0
        assert chunk.unanswered == 0

    on_stage(play)


def test_a_chunk_of_which_only_poison_is_left_ends_at_once(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        ended: list[OpenChunk] = []
        chunk = await stage.add([2], before=deaths(2, 3), tell=False)
        chunk.on_answered = ended.append
        stage.fleet.add(chunk)
        assert ended == [chunk]

    on_stage(play)
