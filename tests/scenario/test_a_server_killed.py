"""kill -9 of `nightkiln serve` at random moments while clients of three dialects use it.

The clients retry until the server is back, and notice nothing else. The seed of a
run is printed with its failure; NIGHTKILN_CRASH_SEED runs another one.
"""

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.scenario.faultserver import Act, Asked, FaultServer, fault_server, good
from tests.scenario.place import DEADLINE_S, until
from tests.scenario.servercycle import ServerCycle
from tests.scenario.wireclients import Dialect, OverAnthropic, OverOpenai, OverOurs, again

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

BATCHES, AT_ONCE, KILLS = 50, 8, 8
SIZES = (1, 2, 7, 30, 80, 150, 400)
ODDS = (8, 6, 10, 10, 8, 5, 2)
SLOTS = 8  # of every job
ANSWER_S = 0.03


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its client knows it."""

    id: str
    name: str
    prompts: list[str]
    dialect: Dialect


class InFlight:
    """The rule of an endpoint that takes its time, and knows how many wait for it."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0

    def __call__(self, asked: Asked) -> Act:
        return self.answer

    async def answer(self, asked: Asked) -> None:
        """Answer a little later, to somebody who may have been killed meanwhile."""
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await asked.left(ANSWER_S)
            await good(asked)
        finally:
            self.now -= 1

    def taken(self) -> int:
        """The highest number since this was asked last."""
        peak, self.peak = self.peak, self.now
        return peak


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("NIGHTKILN_CRASH_SEED", "20261120"))
    print(f"NIGHTKILN_CRASH_SEED={chosen}")  # noqa: T201 - shown where the test fails
    return chosen


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


@pytest.fixture
def endpoint(in_flight: InFlight) -> Iterator[FaultServer]:
    with fault_server(in_flight) as made:
        yield made


def drawn(dice: random.Random) -> list[list[str]]:
    """The prompts of every batch; no two are alike."""
    sizes = dice.choices(SIZES, ODDS, k=BATCHES)
    return [[f"row {row} of {number}" for row in range(size)] for number, size in enumerate(sizes)]


def lived(dialect: Dialect, name: str, prompts: list[str], over: threading.Event) -> Made:
    """Make a batch and wait for its end."""
    made = Made(id=dialect.make(name, prompts), name=name, prompts=prompts, dialect=dialect)
    deadline = time.monotonic() + 2 * DEADLINE_S
    while (counts := dialect.counts(made.id)) is None:
        assert time.monotonic() < deadline, f"{name} did not end"
        assert not over.wait(0.2), "the test is over"
    assert counts == (len(prompts), len(prompts))
    return made


def check(made: Made) -> None:
    """Every row was answered once, in order, with its own answer."""
    wanted = [(f"{made.name}-{row}", f"answer to {text}") for row, text in enumerate(made.prompts)]
    assert made.dialect.answers(made.id) == wanted


def kill_and_start(
    server: ServerCycle, dice: random.Random, asked: FaultServer, left: int, *, kills: int
) -> None:
    """Kill it after so many answers, or after so much time however far it is; then start it."""
    if dice.random() < 0.5:
        seen = asked.requests
        wanted = seen + dice.randint(1, max(1, (left - seen) // kills))
        until(lambda: asked.requests >= wanted)
    else:
        threading.Event().wait(dice.uniform(0.0, 1.0))
    server.kill()
    server.start()


def test_fifty_batches_outlive_a_server_that_is_killed_again_and_again(
    tmp_path: Path, endpoint: FaultServer, in_flight: InFlight, seed: int
) -> None:
    dice = random.Random(seed)
    drafts = drawn(dice)
    rows, cut_off, over = sum(map(len, drafts)), 0, threading.Event()
    with (
        ServerCycle(tmp_path, endpoint.url, slots=SLOTS) as server,
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        makers = [kind(server.url, server.key) for kind in (OverOpenai, OverAnthropic, OverOurs)]
        lives: list[Future[Made]] = []
        try:
            for number, prompts in enumerate(drafts):
                dialect: Dialect = makers[number % 3]
                lives.append(clients.submit(lived, dialect, f"b{number}", prompts, over))
            for kill in range(KILLS):
                kill_and_start(server, dice, endpoint, rows, kills=KILLS + 1 - kill)
                cut_off += in_flight.taken()
            made = [life.result(2 * DEADLINE_S) for life in lives]
        finally:
            over.set()
        for one in made:
            check(one)
        check_nothing_is_doubled(server, makers, made)
        assert len(endpoint.asked) == rows
        # A kill loses what is under way, and on each connection an answer nobody had read yet.
        assert endpoint.requests <= rows + 2 * cut_off
        assert server.stop() == 0
        server.start()  # which removes what a killed one left behind
        assert server.stop() == 0
    assert "bug" not in server.log
    assert "Traceback" not in server.log
    assert len(list((server.home / "jobs").iterdir())) == BATCHES


def check_nothing_is_doubled(
    server: ServerCycle, makers: Sequence[Dialect], made: list[Made]
) -> None:
    """The server knows the batches that clients know, and no other."""
    for maker in makers[:2]:
        mine = sorted(one.id for one in made if one.dialect is maker)
        assert sorted(again(maker.known)) == mine
    assert len(makers[2].known()) == BATCHES
