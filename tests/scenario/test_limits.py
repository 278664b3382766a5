"""How many, how fast and how much: limits that are found, set, and kept, by the real command."""

import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import ROWS, Place, Provider, simulated

CAPPED = 6
LOW, HIGH = "0.01", "1"  # dollars: for some rows of a priced table, and for all of them


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


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--concurrency", "256")], ids=["found", "said"])
def test_refusals_for_no_reason_slow_a_job_down_hardly_more_than_stumbles(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    spans: dict[str, float] = {}
    for fault in ("--p500", "--p503"):
        folder = tmp_path / fault
        folder.mkdir()
        settings = ("--latency", "const:50", "--capacity", "256", fault, "0.01")
        with simulated(*settings) as provider, Place(folder, provider.url) as place:
            place.table(5_000)
            ended = place.run(*more)
            assert ended.returncode == 0, ended.stderr
            stats = provider.stats()
        assert stats["ok"] == 5_000
        assert 0.002 * 5_000 <= stats["requests"] - 5_000 <= 0.05 * 5_000
        spans[fault] = stats["span_s"]
    last_s = 3.0  # a row that is refused at the end waits its second, and may be refused again
    assert spans["--p503"] <= 3 * spans["--p500"] + last_s


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
    assert "max-cost needs a price, and none is known for m" in ended.stderr
    assert provider.requests == 0
    (place.folder / "nightkiln.toml").write_text("[prices.m]\ninput = 10\noutput = 10\n")
    ended = place.run("--max-cost", "0.02", "--json")
    assert ended.returncode == 6, ended.stderr
    assert 0.016 <= json.loads(ended.stdout)["cost_usd"] <= 0.02
    assert place.run("--max-cost", "1").returncode == 0
    assert provider.requests == 300


@pytest.fixture
def priced(place: Place, provider: Provider) -> None:
    """A table of which LOW pays some rows and HIGH all."""
    (place.folder / "nightkiln.toml").write_text("[prices.m]\ninput = 10\noutput = 10\n")
    provider.configure(latency="const:5")
    place.table()


def report_of(ended: subprocess.CompletedProcess[str], *, code: int) -> dict[str, Any]:
    """What a command with `--json` says of a job that ended so; its last line is the report."""
    assert ended.returncode == code, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert found["exit_code"] == code
    return found


@pytest.mark.usefixtures("priced")
def test_a_cap_stays_with_the_job_when_it_goes_on(place: Place, provider: Provider) -> None:
    first = report_of(place.run("--max-cost", LOW, "--json"), code=CAPPED)
    assert 0.7 * float(LOW) <= first["cost_usd"] <= float(LOW)
    asked = provider.requests
    again = report_of(place.nightkiln("jobs", "resume", "last", "--json"), code=CAPPED)
    assert f"of ${LOW} are spent" in again["reason"]
    assert again["cost_usd"] <= float(LOW)
    assert provider.requests <= asked + 10  # what fits between the last row and the cap
    higher = place.nightkiln("jobs", "resume", "last", "--max-cost", HIGH, "--json")
    assert report_of(higher, code=0)["ok"] == ROWS
    assert provider.requests == provider.stats()["unique_prompts"] == ROWS


@pytest.mark.usefixtures("priced")
def test_a_retry_keeps_the_cap_and_counts_what_was_spent_before(
    place: Place, provider: Provider
) -> None:
    assert place.run("--max-cost", LOW, "-q").returncode == CAPPED
    assert place.nightkiln("jobs", "cancel", "last").returncode == 0
    asked = provider.requests
    kept = report_of(place.nightkiln("jobs", "retry", "last", "--run", "--json"), code=CAPPED)
    assert kept["cost_usd"] <= float(LOW)
    assert provider.requests <= asked + 10
    higher = place.nightkiln("jobs", "resume", "last", "--max-cost", HIGH, "--json")
    assert report_of(higher, code=0)["ok"] == ROWS
    assert provider.requests == ROWS


@pytest.mark.usefixtures("priced")
def test_after_a_trial_the_rest_is_asked_under_the_same_cap(
    place: Place, provider: Provider
) -> None:
    ended = place.run("--try", "7", "--max-cost", LOW, "--yes", "--json")
    found = report_of(ended, code=CAPPED)
    assert 0.7 * float(LOW) <= found["cost_usd"] <= float(LOW)
    assert 7 < provider.requests < ROWS
    assert not (place.folder / "out.csv").exists()


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize("going_on", [(), ("--yes",)], ids=["to look", "with yes"])
def test_a_trial_that_reaches_its_cap_ends_and_says_why(
    place: Place, provider: Provider, going_on: tuple[str, ...]
) -> None:
    ended = place.run("--try", "200", "--max-cost", LOW, *going_on)
    assert ended.returncode == CAPPED, ended.stderr
    assert f"of ${LOW} are spent; raise the cap to go on" in ended.stderr
    assert ended.stderr.splitlines()[-1].split()[:3] == ["next", "nightkiln", "run"]
    assert 7 < provider.requests < 200
    higher = place.run("--try", "200", "--max-cost", HIGH, "--yes", "--json")
    assert report_of(higher, code=0)["ok"] == ROWS
    assert provider.requests == ROWS


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
