"""What may be written as a distribution, and what it draws."""

import random
import statistics

import pytest

from nightkiln.simulate.distributions import parse_distribution


def draws(text: str, count: int = 4000) -> list[float]:
    sample = parse_distribution(text).sampler(random.Random(1))
    return [sample() for _ in range(count)]


def test_a_constant_is_always_itself() -> None:
    assert set(draws("const:50", 10)) == {50.0}
    assert parse_distribution("const:50").constant == 50.0


def test_a_bare_number_is_a_constant() -> None:
    assert parse_distribution("12.5").constant == 12.5


def test_uniform_stays_between_its_ends() -> None:
    drawn = draws("uniform:20,80")
    assert 20 <= min(drawn) < 25
    assert 75 < max(drawn) <= 80


def test_lognormal_has_the_median_it_names() -> None:
    assert statistics.median(draws("lognormal:50,0.4")) == pytest.approx(50, rel=0.05)


def test_exp_has_the_mean_it_names() -> None:
    assert statistics.mean(draws("exp:30")) == pytest.approx(30, rel=0.1)


def test_bimodal_takes_the_second_value_at_its_share() -> None:
    drawn = draws("bimodal:50,2000,0.1")
    assert set(drawn) == {50.0, 2000.0}
    assert drawn.count(2000.0) / len(drawn) == pytest.approx(0.1, abs=0.03)


def test_the_same_dice_draw_the_same_numbers() -> None:
    assert draws("lognormal:50,0.4", 5) == draws("lognormal:50,0.4", 5)


@pytest.mark.parametrize(
    "text",
    [
        *("", "gauss:1,2", "const", "const:x", "const:-1", "const:nan", "uniform:5"),
        *("uniform:5,1", "lognormal:0,1", "exp:0", "exp:inf", "bimodal:1,2", "bimodal:1,2,3"),
    ],
)
def test_what_is_no_distribution_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"distribution|form"):
        parse_distribution(text)
