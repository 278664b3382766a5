"""What a table will take: estimated, tried on a few rows, and then really asked."""

import json
import os
import pty
from typing import Any

import pytest
from tests.scenario.place import DEADLINE_S, ROWS, Place, Provider, until

pytestmark = pytest.mark.usefixtures("table")

TRIED = 7


def estimated(place: Place, *more: str) -> dict[str, Any]:
    done = place.nightkiln("estimate", "in.csv", *place.target, *more, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["forecast"]
    return found


def test_an_estimate_by_earlier_jobs_holds_what_the_whole_table_takes(
    place: Place, provider: Provider
) -> None:
    wide = estimated(place)
    assert provider.requests == 0
    assert "default" in wide["input_basis"]
    assert wide["cost_usd"] is None
    assert place.run("-q", "--limit", "64").returncode == 0
    asked = provider.requests

    found = estimated(place)
    assert "the same prompt" in found["input_basis"]
    assert provider.requests == asked
    report = json.loads(place.run("--json").stdout)
    for name in ("input_tokens", "output_tokens"):
        assert found[name]["low"] <= report[name] <= found[name]["high"], name
        assert wide[name]["low"] <= report[name] <= wide[name]["high"], name


def test_the_latency_of_one_endpoint_says_nothing_of_another(
    place: Place, provider: Provider
) -> None:
    provider.slow(0)  # which may be rounded to no time at all
    assert place.run("-q", "--limit", "20").returncode == 0
    assert "the latency of 20 rows" in estimated(place)["elapsed_basis"]
    place.url = "https://api.openai.com/v1"
    found = estimated(place)
    assert found["elapsed_s"] is None
    assert "not measured here" in found["elapsed_basis"]
    assert "the same prompt" in found["input_basis"]


def test_an_estimate_prices_hours_and_known_models(place: Place) -> None:
    hours = estimated(place, "--gpu-hour-usd", "3.6", "--tokens-per-s", "10", "--max-tokens", "5")
    for bound in ("low", "likely", "high"):
        assert hours["cost_usd"][bound] == pytest.approx(hours["elapsed_s"][bound] / 1000)
    place.url = "https://api.openai.com/v1"
    arguments = ["estimate", "in.csv", "--endpoint", place.url, "--model", "gpt-4o-mini"]
    done = place.nightkiln(*arguments, "--prompt", "Say {text}", "--max-tokens", "10")
    assert done.returncode == 0, done.stderr
    assert "genai-prices" in done.stdout
    assert "half price; nightkiln does not use it yet" in done.stdout
    assert done.stderr == ""


def test_the_pilots_tokens_are_counted_by_its_own_tokenizer(place: Place) -> None:
    pytest.importorskip("tokenizers")
    done = place.nightkiln("estimate", "in.csv", "--prompt", "Name the topic: {text}", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["forecast"]
    tokens = found["input_tokens"]
    assert tokens["low"] == tokens["high"] > ROWS
    assert "tokenizer on every row" in found["input_basis"]
    assert found["cost_usd"]["high"] == 0.0


def test_where_nobody_can_answer_a_trial_stops_and_says_how_to_go_on(
    place: Place, provider: Provider
) -> None:
    tried = place.run("--try", str(TRIED))
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout == ""
    assert f"tried {TRIED} of {ROWS} rows" in tried.stderr
    assert "input tokens" in tried.stderr
    assert provider.requests == TRIED
    assert not (place.folder / "out.csv").exists()
    job = tried.stderr.splitlines()[-1].split()[-1]
    assert tried.stderr.splitlines()[-1] == f"  next: nightkiln jobs resume {job}"
    rows = [line.split()[1] for line in tried.stderr.splitlines() if line.startswith("  row ")]
    assert len(set(rows)) == TRIED
    assert max(map(int, rows)) > ROWS // 4  # by chance over the table, not its first rows

    again = place.run("--try", str(TRIED), "--json")
    assert len(json.loads(again.stdout)["tried"]) == TRIED
    assert provider.requests == TRIED  # the same rows, and they are answered

    resumed = place.nightkiln("jobs", "resume", job, "--json")
    assert json.loads(resumed.stdout)["reused"] == TRIED
    stats = provider.stats()
    assert (stats["requests"], stats["unique_prompts"]) == (ROWS, ROWS)
    assert len(place.answers()) == ROWS


def test_a_trial_with_yes_goes_on_and_pays_no_row_twice(place: Place, provider: Provider) -> None:
    done = place.run("--try", str(TRIED), "--yes")
    assert done.returncode == 0, done.stderr
    assert f"tried {TRIED} of {ROWS} rows" in done.stderr
    assert f"{ROWS} ok of {ROWS} rows" in done.stderr
    assert provider.requests == ROWS
    assert len(place.answers()) == ROWS


def test_to_try_every_row_is_to_run_the_job(place: Place, provider: Provider) -> None:
    done = place.run("--try", "1000")
    assert done.returncode == 0, done.stderr
    assert f"{ROWS} ok of {ROWS} rows" in done.stderr
    assert provider.requests == ROWS


def test_a_fault_is_shown_and_what_ends_a_run_ends_a_trial(
    place: Place, provider: Provider
) -> None:
    place.table(ROWS, poison=ROWS)
    tried = place.run("--try", "3")
    assert tried.returncode == 0, tried.stderr
    assert "3 of them with a fault" in tried.stderr
    provider.configure(api_key="right")
    place.table(ROWS)
    assert place.run("--try", "3").returncode == 5


@pytest.mark.parametrize(("said", "asked"), [("y\n", ROWS), ("n\n", TRIED), ("\n", TRIED)])
def test_on_a_terminal_the_person_is_asked(
    place: Place, provider: Provider, said: str, asked: int
) -> None:
    ours, theirs = pty.openpty()
    process = place.start(*place.args("--try", str(TRIED), "--no-color"), terminal=theirs)
    os.close(theirs)
    shown = b""
    while b"Ask the rest? [y/N]" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, said.encode())
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # the terminal is gone with the process
    assert process.wait(DEADLINE_S) == 0, shown
    os.close(ours)
    assert provider.requests == asked
    assert (place.folder / "out.csv").exists() == (asked == ROWS)


def test_a_trial_that_was_killed_loses_no_answer_that_it_had(
    place: Place, provider: Provider
) -> None:
    provider.slow(300)
    process = place.start(*place.args("--try", "60", "--concurrency", "4"))
    until(lambda: int(provider.stats()["ok"]) >= 12)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    provider.slow(0)
    done = place.run("--try", "60", "--concurrency", "4", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"tried 60 of {ROWS} rows" in done.stderr
    stats = provider.stats()
    assert stats["unique_prompts"] == ROWS
    assert stats["requests"] <= ROWS + 2 * 4  # in flight at the kill, or answered and not yet read
    assert len(place.answers()) == ROWS
