import datetime as dt

import pytest

from nightkiln.backends.prices import OwnPrice, Price, price_of, with_overrides
from nightkiln.core.usage import Usage

DAY = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
OPENAI = "https://api.openai.com/v1"


def test_a_known_model_has_a_price_with_its_source_and_day() -> None:
    price = price_of("gpt-4o-mini", OPENAI, on=DAY)
    assert price is not None
    assert price.input_usd == pytest.approx(0.15e-6)
    assert price.cached_usd < price.input_usd < price.output_usd
    assert "openai gpt-4o-mini" in price.source
    assert price.date == "2026-11-01"


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("no-such-model-at-all", OPENAI),
        ("gpt-4o-mini", "http://127.0.0.1:8000/v1"),
        ("gpt-4o-mini", "http://localhost:8000/v1"),
        ("gpt-4o-mini", "http://[::1]:8000/v1"),
        ("gpt-4o-mini", "http://10.0.0.7/v1"),
        ("gpt-4o-mini", "http://gpu-box:8000/v1"),
        ("gpt-4o-mini", "https://llm.example.com/v1"),
    ],
)
def test_what_is_not_known_for_sure_has_no_price(model: str, url: str) -> None:
    assert price_of(model, url, on=DAY) is None


def test_cached_tokens_are_part_of_the_input() -> None:
    price = Price(input_usd=1.0, cached_usd=0.5, output_usd=2.0, source="s", date="d")
    usage = Usage(input_tokens=10, cached_tokens=4, output_tokens=3)
    assert price.cost_usd(usage) == 6 + 2 + 6


def test_inputs_beyond_the_first_tier_are_unpriced() -> None:
    price = Price(
        input_usd=1.0, cached_usd=1.0, output_usd=1.0, source="s", date="d", valid_to_tokens=100
    )
    assert price.cost_usd(Usage(input_tokens=100)) == 100
    assert price.cost_usd(Usage(input_tokens=101)) is None


def test_an_own_price_wins_over_the_table_and_holds_at_home_too() -> None:
    own = OwnPrice(input_usd=2.0, output_usd=8.0, source="prices in nightkiln.toml")
    prices = with_overrides({"gpt-4o-mini": own})
    for url in (OPENAI, "http://127.0.0.1:8000/v1", None):
        price = prices.price_of("gpt-4o-mini", url, on=DAY)
        assert price is not None
        assert price.cost_usd(Usage(input_tokens=10, cached_tokens=4, output_tokens=1)) == (
            pytest.approx(28e-6)
        )
        assert price.source == "prices in nightkiln.toml"
    known = prices.price_of("gpt-4o", OPENAI, on=DAY)
    assert known == price_of("gpt-4o", OPENAI, on=DAY)
    assert prices.price_of("gpt-4o", None, on=DAY) is None
