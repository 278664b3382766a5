"""SIGKILL at every named point, then the same command again: nothing is lost, little is repeated.

Each case kills one process at one point of one scenario. Points that are
passed once are tried at the first passing, those passed for every chunk or row
also in the middle.
"""

import re
from pathlib import Path

import pytest
from tests.scenario.crash.invariants import (
    assert_ended_well,
    assert_monotone,
    assert_no_secret,
    assert_not_asked_again,
    assert_quiet,
    assert_recovers,
    assert_spending,
    assert_table,
)
from tests.scenario.crash.kiln import KILLED, Kiln
from tests.scenario.crash.records import jobs_of, published_rows, records_of
from tests.scenario.crash.world import CHUNKS, ROWS, SLOTS, World

from nightkiln.core import crashpoints
from nightkiln.core.job import JobState

pytestmark = pytest.mark.crash

RUN = (
    "job.accepted",
    "segment.written",
    "segment.renamed",
    "ingest.finished",
    "chunk.leased",
    f"chunk.leased:{CHUNKS // 2}",
    "journal.opened",
    f"journal.opened:{CHUNKS // 2}",
    "journal.sent",
    f"journal.sent:{ROWS // 2}",
    "journal.answered",
    f"journal.answered:{ROWS // 2}",
    "journal.synced",
    "journal.synced:4",
    "part.written",
    f"part.written:{CHUNKS // 2}",
    "part.renamed",
    f"part.renamed:{CHUNKS // 2}",
    "part.committed",
    f"part.committed:{CHUNKS // 2}",
    "journal.removed",
    f"journal.removed:{CHUNKS // 2}",
    "publish.linked",
    "publish.manifest",
    "job.ended",
    "output.renamed",
)
PIPED = ("source.spooled", "job.accepted", "ingest.finished", f"journal.answered:{ROWS // 2}")
CANCEL = (
    "chunk.leased",
    "journal.opened",
    "part.renamed",
    "part.committed",
    "journal.removed",
    "publish.linked",
    "publish.manifest",
    "job.ended",
)
RETRY = ("retry.opened", "journal.answered:4", "part.committed", "publish.manifest", "job.ended")
DELETE = ("delete.tombstone", "delete.files")
KILLS = 4


def name_of(point: str) -> str:
    return point.partition(":")[0]


def test_every_point_is_killed_at_by_some_scenario() -> None:
    tried = {name_of(point) for point in (*RUN, *PIPED, *CANCEL, *RETRY, *DELETE)}
    assert tried == set(crashpoints.POINTS)


def test_every_point_stands_in_the_code_once() -> None:
    package = Path(crashpoints.__file__).parent.parent
    code = "".join(
        path.read_text() for path in package.rglob("*.py") if path.name != "crashpoints.py"
    )
    counted = {
        name: len(re.findall(rf'(?:reach\(|written=|renamed=)"{re.escape(name)}"', code))
        for name in crashpoints.POINTS
    }
    assert counted == dict.fromkeys(crashpoints.POINTS, 1)


@pytest.mark.parametrize("point", RUN)
async def test_a_run_killed_at_a_point_goes_on(world: World, kiln: Kiln, point: str) -> None:
    output = world.folder / "answers.csv"
    killed = (await kiln.do(world.order(output), crash_at=point)).expect(KILLED)
    again = await assert_recovers(world, kiln, world.order(output), output)
    assert_monotone(killed.err, again.err)
    assert_quiet(world, killed)


async def test_a_run_killed_again_and_again_gets_to_its_end(world: World, kiln: Kiln) -> None:
    output, said = world.folder / "answers.csv", []
    for _ in range(KILLS):
        known, before = records_of(kiln.home), world.asked()
        killed = (await kiln.do(world.order(output), crash_at="journal.answered:20")).expect(KILLED)
        again = [row for row in known.answered if world.asked()[row] != before[row]]
        assert not again, f"asked again though recorded: {again}"
        said.append(killed.err)
    said.append((await assert_recovers(world, kiln, world.order(output), output)).err)
    assert_monotone(*said)
    assert sum(world.asked()) <= ROWS + KILLS * SLOTS


@pytest.mark.parametrize("point", PIPED)
async def test_a_piped_run_killed_at_a_point_goes_on(world: World, kiln: Kiln, point: str) -> None:
    output = world.folder / "answers.csv"
    order = world.order(output, source="-")
    (await kiln.do(order, crash_at=point, stdin=world.table)).expect(KILLED)
    await assert_recovers(world, kiln, order, output, stdin=world.table)


@pytest.mark.parametrize("point", CANCEL)
async def test_a_cancel_killed_at_a_point_is_finished_by_the_next(
    world: World, kiln: Kiln, point: str
) -> None:
    output = world.folder / "answers.csv"
    await _killed_half_way(world, kiln, output)
    (job,) = await jobs_of(kiln.home)
    known, before = records_of(kiln.home), world.asked()
    (await kiln.do(["jobs", "cancel", job.id], crash_at=point)).expect(KILLED)
    assert_quiet(world, (await kiln.do(["jobs", "cancel", job.id])).expect(0))
    (cancelled,) = await jobs_of(kiln.home)
    assert cancelled.state is JobState.CANCELLED
    assert set(published_rows(kiln.home, cancelled)) == known.answered
    assert world.asked() == before
    await assert_spending(world, kiln.home, cancelled)
    (await kiln.do(["jobs", "results", job.id, "-o", str(output)])).expect(0)
    assert output.read_text().count(",cancelled,") == ROWS - len(known.answered)
    assert_no_secret(kiln.home)


@pytest.mark.parametrize("point", RETRY)
async def test_a_cancelled_job_killed_while_it_goes_on_keeps_its_answers(
    world: World, kiln: Kiln, point: str
) -> None:
    output = world.folder / "answers.csv"
    await _killed_half_way(world, kiln, output)
    (job,) = await jobs_of(kiln.home)
    known, before = records_of(kiln.home), world.asked()
    (await kiln.do(["jobs", "cancel", job.id])).expect(0)
    (await kiln.do(world.order(output), crash_at=point)).expect(KILLED)
    between, asked = records_of(kiln.home), world.asked()
    assert between.answered >= known.answered
    (await kiln.do(world.order(output))).expect(0)
    assert_table(world, output)
    assert_not_asked_again(world, asked, between.after(known), in_flight=2 * SLOTS)
    assert all(world.asked()[row] == before[row] for row in known.answered)
    done = await assert_ended_well(world, kiln.home)
    assert done.generation == 2


@pytest.mark.parametrize("point", DELETE)
async def test_a_delete_killed_at_a_point_is_finished_by_the_next(
    world: World, kiln: Kiln, point: str
) -> None:
    (await kiln.do(world.order(world.folder / "answers.csv"))).expect(0)
    (job,) = await jobs_of(kiln.home)
    delete = ["jobs", "delete", job.id, "--yes"]
    (await kiln.do(delete, crash_at=point)).expect(KILLED)
    assert_quiet(world, (await kiln.do(delete)).expect(0))
    assert await jobs_of(kiln.home) == []
    assert list((kiln.home / "jobs").iterdir()) == []


async def _killed_half_way(world: World, kiln: Kiln, output: Path) -> None:
    point = f"journal.answered:{ROWS // 2}"
    (await kiln.do(world.order(output), crash_at=point)).expect(KILLED)
