"""What `nightkiln keys create` says a key may use at most: kept as said, and held to."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import Place, Provider, until
from tests.scenario.test_options_of_servers import JOBS, Answer, asked
from tests.scenario.test_serve import serving

DAY_S = 86_400
SOON = "15s"  # longer than the slowest command takes to start
MODELS = ["m", "a/b:c"]
NUMBERS = ("--max-rows", "7", "--max-tokens", "5000", "--max-usd", "1.5", "--rpm", "60")
CAPS = (*NUMBERS, "--model", "m", "--model", "a/b:c")
KEPT = {"rows": 7, "tokens": 5000, "cost_usd": 1.5, "requests_per_minute": 60, "models": MODELS}
CONFIGURATION = """
[endpoints.here]
url = "{url}"
models = ["m"]

[prices.m]
input = 1000.0
output = 1000.0
"""


@pytest.fixture
def here(tmp_path: Path, provider: Provider) -> Iterator[Place]:
    (tmp_path / "nightkiln.toml").write_text(CONFIGURATION.format(url=provider.url))
    with Place(tmp_path, provider.url) as place:
        yield place


def created(place: Place, *options: str) -> dict[str, Any]:
    done = place.nightkiln("keys", "create", "ci", "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_kept(place: Place) -> None:
    """A key with every cap is shown and listed with all of them, and ends when it was told."""
    began = time.time()
    key = created(place, *CAPS, "--expires", "30d")
    assert key["caps"] == KEPT
    assert key["good"]
    lives_s = datetime.fromisoformat(key["expires_at"]).timestamp() - began
    assert 30 * DAY_S - 2 <= lives_s <= 30 * DAY_S + 90
    listed = json.loads(place.nightkiln("keys", "list", "--json").stdout)["keys"]
    (found,) = [one for one in listed if one["id"] == key["id"]]
    assert (found["caps"], found["expires_at"]) == (KEPT, key["expires_at"])
    at = created(place, "--expires", "2099-01-02T03:04:05Z")
    assert datetime.fromisoformat(at["expires_at"]) == datetime.fromisoformat(
        "2099-01-02T03:04:05Z"
    )
    assert at["caps"] == {}


def test_caps_and_the_end_of_a_key_are_kept_as_said(here: Place) -> None:
    is_kept(here)
    with serving(here):
        is_kept(here)


@pytest.mark.parametrize(
    ("option", "text"),
    [("--max-tokens", "0"), ("--max-usd", "0"), ("--rpm", "0.5"), ("--expires", "soon")],
)
def test_what_is_no_cap_makes_no_key(here: Place, option: str, text: str) -> None:
    done = here.nightkiln("keys", "create", "ci", option, text)
    assert done.returncode == 2
    assert option in done.stderr
    assert "nk_" not in done.stdout


def test_keys_made_without_a_server_are_held_to_their_caps_by_one(
    here: Place, provider: Provider
) -> None:
    tokens, money = created(here, "--max-tokens", "1"), created(here, "--max-usd", "0.0001")
    hasty, brief = created(here, "--rpm", "2"), created(here, "--expires", SOON)
    with serving(here) as (_, url):
        for key, words in ((tokens, "1 tokens"), (money, "money, $0.0001")):
            before = provider.requests
            succeeds(url, key["text"])
            assert provider.requests == before + 1
            refused = submitted(url, key["text"], "two")
            assert (refused.status, words in refused.text) == (429, True), refused.text
        statuses = [asked(url, JOBS, x_api_key=hasty["text"]).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        until(lambda: asked(url, JOBS, x_api_key=brief["text"]).status == 401)


def test_keys_made_without_a_server_ask_the_models_they_were_made_for(here: Place) -> None:
    mine, theirs = created(here, "--model", "m"), created(here, "--model", "n")
    with serving(here) as (_, url):
        succeeds(url, mine["text"])
        refused = submitted(url, theirs["text"], "one")
        assert (refused.status, "may not ask the model m" in refused.text) == (403, True)


def test_a_key_made_at_a_running_server_is_held_to_its_caps(here: Place) -> None:
    with serving(here) as (_, url):
        hasty, brief = created(here, "--rpm", "1"), created(here, "--expires", SOON)
        assert [asked(url, JOBS, x_api_key=hasty["text"]).status for _ in range(2)] == [200, 429]
        assert asked(url, JOBS, x_api_key=brief["text"]).status in (200, 401)
        until(lambda: asked(url, JOBS, x_api_key=brief["text"]).status == 401)


def submitted(url: str, key: str, row: str) -> Answer:
    wanted = {"input": {"from": "rows", "rows": [row]}, "model": "m", "new": True}
    kind = {"x_api_key": key, "content_type": "application/json"}
    return asked(url, JOBS, json.dumps(wanted), **kind)


def succeeds(url: str, key: str) -> None:
    """A job of one row is submitted with this key, and comes to a good end."""
    job = json.loads(submitted(url, key, "one").text)["job"]["id"]

    def state() -> str:
        return str(json.loads(asked(url, f"{JOBS}/{job}", x_api_key=key).text)["state"])

    until(lambda: state() == "succeeded")
