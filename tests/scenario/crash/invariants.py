"""What must hold after any crash, asserted from the outside (I1 to I9 of the design)."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from tests.scenario.crash.kiln import Ended, Kiln
from tests.scenario.crash.records import (
    Records,
    jobs_of,
    ledger_of,
    published_rows,
    records_of,
)
from tests.scenario.crash.world import COLUMNS, SECRET, SLOTS, World

from nightkiln.core.job import Job, JobState

_PROGRESS = re.compile(r"^running .* (\d+)/\d+ rows", re.MULTILINE)


def assert_table(world: World, output: Path) -> None:
    """Every row answered, once, in order, with its own answer (I1, I2)."""
    with output.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["id"] for row in rows] == [f"{number:04d}" for number in range(len(world.texts))]
    assert [row["text"] for row in rows] == world.texts
    assert list(rows[0])[:2] == COLUMNS
    assert [row["answer"].split()[0] for row in rows] == [f"h:{one}" for one in world.hashes]
    assert {(row["status"], row["fault"], row["finish_reason"]) for row in rows} == {
        ("ok", "", "stop")
    }


def assert_asked_once(world: World) -> None:
    """No row was asked twice."""
    assert world.asked() == [1] * len(world.texts)


def assert_not_asked_again(
    world: World, before: Sequence[int], known: Records, *, in_flight: int = SLOTS
) -> None:
    """Rows with a record were not asked again, others only if they were in flight (I3, I4)."""
    after = world.asked()
    again = {row for row, count in enumerate(after) if before[row] and count > before[row]}
    assert not again & known.answered, f"asked again though recorded: {again & known.answered}"
    assert len(again) <= in_flight, f"{len(again)} rows asked again, {in_flight} were in flight"
    assert again <= known.unended, f"asked again though not in flight: {again - known.unended}"
    assert all(after), "rows that were never asked"


async def assert_ended_well(world: World, home: Path) -> Job:
    """The one job succeeded; its sums, spending and files agree (I5, I6, I8, I9)."""
    (job,) = await jobs_of(home)
    assert job.state is JobState.SUCCEEDED, f"{job.state}: {job.reason}"
    rows = len(world.texts)
    assert (job.rows, job.totals.ok, job.totals.failed) == (rows, rows, 0)
    assert published_rows(home, job) == list(range(rows))
    await assert_spending(world, home, job)
    assert_no_secret(home)
    return job


async def assert_spending(world: World, home: Path, job: Job) -> None:
    """Attempts with an end, each once; those without, apart; never more or less than was asked."""
    requests, spent = world.simulator.stats().requests, job.spent
    assert spent.attempts <= requests <= spent.attempts + spent.maybe_billed
    booked = await ledger_of(home)
    assert (booked.attempts, booked.maybe_billed, booked.output_tokens) == (
        spent.attempts,
        spent.maybe_billed,
        spent.output_tokens,
    )


def assert_no_secret(home: Path) -> None:
    """The provider's key is in no file of the home (I7)."""
    for path in home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), f"the key is in {path}"


def assert_quiet(world: World, ended: Ended) -> None:
    """What a command says holds no traceback, no key and no prompt (I7)."""
    for word in ("Traceback", "E_INTERNAL", SECRET, "about the kiln"):
        assert word not in ended.err, ended.err


def assert_monotone(*said: str) -> None:
    """Progress never went back, not over a crash either (I6)."""
    seen = [int(count) for text in said for count in _PROGRESS.findall(text)]
    assert seen == sorted(seen), f"progress went back: {seen}"


async def assert_recovers(
    world: World, kiln: Kiln, arguments: Sequence[str], output: Path, *, stdin: Path | None = None
) -> Ended:
    """Run the same command again after a crash, and hold everything that must hold."""
    known, before = records_of(kiln.home), world.asked()
    ended = (await kiln.do(arguments, stdin=stdin)).expect(0)
    assert_quiet(world, ended)
    assert_table(world, output)
    assert_not_asked_again(world, before, known)
    await assert_ended_well(world, kiln.home)
    return ended
