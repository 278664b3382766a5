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
from nightkiln.plan.retry import RetryPolicy

from .sea import Sea
from .weather import Spell, Weather, drawn

SEEDS = 1_000
FLEET_SEEDS = 400
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
