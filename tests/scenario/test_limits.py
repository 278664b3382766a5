"""How many, how fast and how much: limits that are found, set, and kept, by the real command."""

import datetime as dt
import json

import pytest
from tests.scenario.place import Place, Provider


def test_a_provider_that_refuses_more_than_it_can_serve_is_filled_and_rarely_refuses(
    place: Place, provider: Provider
) -> None:
    provider.configure(latency="const:20", capacity=40, queue=0)
    place.table(4_000)
    ended = place.run()
    assert ended.returncode == 0, ended.stderr
    stats = provider.stats()
    assert stats["ok"] == 4_000
    assert stats["max_inflight"] == 40
    assert stats["requests"] <= 1.1 * 4_000


@pytest.mark.parametrize("headers", ["told in headers", "learnt from refusals"])
def test_a_rate_limit_costs_few_refusals(place: Place, provider: Provider, headers: str) -> None:
    told = headers == "told in headers"
    provider.configure(rpm=12_000, retry_after=0.05, tells=int(told))
    place.table(1_500)
    ended = place.run()
    assert ended.returncode == 0, ended.stderr
    stats = provider.stats()
    assert stats["ok"] == 1_500
    assert stats["requests"] <= 1.2 * 1_500


def test_a_rate_that_was_said_is_kept_from_the_first_request_on(
    place: Place, provider: Provider
) -> None:
    provider.configure(rpm=12_000, burst_s=2)
    place.table(600)
    ended = place.run("--rpm", "9000")
    assert ended.returncode == 0, ended.stderr
    stats = provider.stats()
    assert stats["requests"] == 600
    assert stats["span_s"] >= 2.5


def test_a_cap_on_tokens_pauses_the_job_before_it_is_crossed_and_a_higher_one_goes_on(
    place: Place, provider: Provider
) -> None:
    provider.configure(latency="const:5")
    place.table(400)
    ended = place.run("--max-tokens-total", "3000", "--json")
    assert ended.returncode == 6, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["state"], report["exit_code"]) == ("paused", 6)
    assert "of 3,000 tokens are used" in report["reason"]
    stats = provider.stats()
    assert 2_500 <= stats["prompt_tokens"] + stats["completion_tokens"] <= 3_000
    assert not (place.folder / "out.csv").exists()
    ended = place.run()
    assert ended.returncode == 0, ended.stderr
    assert provider.requests == 400
    assert len(place.answers()) == 400


def test_a_cap_on_money_needs_a_price_and_keeps_to_it(place: Place, provider: Provider) -> None:
    provider.configure(latency="const:5")
    place.table(300)
    ended = place.run("--max-cost", "0.01")
    assert ended.returncode == 2
    assert "--max-cost needs a price, and none is known for m" in ended.stderr
    assert provider.requests == 0
    (place.folder / "nightkiln.toml").write_text("[prices.m]\ninput = 10\noutput = 10\n")
    ended = place.run("--max-cost", "0.02", "--json")
    assert ended.returncode == 6, ended.stderr
    assert 0.016 <= json.loads(ended.stdout)["cost_usd"] <= 0.02
    assert place.run("--max-cost", "1").returncode == 0
    assert provider.requests == 300


def test_after_the_deadline_nothing_is_asked_and_without_it_the_job_goes_on(
    place: Place, provider: Provider
) -> None:
    place.table(50)
    past = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).isoformat()
    ended = place.run("--deadline", past)
    assert ended.returncode == 6
    assert "the deadline has come" in ended.stderr
    assert provider.requests == 0
    assert place.run("--deadline", "1h").returncode == 0


def test_a_deadline_that_is_no_time_is_a_usage_error(place: Place) -> None:
    place.table(1)
    ended = place.run("--deadline", "tomorrow")
    assert ended.returncode == 2
    assert "no span like 90m or 2d" in ended.stderr
