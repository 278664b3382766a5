"""Estimates: intervals in order, caps that hold, and words for where each figure comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.forecast import Interval, Rates
from nightkiln.plan.estimate import (
    NO_CAP_NOTE,
    Known,
    Seen,
    Table,
    forecast,
    spread,
    tokens_per_byte,
)

COUNTS = st.integers(0, 100_000)
SEEN = st.builds(
    Seen,
    prompt_bytes=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    latency_s=st.floats(0, 1000),
)
RATES = st.builds(
    Rates,
    input_usd=st.floats(0, 1e-3),
    output_usd=st.floats(0, 1e-3),
    source=st.just("a table"),
    date=st.just("2026-12-01"),
)
KNOWN = st.builds(
    Known,
    seen=st.lists(SEEN, max_size=20),
    rates=st.none() | RATES,
    is_own=st.booleans(),
    gpu_hour_usd=st.none() | st.floats(0, 100),
    tokens_per_s=st.none() | st.floats(0.1, 1e6),
    slots=st.none() | st.integers(1, 1000),
)
TABLES = st.builds(
    Table,
    rows=st.integers(1, 10**7),
    prompt_bytes=st.integers(0, 10**12),
    max_tokens=st.none() | st.integers(1, 10_000),
)
PRICE = Rates(input_usd=1e-6, output_usd=4e-6, source="a table", date="2026-12-01")


def ordered(interval: Interval) -> bool:
    slack = 1e-9 * max(1.0, abs(interval.high))
    return 0 <= interval.low <= interval.likely + slack and interval.likely <= interval.high + slack


@given(TABLES, KNOWN)
def test_every_interval_is_in_order_and_every_cap_holds(table: Table, known: Known) -> None:
    found = forecast(table, known)
    intervals = [found.input_tokens, found.output_tokens, found.cost_usd, found.elapsed_s]
    assert all(ordered(one) for one in intervals if one is not None)
    if table.max_tokens is not None:
        assert found.output_tokens.high <= table.max_tokens * table.rows * (1 + 1e-9)
    assert all([found.input_basis, found.output_basis, found.cost_basis, found.elapsed_basis])


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=50))
def test_a_spread_lies_within_its_values(values: list[float]) -> None:
    found = spread(values)
    assert ordered(found)
    assert min(values) <= found.low
    assert found.high <= max(values)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 10_000)), min_size=1))
def test_a_table_of_the_sampled_rows_alone_gets_its_own_sum(pairs: list[tuple[int, int]]) -> None:
    size, tokens = sum(one for one, _ in pairs), sum(one for _, one in pairs)
    assert tokens_per_byte(pairs).likely * size == pytest.approx(tokens, abs=1e-6)


def test_a_row_seen_a_million_times_costs_a_million_times_as_much() -> None:
    seen = Seen(prompt_bytes=400, input_tokens=100, output_tokens=50, latency_s=2.0)
    table = Table(rows=1_000_000, prompt_bytes=400_000_000, max_tokens=None)
    found = forecast(table, Known(seen=[seen] * 5, seen_where="a job", rates=PRICE, slots=100))
    assert found.input_tokens.likely == pytest.approx(100e6)
    assert found.output_tokens.likely == pytest.approx(50e6)
    assert found.cost_usd is not None
    assert found.cost_usd.likely == pytest.approx(100 + 200)
    assert found.elapsed_s is not None
    assert found.elapsed_s.likely == pytest.approx(20_000)
    assert (found.price_source, found.price_date) == ("a table", "2026-12-01")


def test_what_nobody_measured_is_wide_and_says_so() -> None:
    table = Table(rows=10, prompt_bytes=4000, max_tokens=None)
    found = forecast(table, Known())
    assert found.input_tokens.high >= 3 * found.input_tokens.low
    assert "default" in found.input_basis
    assert "default" in found.output_basis
    assert found.cost_usd is None
    assert found.elapsed_s is None
    assert found.notes == (NO_CAP_NOTE,)


def test_the_tokenizer_wins_over_earlier_jobs() -> None:
    seen = Seen(prompt_bytes=10, input_tokens=99, output_tokens=1, latency_s=1.0)
    exact = Interval(0.5, 0.5, 0.5)
    found = forecast(
        Table(rows=4, prompt_bytes=100, max_tokens=None),
        Known(counted=exact, counted_rows=4, seen=[seen]),
    )
    assert found.input_tokens == Interval(50, 50, 50)
    assert "tokenizer on every row" in found.input_basis


def test_hours_are_paid_where_a_price_for_them_is_given() -> None:
    table = Table(rows=10, prompt_bytes=0, max_tokens=360)
    known = Known(gpu_hour_usd=2.0, tokens_per_s=1.0, is_own=True, rates=PRICE)
    found = forecast(table, known)
    assert found.elapsed_s is not None
    assert found.cost_usd is not None
    assert found.cost_usd.high == pytest.approx(found.elapsed_s.high / 3600 * 2)
    assert found.price_source == ""


def test_our_own_engine_costs_nothing_and_an_unknown_price_is_no_zero() -> None:
    table = Table(rows=1, prompt_bytes=1, max_tokens=1)
    assert forecast(table, Known(is_own=True)).cost_usd == Interval(0, 0, 0)
    assert forecast(table, Known()).cost_usd is None


def test_fewer_rows_than_slots_take_one_turn() -> None:
    seen = Seen(prompt_bytes=1, input_tokens=1, output_tokens=1, latency_s=3.0)
    found = forecast(Table(rows=2, prompt_bytes=2, max_tokens=None), Known(seen=[seen], slots=64))
    assert found.elapsed_s == Interval(3, 3, 3)


def test_what_the_very_same_rows_took_outweighs_every_guess() -> None:
    known = Known(recorded=(500, 80), seen_where="job j")
    found = forecast(Table(rows=10, prompt_bytes=9000, max_tokens=9), known)
    assert found.input_tokens == Interval(500, 500, 500)
    assert found.output_tokens == Interval(64, 80, 90)  # no answer is longer than its cap
    assert "the very same rows" in found.input_basis
