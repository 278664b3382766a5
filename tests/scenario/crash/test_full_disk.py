"""A full disk: the job waits and says why, no row is failed, and space is all it takes to go on."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenario.crash.invariants import (
    assert_ended_well,
    assert_monotone,
    assert_quiet,
    assert_recovers,
    assert_table,
)
from tests.scenario.crash.kiln import Kiln
from tests.scenario.crash.records import jobs_of
from tests.scenario.crash.world import World, until

from nightkiln.core.job import JobState
from nightkiln.simulate import SimulatorSettings

SIZE = "6m"
LATENCY_MS = 50
WAITED = 9
DISK = 1
FULL = re.compile(r"waiting: .*disk is full")
PIECE = b"\0" * 4096


def _why_not() -> str:
    """Why there can be no small disk here, or an empty string."""
    if os.geteuid() != 0:
        return "mounting needs root"
    return "" if shutil.which("mount") else "mount is not installed"


WHY_NOT = _why_not()
pytestmark = [pytest.mark.crash, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def kiln(disk: Path, tmp_path: Path) -> Kiln:
    return Kiln(disk / "home", tmp_path)


def fill(disk: Path) -> Path:
    """Take all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while out.write(PIECE) == len(PIECE):
                pass
        except OSError:
            pass
    return ballast


async def test_a_job_waits_for_space_and_goes_on_by_itself(
    world: World, kiln: Kiln, disk: Path
) -> None:
    world.simulator.configure(
        SimulatorSettings(latency=f"const:{LATENCY_MS}", out_tokens="const:900")
    )
    output = world.folder / "answers.csv"
    running = await kiln.start(world.order(output))
    try:
        await world.answered(20)
        ballast = fill(disk)
        await until(lambda: bool(FULL.search(running.err())), "the reason for waiting")
        assert not running.is_over
        ballast.unlink()
        ended = (await running.ended()).expect(0)
    finally:
        await kiln.aclose()
    assert_quiet(world, ended)
    assert_monotone(ended.err)
    assert_table(world, output)
    await assert_ended_well(world, kiln.home)
    assert world.asked() == [1] * len(world.texts)


async def test_a_job_that_waited_long_enough_is_left_for_the_next_run(
    world: World, kiln: Kiln, disk: Path
) -> None:
    world.simulator.configure(
        SimulatorSettings(latency=f"const:{LATENCY_MS}", out_tokens="const:900")
    )
    output = world.folder / "answers.csv"
    running = await kiln.start([*world.order(output), "--wait", "2"])
    try:
        await world.answered(20)
        ballast = fill(disk)
        ended = (await running.ended()).expect(WAITED)
    finally:
        await kiln.aclose()
    assert_quiet(world, ended)
    assert "disk is full" in ended.err
    ballast.unlink()
    (job,) = await jobs_of(kiln.home)
    assert job.state in (JobState.PAUSED, JobState.RUNNING)  # the full disk takes no pause either
    assert job.totals.failed == 0
    await assert_recovers(world, kiln, world.order(output), output)


async def test_a_disk_that_is_full_from_the_start_is_an_error_of_its_own(
    world: World, kiln: Kiln, disk: Path
) -> None:
    output = world.folder / "answers.csv"
    ballast = fill(disk)
    ended = (await kiln.do(world.order(output))).expect(DISK)
    assert_quiet(world, ended)
    assert "error E_DISK" in ended.err
    assert world.simulator.stats().requests == 0
    ballast.unlink()
    (await kiln.do(world.order(output))).expect(0)
    assert_table(world, output)
    await assert_ended_well(world, kiln.home)
