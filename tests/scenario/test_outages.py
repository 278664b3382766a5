"""Endpoints that fail everybody for a while: what a job does meanwhile, what it says, and after.

In every test all rows get their own answer in the end, and the counts are the server's own.
"""

import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.scenario.faultserver import (
    Act,
    Asked,
    FaultServer,
    fault_server,
    good,
    refuses,
    whole,
)
from tests.scenario.network import NOBODY, SERVER, Network
from tests.scenario.place import DEADLINE_S, NIGHTKILN, Place, Provider, until

from nightkiln.plan.breaker import FAULTS_TO_OPEN

SLOTS: Final = 8
WINDOW_S: Final = 4  # of a storm, over which its rate is held
BURST_S: Final = 0.25  # of its rate, what the storm lets through at once
PACE_S: Final = 0.02  # of an answer, where a job has to be met half way


class Running:
    """The command on its way: what it says while it runs, and its end."""

    def __init__(self, place: Place, process: "subprocess.Popen[str]") -> None:
        self.place = place
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def says(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def ended(self) -> dict[str, Any]:
        """What is told of the job afterwards; an assertion if it did not succeed."""
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert code == 0, "".join(self.lines)
        return self.shown()

    def shown(self) -> dict[str, Any]:
        """What `jobs show` says of it now."""
        found: dict[str, Any] = json.loads(
            self.place.nightkiln("jobs", "show", "last", "--json").stdout
        )
        return found


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with fault_server() as made:
        yield made


@pytest.fixture
def here(tmp_path: Path, server: FaultServer) -> Iterator[Place]:
    with Place(tmp_path, server.url) as made:
        yield made


def begin(place: Place, *more: str, rows: int, inside: tuple[str, ...] = ()) -> Running:
    place.table(rows)
    return Running(place, place.start_command(*inside, *NIGHTKILN, *place.args(*more)))


def check_answers(place: Place, *, rows: int) -> None:
    """Every row has exactly one answer, its own, in order."""
    assert [(one["status"], one["answer"]) for one in place.answers()] == [
        ("ok", f"answer to Say t {row}") for row in range(rows)
    ]


async def paced(asked: Asked) -> None:
    if not await asked.left(PACE_S):
        await good(asked)


async def leaving(asked: Asked) -> None:
    """The right answer, and the end of the connection."""
    await asked.says(whole(asked.good(), headers="connection: close\r\n"))
    asked.writer.close()


# -- the account


REVOKED: Final = refuses("401 No", code="invalid_api_key")
SPENT: Final = refuses("429 No", code="credit_balance_exhausted", kind="insufficient_quota")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "said"),
    [(REVOKED, "the credential is refused"), (SPENT, "no quota is left")],
    ids=["a revoked key", "a spent quota"],
)
def test_an_account_that_is_refused_mid_job_makes_the_job_wait_and_no_row_fail(
    here: Place, server: FaultServer, refusal: Act, said: str
) -> None:
    rows, mended = 300, threading.Event()
    server.rule = lambda _: refusal if server.requests > 100 and not mended.is_set() else paced
    job = begin(here, "--concurrency", str(SLOTS), rows=rows)
    until(lambda: job.says(f"waiting: {said}"))
    assert server.requests - 100 <= SLOTS + 1  # what was under way, and hardly a probe
    until(lambda: said in job.shown()["reason"])
    assert job.shown()["failed"] == 0
    mended.set()
    report = job.ended()
    check_answers(here, rows=rows)
    assert server.requests == report["attempts"] <= rows + SLOTS + 3  # three probes at the most
    assert max(server.asked.values()) <= 1 + 1 + 3


# -- the server


def test_connections_that_are_reset_before_anything_is_sent_lose_no_row(
    here: Place, server: FaultServer
) -> None:
    server.refuses_connections = lambda number: number > 2 * SLOTS and number % 9 == 0
    server.rule = lambda _: leaving
    report = begin(here, "--concurrency", str(SLOTS), rows=200).ended()
    check_answers(here, rows=200)
    assert set(server.asked.values()) == {1}
    assert 200 < report["attempts"] <= 200 + server.connections / 9


FORMS: Final = {
    "seconds": ("retry-after: 1\r\n", 1.0),
    "a fraction": ("retry-after: 0.7\r\n", 0.7),
    "milliseconds": ("retry-after-ms: 800\r\nretry-after: 60\r\n", 0.8),
    "a date by the server's clock": (
        "date: Thu, 01 Jan 2026 00:00:00 GMT\r\nretry-after: Thu, 01 Jan 2026 00:00:01 GMT\r\n",
        1.0,
    ),
    "a date in the past": ("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 0.0),
    "less than nothing": ("retry-after: -5\r\n", 0.0),
    "no number": ("retry-after: soon\r\n", 0.0),
    "nothing": ("", 0.0),
}


def test_a_503_is_asked_again_no_sooner_than_it_says_in_whatever_form(
    here: Place, server: FaultServer
) -> None:
    forms = list(FORMS.values())

    def rule(asked: Asked) -> Act | None:
        row = int(asked.text.split()[-1])
        if row >= len(forms) or asked.nth > 1:
            return None
        return refuses("503 Full", headers=forms[row][0])

    server.rule = rule
    report = begin(here, rows=60).ended()
    check_answers(here, rows=60)
    assert report["attempts"] == server.requests == 60 + len(forms)
    for row, (_, least_s) in enumerate(forms):
        first, second = server.came_at[f"Say t {row}"]
        assert least_s <= second - first + 0.002
        assert second - first < least_s + 5.0


def test_a_server_that_is_killed_and_comes_back_finds_its_job_again(tmp_path: Path) -> None:
    port = _free_port()
    command = (*NIGHTKILN, "simulate", "--port", str(port), "--latency", "const:20")
    rows, slots = 1_500, 16
    with Place(tmp_path, f"http://127.0.0.1:{port}/v1") as place:
        first = place.start_command(*command)
        assert first.stdout is not None
        provider = Provider(first.stdout.readline().strip())
        job = begin(place, "--concurrency", str(slots), rows=rows)
        until(lambda: provider.requests >= 300)
        first.kill()
        died = time.monotonic()
        until(lambda: job.says("waiting: "))
        second = place.start_command(*command)
        assert second.stdout is not None
        provider = Provider(second.stdout.readline().strip())
        back = time.monotonic()
        until(lambda: provider.requests > 0)
        away = back - died
        assert time.monotonic() - back <= 2 * away + 2  # one interval of the growing probes
        report = job.ended()
        assert [one["status"] for one in place.answers()] == ["ok"] * rows
        assert provider.asked_more_than_once == 0
        # In flight at the death is a request a slot; a slot that its fault frees sends once more,
        # maybe into a connection whose end we have not heard of, until so many faults in a row
        # open the breaker. After that a probe is refused, and what is refused is never billed.
        assert report["maybe_billed"] <= slots + FAULTS_TO_OPEN
    assert job.says("connection_refused") or job.says("connection_closed")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


# -- the network


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        made = Network()
    except OSError as problem:
        pytest.skip(f"no network of our own for the black hole {NOBODY}: {problem}")
    yield made
    made.close()


def test_an_address_that_never_answers_ends_the_run_after_the_time_to_connect(
    tmp_path: Path, network: Network
) -> None:
    with Place(tmp_path, f"http://{NOBODY}:8000/v1") as place:
        place.table(20)
        started = time.monotonic()
        ended = place.command(*network.inside, *NIGHTKILN, *place.args())
        assert time.monotonic() - started < 30
    assert ended.returncode == 8, ended.stderr
    assert f"no connection to {NOBODY}:8000: connect_timeout" in ended.stderr


def test_a_server_that_vanishes_without_a_word_is_found_again(
    tmp_path: Path, network: Network
) -> None:
    rows = 400
    with (
        fault_server(lambda _: paced, host=SERVER, within=network.process) as server,
        Place(tmp_path, server.url) as place,
    ):
        more = ("--concurrency", str(SLOTS), "--timeout", "1")
        job = begin(place, *more, rows=rows, inside=network.inside)
        until(lambda: server.requests >= 150)
        network.take_away()
        until(lambda: job.says("waiting: "))
        network.give_back()
        report = job.ended()
        check_answers(place, rows=rows)
        assert max(server.asked.values()) <= 3
        assert server.requests <= rows + 2 * SLOTS
        assert report["maybe_billed"] <= 2 * SLOTS


# -- the limits


class Bucket:
    """So many requests a second, and what it says of them."""

    def __init__(self, rate: float, tells: str) -> None:
        self.rate = rate
        self.level = 1.0
        self.at = time.monotonic()
        self.tells = tells
        self.good_at: list[float] = []

    def rule(self, _: Asked) -> Act | None:
        now = time.monotonic()
        self.level = min(BURST_S * self.rate, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            self.good_at.append(now)
            return None
        wait_s = (1 - self.level) / self.rate
        headers = f"retry-after-ms: {1000 * wait_s:.0f}\r\n" if self.tells else ""
        return refuses("429 Slow", code="rate_limit_exceeded", headers=headers)


@pytest.mark.slow
@pytest.mark.parametrize("tells", ["when to come back", ""], ids=["with headers", "without"])
def test_a_storm_of_429_leaves_nine_tenths_of_the_limit_and_few_vain_calls(
    here: Place, server: FaultServer, tells: str
) -> None:
    rows, bucket = 900, Bucket(100, tells)
    server.rule = bucket.rule
    report = begin(here, rows=rows).ended()
    check_answers(here, rows=rows)
    assert report["failed"] == 0
    assert server.requests <= 1.2 * rows
    begun = bucket.good_at[0]
    seconds = Counter(int(at - begun) for at in bucket.good_at)
    best = max(sum(seconds[at + more] for more in range(WINDOW_S)) for at in seconds)
    assert best / WINDOW_S >= 0.9 * bucket.rate  # on a busy machine it takes a while to be found


def test_a_capacity_that_halves_and_returns_is_followed(tmp_path: Path) -> None:
    rows = 6_000
    with Place(tmp_path, "") as place:
        process = place.start_command(
            *NIGHTKILN, "simulate", "--port", "0", "--latency", "const:20",
            "--capacity", "40", "--queue", "0", "--retry-after", "0.05",
        )  # fmt: skip
        assert process.stdout is not None
        place.url = process.stdout.readline().strip()
        provider = Provider(place.url)
        job = begin(place, rows=rows)
        until(lambda: provider.requests >= 2_000)
        provider.configure(capacity=20)
        until(lambda: provider.requests >= 3_500)
        provider.configure(capacity=40)
        job.ended()
        assert [one["status"] for one in place.answers()] == ["ok"] * rows
        stats = provider.stats()
        assert stats["ok"] == rows
        assert stats["requests"] <= 1.1 * rows
