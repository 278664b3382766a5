"""Random weather over the whole dispatch, in virtual time: a thousand and some seeds.

A seed that fails is in the test's message; `pytest "...::test_...[SEED]"` replays
it, or NIGHTKILN_STORM=SEED for one of the large sweep.
"""

import os
import random
from collections import Counter

import msgspec
import pytest

from nightkiln.core.answer import Answer
from nightkiln.core.fault import COUNTED, FaultClass
from nightkiln.core.ids import ProjectId
from nightkiln.plan.retry import RetryPolicy
from nightkiln.plan.schedule import Claim

from .sea import Sea
from .weather import Spell, Weather, drawn

SEEDS = 1_000
FLEET_SEEDS = 300
JOBS_SEEDS = 200
AT_ONCE = 50  # seeds in one test
DEADLY = (Spell.DOWN, Spell.REFUSED, Spell.BROKE, Spell.ERRORS, Spell.FULL, Spell.THROTTLED)
ATTEMPTS = RetryPolicy().max_attempts


def rows_of(seed: int) -> list[str]:
    """Some rows: most of them different, some the same, a few that are refused."""
    dice = random.Random(seed)
    count = dice.randint(30, 160)
    return [
        f"bad {row}" if dice.random() < 0.03 else f"row {dice.choice((row, row % 20))}"
        for row in range(count)
    ]


def check_answer(prompt: str, answer: Answer) -> None:
    """What a row may end with: its own answer, or a fault that is its own."""
    if prompt.startswith("bad"):
        assert answer.fault is not None
        assert answer.fault.kind is FaultClass.PERMANENT
    elif answer.fault is None:
        assert answer.text == f"answer to {prompt}"
    else:
        assert answer.fault.kind in COUNTED
        assert sum(one.fault is not None for one in answer.attempts) >= ATTEMPTS


def check(seed: int) -> None:
    """One seed's storm: nobody is lost, nothing is asked behind our back, and it ends."""
    weather, prompts = drawn(seed), rows_of(seed)
    keyed = bool(seed % 2)
    sea = Sea([weather], seed)
    answers = sea.sail(prompts, keyed=keyed)
    assert sorted(answers) == list(range(len(prompts)))
    for row, prompt in enumerate(prompts):
        check_answer(prompt, answers[row])
    recorded = sum(1 for chunk in sea.chunks for _ in chunk.all_attempts())
    assert recorded == sum(sea.backend.asked.values())
    if keyed:
        twins = {body for body, most in sea.backend.twins.items() if most > 1}
        assert all(body.startswith(b"bad") for body in twins)


def check_fleet(seed: int) -> None:
    """One seed's storm over two or three backends: as with one, and nothing worse."""
    prompts, keyed = rows_of(seed), bool(seed % 2)
    sea = Sea(weathers_of(seed), seed)
    answers = sea.sail(prompts, keyed=keyed)
    assert sorted(answers) == list(range(len(prompts)))
    for row, prompt in enumerate(prompts):
        check_answer(prompt, answers[row])
    recorded = Counter(one.backend for chunk in sea.chunks for one in chunk.all_attempts())
    assert recorded == {
        backend.name: sum(backend.asked.values()) for backend in sea.backends if backend.asked
    }


def check_jobs(seed: int) -> None:
    """One seed's storm over two or three jobs at the same backend, or two: each as if alone."""
    dice = random.Random(seed)
    weathers = [drawn(seed), drawn(seed + 100_003)][: 1 + seed % 3 // 2]
    seas: list[Sea] = []
    for number in range(2 + seed % 2):
        claim = Claim(
            priority=dice.randrange(2),
            project=ProjectId(dice.choice("ab")),
            until=dice.choice((None, 20.0, 1e5)),
        )
        first = seas[0] if seas else None
        starts_at = dice.choice((0.0, 0.5, 10.0)) if number else 0.0
        seas.append(Sea(weathers, seed + number, beside=first, claim=claim, starts_at=starts_at))
    prompts = [
        [f"{row} of {number}" for row in rows_of(seed + number)[:80]] for number in range(len(seas))
    ]
    Sea.sail_together(seas, prompts)
    for sea, rows in zip(seas, prompts, strict=True):
        answers = sea.answers()
        assert sorted(answers) == list(range(len(rows)))
        for row, prompt in enumerate(rows):
            check_answer(prompt, answers[row])
    recorded = sum(1 for sea in seas for chunk in sea.chunks for _ in chunk.all_attempts())
    assert recorded == sum(sum(one.asked.values()) for one in seas[0].backends)


def weathers_of(seed: int) -> list[Weather]:
    """Two or three backends, each with a weather of its own."""
    return [drawn(seed + 100_003 * number) for number in range(2 + seed % 2)]


def seeds(first: int) -> range:
    said = os.environ.get("NIGHTKILN_STORM")
    return range(first, first + AT_ONCE) if said is None else range(int(said), int(said) + 1)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_row_gets_its_own_answer_whatever_the_weather(first: int) -> None:
    for seed in seeds(first):
        try:
            check(seed)
        except (AssertionError, TimeoutError) as problem:
            raise AssertionError(f"storm {seed} ({drawn(seed)}): {problem}") from problem


@pytest.mark.parametrize("seed", range(30))
def test_in_fair_weather_nearly_all_of_the_capacity_is_used(seed: int) -> None:
    dice = random.Random(seed)
    weather = Weather(
        slots=dice.choice((8, 24, 48)),
        queues=dice.random() < 0.5,
        latency_s=dice.choice((0.1, 0.2, 0.4)),
        sigma=dice.choice((0.0, 0.5)),
        faulty=0.0,
    )
    capacity = weather.slots / weather.latency_s
    sea = Sea([weather], seed)
    sea.sail([f"row {n}" for n in range(int(capacity * 50))], most=512)
    steady = [at for at in sea.backend.beats if 10 <= at <= 45]
    assert len(steady) / 35 >= 0.97 * capacity, weather


@pytest.mark.parametrize("first", range(0, FLEET_SEEDS, AT_ONCE))
def test_several_backends_lose_no_row_whatever_the_weather_of_each(first: int) -> None:
    for seed in seeds(first):
        try:
            check_fleet(seed)
        except (AssertionError, TimeoutError) as problem:
            raise AssertionError(f"storm {seed} ({weathers_of(seed)}): {problem}") from problem


@pytest.mark.parametrize("first", range(0, JOBS_SEEDS, AT_ONCE))
def test_several_jobs_at_one_backend_lose_no_row_and_none_waits_for_ever(first: int) -> None:
    for seed in seeds(first):
        try:
            check_jobs(seed)
        except (AssertionError, TimeoutError) as problem:
            raise AssertionError(f"storm {seed} ({drawn(seed)}): {problem}") from problem


@pytest.mark.parametrize("seed", range(6))
def test_in_fair_weather_several_jobs_use_as_much_as_one_and_share_it_equally(seed: int) -> None:
    weather = Weather(
        slots=(24, 48)[seed % 2], queues=seed % 3 == 0, latency_s=0.2, sigma=0.5, faulty=0.0
    )
    capacity = weather.slots / weather.latency_s
    first = Sea([weather], seed)
    seas = [first, *(Sea([weather], seed + n, beside=first) for n in range(1, 3))]
    rows = [[f"row {row} of {n}" for row in range(int(capacity * 15))] for n in range(3)]
    Sea.sail_together(seas, rows)
    steady = [at for at in first.backend.beats if 10 <= at <= 40]
    assert len(steady) / 30 >= 0.96 * capacity, weather
    ends = [sea.ended_at for sea in seas]
    assert max(ends) - min(ends) <= 0.1 * max(ends)


def test_a_rate_is_one_for_all_jobs_and_shared_by_turns() -> None:
    weather = Weather(slots=64, queues=True, latency_s=0.1, sigma=0.0, faulty=0.0)
    first = Sea([weather], 1, rpm=600.0)
    seas = [first, *(Sea([weather], n, beside=first, rpm=600.0) for n in (2, 3))]
    Sea.sail_together(seas, [[f"row {row} of {n}" for row in range(200)] for n in range(3)])
    ends = [sea.ended_at for sea in seas]
    assert max(ends) == pytest.approx(59.0, abs=2.0)  # 600 rows at ten a second
    assert max(ends) - min(ends) <= 3.0


@pytest.mark.parametrize("seed", range(12))
def test_in_fair_weather_the_capacities_of_a_fleet_add_up(seed: int) -> None:
    dice = random.Random(seed)
    weathers = [
        Weather(
            slots=dice.choice((8, 24, 48)),
            queues=dice.random() < 0.5,
            latency_s=dice.choice((0.1, 0.2, 0.4)),
            sigma=dice.choice((0.0, 0.5)),
            faulty=0.0,
        )
        for _ in range(2 + seed % 2)
    ]
    capacity = sum(weather.slots / weather.latency_s for weather in weathers)
    sea = Sea(weathers, seed)
    sea.sail([f"row {n}" for n in range(int(capacity * 40))], most=512)
    steady = [at for backend in sea.backends for at in backend.beats if 10 <= at <= 35]
    assert len(steady) / 25 >= 0.95 * capacity, weathers


@pytest.mark.parametrize("seed", range(20))
def test_while_one_backend_is_fair_a_job_ends_nearly_as_soon_as_without_the_others(
    seed: int,
) -> None:
    fair = Weather(slots=24, queues=True, latency_s=0.2, sigma=0.0, faulty=0.0)
    bad = msgspec.structs.replace(drawn(seed), spells=((0.0, 1e6, DEADLY[seed % len(DEADLY)]),))
    prompts = [f"row {row}" for row in range(1200)]
    alone, beside = Sea([fair], seed), Sea([fair, bad], seed)
    alone.sail(prompts)
    answers = beside.sail(prompts)
    assert not any(answer.fault for answer in answers.values())
    assert beside.ended_at <= 1.3 * alone.ended_at + 3.0
