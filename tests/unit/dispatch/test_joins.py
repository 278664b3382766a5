"""Rows that follow an identical one: no request of theirs leaves, and each ends exactly once."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.testing.backends import Outcome, encode_prompt, fault
from nightkiln.vault.frames import Answered, Sent
from nightkiln.vault.recovery import Recovered

from .conftest import Stage, perform, prompt_of

F = FaultClass
Run = Callable[..., None]


async def add(
    stage: Stage, rows: Iterable[int], *, groups: int = 1, form: Form | None = None, **more: object
) -> OpenChunk:
    """A chunk whose rows have `groups` different requests among them."""
    rows = list(rows)
    chunk = await stage.add(rows, tell=False, form=form, **more)  # type: ignore[arg-type]
    chunk.keys = {row: b"%016d" % (row % groups) for row in rows}
    stage.fleet.add(chunk)
    return chunk


def test_identical_rows_in_flight_are_asked_once(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await add(stage, range(40), groups=2)
        await add(stage, range(40, 60), groups=2)
        await stage.until_answered()
        assert stage.backend.asks == Counter([0, 1])
        answers = stage.answers()
        assert {answer.text for answer in answers.values()} == {"ROW 0", "ROW 1"}
        for row in range(2, 60):
            assert answers[row].reused
            assert answers[row].attempts == ()
            assert answers[row].text == answers[row % 2].text
            assert answers[row].finish_reason == "stop"
            saved = answers[row].saved
            assert saved is not None
            assert (saved.tokens, saved.cost_usd) == (10, 5.0)
        assert not answers[0].reused
        assert (stage.fleet.queued, stage.fleet.waiting) == (0, 0)

    on_stage(play, slots=8)


def test_a_follower_holds_no_slot_and_is_in_no_journal_until_it_is_answered(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await add(stage, range(10))
        await add(stage, [20, 21], groups=30)
        await stage.until(lambda: stage.backend.in_flight == 3)
        assert (stage.fleet.in_flight, stage.fleet.waiting) == (3, 9)
        sent = [frame for frame in stage.written() if isinstance(frame, Sent)]
        assert [frame.tries for frame in sent] == [((0, 1),)]
        stage.backend.open()
        await stage.until_answered()
        known = Recovered()
        known.absorb(await stage.frames())
        assert len(known.answers) == 10
        assert not any(known.deaths(row) for row in range(10))
        assert known.rows_tried() == {0}

    on_stage(play, slots=4)


def test_without_keys_everybody_is_asked(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(20))
        await stage.until_answered()
        assert stage.backend.asks == Counter(range(20))
        assert not any(answer.reused for answer in stage.answers().values())

    on_stage(play)


def test_an_answer_serves_rows_that_come_a_little_later(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await add(stage, range(3))
        await stage.until_answered()
        await add(stage, range(10, 20))
        await stage.until_answered()
        assert stage.backend.asks == Counter([0])
        assert stage.answers()[19].reused

    on_stage(play)


def test_an_answer_of_a_run_that_died_serves_its_followers(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        attempt = Attempt(number=1, backend="b", sent_at=0.0, latency_ms=1.0, cost_usd=2.0)
        await add(stage, range(5), before=[Answered(row=3, attempt=attempt, text="paid")])
        await stage.until_answered()
        assert not stage.backend.asks
        answers = stage.answers()
        assert [answers[row].text for row in range(5)] == ["paid"] * 5
        assert [answers[row].reused for row in range(5)] == [True, True, True, False, True]

    on_stage(play)


def test_a_leaders_fault_sends_a_follower_instead(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(F.TRANSIENT)])
        await add(stage, range(6))
        await stage.until_answered()
        answers = stage.answers()
        assert stage.backend.asks[0] == 1
        assert stage.backend.asks[1] == 1
        assert sum(stage.backend.asks.values()) == 2
        assert answers[0].reused  # it came back and found the answer of the one that went instead
        assert len(answers[0].attempts) == 1
        assert [answers[row].reused for row in range(1, 6)] == [False, True, True, True, True]

    on_stage(play)


def test_a_verdict_is_nobody_elses(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(3):
            stage.backend.script(prompt_of(row), [fault(F.PERMANENT)])
        await add(stage, range(6))
        await stage.until_answered()
        answers = stage.answers()
        faulted = [row for row, answer in answers.items() if answer.fault is not None]
        assert faulted == [0, 1, 2]
        for row in faulted:
            assert (stage.backend.asks[row], answers[row].reused) == (1, False)
        assert {answers[row].text for row in (3, 4, 5)} <= {"ROW 3", "ROW 4", "ROW 5"}

    on_stage(play)


def test_many_rows_that_are_all_refused_do_not_wait_for_each_other(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(300):
            stage.backend.script(prompt_of(row), [fault(F.PERMANENT)])
        await add(stage, range(300))
        started = asyncio.get_running_loop().time()
        await stage.until_answered()
        assert stage.backend.asks == Counter(range(300))
        assert asyncio.get_running_loop().time() - started < 3.0  # one by one it is 15 s

    on_stage(play, slots=64)


def test_an_answer_that_does_not_fit_is_never_shared(on_stage: Run) -> None:
    misfit = fault(F.INCOMPLETE)
    form = Form(
        encode=encode_prompt,
        larger=lambda prompt: encode_prompt(prompt) + b" more",
        misfit=lambda reply: None if reply.text.endswith("MORE") else misfit,
    )

    async def play(stage: Stage) -> None:
        await add(stage, range(5), form=form)
        await stage.until_answered()
        for row, answer in stage.answers().items():
            assert answer.text == f"ROW {row} MORE"
            assert not answer.reused
        assert stage.backend.asks == Counter(dict.fromkeys(range(5), 2))

    on_stage(play)


def test_a_suspect_of_poison_neither_leads_nor_follows(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        died = [Sent(at=0.0, backend="b", tries=((3, number),)) for number in (1, 2)]
        await add(stage, range(6), before=died)
        await stage.until_answered()
        assert stage.backend.asks == Counter([0, 3])
        assert stage.backend.beside.get(3, 0) == 0
        assert not stage.answers()[3].reused

    on_stage(play)


def test_stopping_loses_no_follower_and_ends_only_what_was_sent(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        chunk = await add(stage, range(8))
        await stage.until(lambda: stage.backend.in_flight == 1)
        await stage.fleet.stop(drain_s=0.1)
        assert chunk.unanswered == 8
        known = Recovered()
        known.absorb(await stage.frames())
        assert (known.rows_tried(), known.answers) == ({0}, {})

    on_stage(play)


def test_what_drains_at_a_stop_answers_its_followers_too(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        chunk = await add(stage, range(8))
        await stage.until(lambda: stage.backend.in_flight == 1)
        await stage.fleet.stop(drain_s=5.0)
        assert chunk.unanswered == 0

    on_stage(play)


OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        Fault,
        kind=st.sampled_from(
            [F.TRANSIENT, F.OVERLOAD, F.THROTTLE, F.QUOTA, F.PERMANENT, F.INCOMPLETE, F.AMBIGUOUS]
        ),
        code=st.just("scripted"),
        unreachable=st.just(False),
    ),
    st.just(Fault(kind=F.TRANSIENT, code="refused", sent=False, unreachable=True)),
    st.just(RuntimeError("gone")),
    st.just(Reply(text="odd", finish_reason="stop")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    scripts=st.dictionaries(st.integers(0, 39), st.lists(OUTCOMES, max_size=8), max_size=20),
    slots=st.integers(1, 8),
    groups=st.integers(1, 12),
    deaths=st.dictionaries(st.integers(0, 19), st.integers(1, 3), max_size=3),
    recalls=st.booleans(),
)
def test_every_row_ends_with_exactly_one_answer(
    scripts: dict[int, list[Outcome]],
    slots: int,
    groups: int,
    deaths: dict[int, int],
    recalls: bool,
) -> None:
    async def play(stage: Stage) -> None:
        stage.fleet.joins._recalls = recalls
        for row, outcomes in scripts.items():
            stage.backend.script(prompt_of(row), outcomes)
        died = [
            Sent(at=0.0, backend="b", tries=((row, number),))
            for row, count in deaths.items()
            for number in range(1, count + 1)
        ]
        await add(stage, range(20), groups=groups, before=died)
        await add(stage, range(20, 40), groups=groups)
        await stage.until_answered(within_s=24 * 3600.0)
        answers = stage.answers()
        assert set(answers) == set(range(40))
        assert (stage.fleet.queued, len(stage.fleet.joins)) == (0, 0)
        for row, answer in answers.items():
            if answer.reused:
                leaders = [
                    one
                    for other, one in answers.items()
                    if other % groups == row % groups and not one.reused and one.fault is None
                ]
                assert answer.text in {one.text for one in leaders}
        for number in range(2):
            verdicts = Counter(f.row for f in await stage.frames(number) if isinstance(f, Answered))
            assert set(verdicts.values()) <= {1}

    with tempfile.TemporaryDirectory() as folder:
        perform(Path(folder), play, slots=slots)
