"""One job over several endpoints and keys, by the real command against real servers."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import DEADLINE_S, NIGHTKILN, Place, Provider, simulated, until


@pytest.fixture
def other() -> Iterator[Provider]:
    with simulated() as provider:
        yield provider


def run(place: Place, *more: str, endpoints: list[str]) -> subprocess.CompletedProcess[str]:
    """The usual job, over these endpoints."""
    named = [word for url in endpoints for word in ("--endpoint", url)]
    arguments = ["run", "in.csv", "-o", "out.csv", "--model", "m", "--prompt", "Say {text}"]
    return place.nightkiln(*arguments, *named, *more)


def shares(ended: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What each backend did, as `--json` says."""
    return {one["backend"]: one for one in json.loads(ended.stdout)["backends"]}


def host(url: str) -> str:
    return url.removeprefix("http://").removesuffix("/v1")


def test_rows_are_shared_out_by_speed_and_the_summary_says_how(
    place: Place, provider: Provider, other: Provider
) -> None:
    provider.configure(latency="const:20", capacity=8)
    other.configure(latency="const:60", capacity=8)
    place.table(2_000)
    endpoints = [provider.url, other.url]
    ended = run(place, "--concurrency", "8", "--json", endpoints=endpoints)
    assert ended.returncode == 0, ended.stderr
    assert provider.requests + other.requests == 2_000
    assert provider.requests > 1.5 * other.requests
    found = shares(ended)
    assert found[host(provider.url)]["rows"] == provider.requests
    assert found[host(other.url)]["rows"] == other.requests
    assert [row["id"] for row in place.answers()] == [f"{row:05d}" for row in range(2_000)]
    shown = json.loads(place.nightkiln("jobs", "show", "last", "--json").stdout)
    assert {one["backend"]: one["rows"] for one in shown["backends"]} == {
        name: one["rows"] for name, one in found.items()
    }


def test_an_endpoint_that_dies_gives_its_rows_away_and_gets_some_when_it_is_back(
    place: Place, provider: Provider
) -> None:
    provider.configure(latency="const:50", capacity=8)
    place.table(1_500)
    with ExitStack() as servers:
        mortal = Mortal(place.folder)
        servers.callback(mortal.kill)
        options = ["--endpoint", provider.url, "--endpoint", mortal.url, "--model", "m"]
        arguments = ["run", "in.csv", "-o", "out.csv", "--prompt", "Say {text}", *options]
        job = place.start(*arguments, "--concurrency", "8")
        until(lambda: Provider(mortal.url).requests > 50)
        mortal.kill()
        before = provider.requests
        until(lambda: provider.requests > before + 150)
        mortal.start()
        until(lambda: Provider(mortal.url).requests > 20)
        _, said = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, said
    assert said.count(f"{host(mortal.url)} is down, the others go on") == 1, said
    assert said.count(f"{host(mortal.url)} is back") == 1, said
    answers = place.answers()
    assert len(answers) == 1_500
    assert all(row["answer"] for row in answers)


class Mortal:
    """A slow provider that can be killed and come back at its address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = "0"
        self.start()

    def start(self) -> None:
        command = [*NIGHTKILN, "simulate", "--port", self._port, "--latency", "const:50"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = host(self.url).rpartition(":")[2]

    def kill(self) -> None:
        with self._process as process:
            os.kill(process.pid, signal.SIGKILL)


def test_a_key_of_a_pool_that_is_revoked_is_parked_and_the_others_do_its_rows(
    place: Place, provider: Provider
) -> None:
    provider.configure(latency="const:20", capacity=16)
    place.table(1_000)
    place.environ |= {"KEY_A": "good-key-a", "KEY_B": "bad-key-b"}
    keys = ["--key", "env:KEY_A", "--key", "env:KEY_B"]
    job = place.start(*place.args(*keys, "--concurrency", "4"))
    until(lambda: provider.requests > 100)
    provider.configure(api_key="good-key-a")
    _, said = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, said
    name = f"{host(provider.url)} env:KEY_B"
    assert f"model m at {host(provider.url)} env:KEY_A and {name}" in said
    assert said.count(f"{name} is not asked until somebody acts") == 1, said
    assert "good-key-a" not in said
    assert "bad-key-b" not in said
    assert len([row for row in place.answers() if row["answer"]]) == 1_000
    assert provider.requests <= 1_000 + 30


def test_a_cheaper_endpoint_gets_the_rows_that_it_has_slots_for(
    place: Place, provider: Provider, other: Provider
) -> None:
    provider.configure(latency="const:200")
    other.configure(latency="const:200")
    write_settings(place, dear=provider, cheap=other)
    place.table(12)
    ended = run(place, "--concurrency", "32", "--json", endpoints=["dear", "cheap"])
    assert ended.returncode == 0, ended.stderr
    assert (provider.requests, other.requests) == (0, 12)
    place.table(600)
    ended = run(place, "--concurrency", "4", "--json", endpoints=["dear", "cheap"])
    assert ended.returncode == 0, ended.stderr
    assert provider.requests > 150
    found = shares(ended)
    per_row = {name: one["cost_usd"] / one["rows"] for name, one in found.items()}
    assert per_row[host(provider.url)] > 5 * per_row[host(other.url)]


def write_settings(place: Place, *, dear: Provider, cheap: Provider) -> None:
    """Two endpoints at two prices, the second with a name of its own for the model."""
    (place.folder / "nightkiln.toml").write_text(
        f"""
[endpoints.dear]
url = "{dear.url}"
prices.m = {{input = 10, output = 10}}

[endpoints.cheap]
url = "{cheap.url}"
names = {{m = "theirs"}}
prices.theirs = {{input = 1, output = 1}}

[models.both]
endpoints = ["dear", "cheap"]
model = "m"
"""
    )


def test_an_alias_may_have_several_endpoints(
    place: Place, provider: Provider, other: Provider
) -> None:
    write_settings(place, dear=provider, cheap=other)
    place.table(400)
    arguments = ["run", "in.csv", "-o", "out.csv", "--model", "both", "--prompt", "Say {text}"]
    ended = place.nightkiln(*arguments, "--concurrency", "2")
    assert ended.returncode == 0, ended.stderr
    assert provider.requests + other.requests == 400
    assert min(provider.requests, other.requests) > 20


def test_when_all_refuse_at_the_start_each_of_them_is_named_with_its_reason(
    place: Place, provider: Provider, other: Provider
) -> None:
    provider.configure(api_key="somebody-elses")
    other.configure(api_key="somebody-elses")
    place.table(50)
    ended = run(place, endpoints=[provider.url, other.url])
    assert ended.returncode == 5, ended.stderr
    for one in (provider, other):
        assert f"{host(one.url)}: invalid_api_key" in ended.stderr
    assert not (place.folder / "out.csv").exists()


PAUSED = 9


def test_after_a_trial_a_pool_of_keys_goes_on_as_a_whole(place: Place, provider: Provider) -> None:
    provider.configure(latency="const:20", capacity=16)
    place.table(300)
    place.environ |= {"KEY_A": "key-of-a", "KEY_B": "key-of-b"}
    keys = ["--key", "env:KEY_A", "--key", "env:KEY_B"]
    ended = place.run(*keys, "--try", "5", "--yes", "--concurrency", "4", "--json")
    assert ended.returncode == 0, ended.stderr
    assert sum(one["rows"] for one in shares(ended).values()) >= 295
    for name in ("KEY_A", "KEY_B"):
        assert shares(ended)[f"{host(provider.url)} env:{name}"]["rows"] > 50


def test_after_a_trial_several_endpoints_go_on_with_a_key_each(
    place: Place, provider: Provider, other: Provider
) -> None:
    provider.configure(latency="const:20", capacity=8, api_key="key-of-a")
    other.configure(latency="const:20", capacity=8, api_key="key-of-b")
    place.table(300)
    place.environ |= {"KEY_A": "key-of-a", "KEY_B": "key-of-b"}
    keys = ["--key", "env:KEY_A", "--key", "env:KEY_B"]
    more = (*keys, "--try", "5", "--yes", "--concurrency", "4", "--json")
    ended = run(place, *more, endpoints=[provider.url, other.url])
    assert ended.returncode == 0, ended.stderr
    assert provider.requests + other.requests == 300
    assert min(provider.requests, other.requests) > 50


def half_done(place: Place, provider: Provider, *more: str) -> None:
    """A job that was paused on its way, and a provider that is quick from now on."""
    provider.configure(latency="const:200")
    job = place.start(*place.args(*more, "--concurrency", "4"))
    until(lambda: provider.requests > 8)
    assert place.nightkiln("jobs", "pause", "last").returncode == 0
    _, said = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == PAUSED, said
    provider.configure(latency="const:20")


def test_a_job_goes_on_over_several_endpoints_with_keys_said_anew(
    place: Place, provider: Provider, other: Provider
) -> None:
    place.table(300)
    half_done(place, provider)
    provider.configure(api_key="key-of-a", capacity=8)
    other.configure(api_key="key-of-b", latency="const:20", capacity=8)
    place.environ |= {"KEY_A": "key-of-a", "KEY_B": "key-of-b"}
    before = provider.requests
    both = ["--endpoint", provider.url, "--endpoint", other.url]
    keys = ["--key", "env:KEY_A", "--key", "env:KEY_B"]
    ended = place.nightkiln("jobs", "resume", "last", *both, *keys, "--json")
    assert ended.returncode == 0, ended.stderr
    assert min(provider.requests - before, other.requests) > 20
    assert len([row for row in place.answers() if row["answer"]]) == 300


def test_a_key_does_not_follow_a_job_to_another_address(
    place: Place, provider: Provider, other: Provider
) -> None:
    place.table(100)
    place.environ["KEY_A"] = "only-for-the-first"
    half_done(place, provider, "--key", "env:KEY_A")
    other.configure(api_key="only-for-the-first")  # who is sent it answers
    elsewhere = ["jobs", "resume", "last", "--endpoint", other.url]
    ended = place.nightkiln(*elsewhere)
    assert ended.returncode == 5, ended.stderr
    assert f"note: env:KEY_A is not sent to {other.url}: it was named for" in ended.stderr
    assert other.stats()["ok"] == 0
    ended = place.nightkiln(*elsewhere, "--key", "env:KEY_A")
    assert ended.returncode == 0, ended.stderr
    assert "is not sent" not in ended.stderr
    assert other.stats()["ok"] > 0


def test_keys_and_endpoints_have_to_fit_together(place: Place) -> None:
    place.table(1)
    ends = ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]
    ended = run(place, "--key", "env:A", endpoints=ends)
    assert ended.returncode == 2
    assert "--key has to be given once for each of the 2 endpoints" in ended.stderr
    ended = run(place, endpoints=[ends[0], ends[0]])
    assert ended.returncode == 2
    assert "is named twice with the same key" in ended.stderr
