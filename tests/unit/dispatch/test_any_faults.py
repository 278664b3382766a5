"""Whatever a backend does, every row ends with exactly one answer and nobody sleeps for ever."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.fault import PARKING, Fault, FaultClass
from nightkiln.testing.backends import Outcome
from nightkiln.vault.frames import Answered, Faulted, Sent
from nightkiln.vault.recovery import Recovered

from .conftest import Stage, perform, prompt_of

F = FaultClass
ASKED = [
    F.TRANSIENT, F.OVERLOAD, F.THROTTLE, F.QUOTA, F.AUTH, F.ROUTE, F.PERMANENT, F.CONTENT,
    F.INCOMPLETE, F.PROTOCOL, F.AMBIGUOUS,
]  # fmt: skip
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        Fault,
        kind=st.sampled_from(ASKED),
        code=st.just("scripted"),
        retry_after_s=st.none() | st.sampled_from([0.0, 0.3, 7.0]),
        unreachable=st.just(False),
    ),
    st.just(Fault(kind=F.TRANSIENT, code="refused", sent=False, unreachable=True)),
    st.just(RuntimeError("gone")),
)
SCRIPTS = st.dictionaries(st.integers(0, 39), st.lists(OUTCOMES, max_size=8), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    scripts=SCRIPTS,
    slots=st.integers(1, 8),
    roll=st.sampled_from([0.0, 0.5, 0.99]),
    deaths=st.dictionaries(st.integers(0, 39), st.integers(1, 3), max_size=4),
    pause_s=st.sampled_from([0.0, 0.2, 90.0]),
)
def test_every_row_ends_with_exactly_one_answer(
    scripts: dict[int, list[Outcome]],
    slots: int,
    roll: float,
    deaths: dict[int, int],
    pause_s: float,
) -> None:
    async def play(stage: Stage) -> None:
        for row, outcomes in scripts.items():
            stage.backend.script(prompt_of(row), outcomes)
        died = [
            Sent(at=0.0, backend="b", tries=((row, number),))
            for row, count in deaths.items()
            for number in range(1, count + 1)
        ]
        await stage.add(range(20), before=[frame for frame in died if frame.tries[0][0] < 20])
        await asyncio.sleep(pause_s)
        await stage.add(range(20, 40), before=[f for f in died if f.tries[0][0] >= 20])
        await stage.until_answered(within_s=24 * 3600.0)
        await check(stage, deaths)

    with tempfile.TemporaryDirectory() as folder:
        perform(Path(folder), play, slots=slots, roll=roll)


async def check(stage: Stage, deaths: dict[int, int]) -> None:
    answers = stage.answers()
    assert set(answers) == set(range(40))
    assert stage.backend.most_in_flight <= len(stage.lane._tasks)
    assert stage.fleet.queued == 0
    for row, count in deaths.items():
        if count == 2:
            assert stage.backend.beside.get(row, 0) == 0
        if count == 3:
            assert stage.backend.asks[row] == 0
    for answer in answers.values():
        if answer.fault is not None:
            assert answer.fault.kind not in {*PARKING, F.THROTTLE, F.LOCAL}
            assert not answer.fault.unreachable
        numbers = [attempt.number for attempt in answer.attempts]
        assert numbers == list(range(1, len(numbers) + 1))
    for number in range(2):
        await check_journal(stage, number)


async def check_journal(stage: Stage, number: int) -> None:
    """The journal alone tells the same: one answer a row, every attempt begun and ended once."""
    known, ends, begun = Recovered(), Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    verdicts: Counter[int] = Counter()
    frames = await stage.frames(number)
    known.absorb(frames)
    for frame in frames:
        if isinstance(frame, Sent):
            begun.update(frame.tries)
        else:
            verdicts[frame.row] += isinstance(frame, Answered)
            if frame.attempt is not None:
                ends[(frame.row, frame.attempt.number)] += 1
                assert isinstance(frame, Faulted | Answered)
    assert begun == ends
    assert set(verdicts.values()) <= {0, 1}
    for answer in stage.chunks[number].answers():
        assert known.answers[answer.row].text == answer.text
