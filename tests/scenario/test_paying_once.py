"""Identical rows through the real command: what the provider was asked, and what it cost."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 90
NIGHTKILN = [sys.executable, "-m", "nightkiln"]
DISTINCT, ROWS = 700, 1000
LOST = 30  # a tenth of a second of answers, and the identical rows that come after them
PRICES = "[prices.m]\ninput = 1000.0\noutput = 2000.0\n"


class Kiln:
    """A home, a table with 30 % duplicates, and a provider that counts."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.environ = {**os.environ, "NIGHTKILN_HOME": str(folder / "home")}
        (folder / "nightkiln.toml").write_text(PRICES)
        rows = [f"t {number}" for number in range(DISTINCT)]
        chance = random.Random(7)
        rows += [chance.choice(rows) for _ in range(ROWS - DISTINCT)]
        chance.shuffle(rows)
        self.write("in.csv", rows)
        self.write("again.csv", sorted(rows))
        self.asked = 0

    def write(self, name: str, rows: list[str]) -> None:
        (self.folder / name).write_text("text\n" + "".join(f"{row}\n" for row in rows))

    def stats(self) -> dict[str, Any]:
        url = self.url.replace("/v1", "/_ctl/stats")
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    def asked_since(self) -> int:
        """Requests since the last look."""
        before, self.asked = self.asked, int(self.stats()["requests"])
        return self.asked - before

    def args(self, source: str, *more: str) -> list[str]:
        target = ["--endpoint", self.url, "--model", "m", "--prompt", "Say {text}"]
        return [*NIGHTKILN, "run", source, "-o", "out.csv", *target, "--json", *more]

    def run(self, source: str, *more: str) -> dict[str, Any]:
        done = self.do(*self.args(source, *more))
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert (report["ok"], report["rows"]) == (ROWS, ROWS)
        return report

    def do(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def answers(self) -> dict[str, set[str]]:
        """The different answers of each text."""
        found: dict[str, set[str]] = {}
        with (self.folder / "out.csv").open() as file:
            for row in csv.DictReader(file):
                found.setdefault(row["text"], set()).add(row["answer"])
        return found


@pytest.fixture
def kiln(tmp_path: Path) -> Iterator[Kiln]:
    command = [*NIGHTKILN, "simulate", "--port", "0", "--latency", "const:30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Kiln(tmp_path, process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def test_a_thousand_rows_with_duplicates_send_only_the_distinct_ones(kiln: Kiln) -> None:
    first = kiln.run("in.csv", "--temperature", "0")
    assert kiln.asked_since() == DISTINCT
    assert first["attempts"] == DISTINCT
    assert first["reused"] == ROWS - DISTINCT
    assert first["saved_tokens"] > 0
    assert first["saved_usd"] > 0.0
    answers = kiln.answers()
    assert len(answers) == DISTINCT
    assert all(len(texts) == 1 for texts in answers.values())

    second = kiln.run("again.csv", "--temperature", "0")
    assert kiln.asked_since() == 0
    assert (second["attempts"], second["reused"], second["cost_usd"]) == (0, ROWS, 0.0)
    assert second["input_tokens"] == second["output_tokens"] == 0
    paid = first["input_tokens"] + first["output_tokens"]
    assert second["saved_tokens"] == first["saved_tokens"] + paid
    assert second["saved_usd"] == pytest.approx(first["saved_usd"] + first["cost_usd"])
    assert kiln.answers() == answers

    page = json.loads(kiln.do(*NIGHTKILN, "jobs", "show", "last", "--json").stdout)
    assert (page["reused"], page["saved_tokens"]) == (ROWS, second["saved_tokens"])
    assert page["saved_usd"] == pytest.approx(second["saved_usd"])
    shown = kiln.do(*NIGHTKILN, "jobs", "show", "last").stdout
    assert "1,000 rows shared an answer" in shown


def test_without_temperature_0_every_row_is_asked(kiln: Kiln) -> None:
    report = kiln.run("in.csv")
    assert kiln.asked_since() == ROWS
    assert (report["reused"], report["saved_tokens"], report["saved_usd"]) == (0, 0, 0.0)
    assert not (kiln.folder / "home" / "cache.db").exists()
    kiln.run("again.csv", "--temperature", "0", "--dedupe", "never")
    assert kiln.asked_since() == ROWS
    kiln.run("again.csv", "--temperature", "0.7", "--dedupe", "always")
    assert kiln.asked_since() == DISTINCT


def test_new_answers_are_asked_for_and_kept(kiln: Kiln) -> None:
    kiln.run("in.csv", "--seed", "5")
    assert kiln.asked_since() == DISTINCT
    kiln.run("in.csv", "--seed", "5", "--new")
    assert kiln.asked_since() == DISTINCT
    kiln.run("again.csv", "--seed", "5", "--cache", "refresh")
    assert kiln.asked_since() == DISTINCT
    kiln.run("again.csv", "--seed", "5", "--new", "--cache", "off")
    assert DISTINCT <= kiln.asked_since() <= ROWS  # only what is away at once is shared
    kiln.run("again.csv", "--seed", "6")
    assert kiln.asked_since() == DISTINCT


def test_a_cleared_or_spoiled_cache_is_only_asked_again(kiln: Kiln) -> None:
    kiln.run("in.csv", "--temperature", "0")
    cache = kiln.folder / "home" / "cache.db"
    state = json.loads(kiln.do(*NIGHTKILN, "cache", "show", "--json").stdout)
    assert (state["answers"], state["error"]) == (DISTINCT, "")
    assert "700" in kiln.do(*NIGHTKILN, "cache", "show").stdout
    assert json.loads(kiln.do(*NIGHTKILN, "cache", "clear", "--json").stdout)["cleared_bytes"] > 0
    assert not cache.exists()
    kiln.asked_since()
    cache.write_bytes(b"no database " * 1000)
    kiln.run("again.csv", "--temperature", "0")
    assert kiln.asked_since() == DISTINCT
    assert json.loads(kiln.do(*NIGHTKILN, "cache", "show", "--json").stdout)["answers"] == DISTINCT


def test_after_kill_9_every_row_is_answered_once_and_little_is_asked_again(kiln: Kiln) -> None:
    command = kiln.args("in.csv", "--temperature", "0", "--concurrency", "16")
    with subprocess.Popen(
        command,
        cwd=kiln.folder,
        env=kiln.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + DEADLINE_S
        while kiln.stats()["ok"] < DISTINCT // 3:
            assert time.monotonic() < deadline
            assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    done = kiln.do(*command)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["failed"]) == (ROWS, 0)
    # Rows that were away are asked again. Besides, the cache had not written its last answers.
    assert DISTINCT <= kiln.asked_since() <= DISTINCT + 16 + LOST
    answers = kiln.answers()
    assert sum(len(texts) for texts in answers.values()) == DISTINCT
    page = json.loads(kiln.do(*NIGHTKILN, "jobs", "show", "last", "--json").stdout)
    assert ROWS - DISTINCT - LOST <= page["reused"] <= ROWS - DISTINCT
