"""A power cut: what the kernel had not written back is gone, what was acknowledged is not.

The home lies on an ext4 file system in an image file. A copy of the image holds
only what was written back or fsynced, so it is the disk after a power cut at
the moment of the copy; the command is stopped meanwhile, so that the copy is
one moment. Nobody syncs the file system before.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import NamedTuple

import pytest
from tests.scenario.crash.invariants import assert_quiet, assert_table
from tests.scenario.crash.kiln import Kiln
from tests.scenario.crash.records import Records, jobs_of, published_rows, records_of
from tests.scenario.crash.world import ROWS, SLOTS, World

from nightkiln.core.job import JobState
from nightkiln.simulate import SimulatorSettings

IMAGE_BYTES = 64 * 1024 * 1024
LATENCY = "bimodal:100,2500,0.12"  # stragglers keep chunks open, so that journals matter
CUTS = (1, 20, 45, 75)  # answers of the provider after which a cut is made ready
WINDOW = SLOTS  # more answers until it is made: a round, twice the longest group window


def _tool(name: str) -> str:
    """The path of a tool that may not be on an ordinary user's path; empty where there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _why_not() -> str:
    """Why there can be no file system of our own here, or an empty string."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for tool in ("mkfs.ext4", "mount", "umount", "losetup"):
        if not _tool(tool):
            return f"{tool} is not installed"
    found = subprocess.run([_tool("losetup"), "--find"], capture_output=True, text=True)
    return "" if found.returncode == 0 else f"no loop device: {found.stderr.strip()}"


WHY_NOT = _why_not()
pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]


class Cut(NamedTuple):
    """A disk after a power cut, and what had been acknowledged before it."""

    image: Path
    state: JobState | None  # None: no job was acknowledged yet
    answered: int  # rows that progress had told of
    journalled: frozenset[int]  # rows in a journal or a part more than a group window earlier


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        [_tool("mount"), "-o", "loop", image, folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([_tool("umount"), "--lazy", folder], check=True)


async def _cut(kiln: Kiln, image: Path, copy: Path, known: Records) -> Cut:
    """What is acknowledged now, and the disk as it is. The command must be stopped."""
    found = await jobs_of(kiln.home)
    answered = 0
    for job in found:
        answered = max(job.totals.answered, job.live.totals.answered if job.live else 0)
    shutil.copyfile(image, copy)
    return Cut(copy, found[0].state if found else None, answered, known.answered)


async def test_after_a_power_cut_what_was_acknowledged_is_there(world: World) -> None:
    world.simulator.configure(SimulatorSettings(latency=LATENCY))
    image = world.folder / "disk.img"
    with image.open("wb") as disk:
        disk.truncate(IMAGE_BYTES)
    subprocess.run([_tool("mkfs.ext4"), "-q", "-F", image], check=True)
    cuts = []
    with _mounted(image, world.folder / "disk") as disk_folder:
        kiln = Kiln(disk_folder / "home", world.folder)
        running = await kiln.start(world.order(disk_folder / "answers.csv"))
        try:
            for number, answers in enumerate(CUTS):
                await world.answered(answers)
                known = records_of(kiln.home)
                await world.answered(answers + WINDOW)
                running.send(SIGSTOP)
                cuts.append(await _cut(kiln, image, world.folder / f"cut-{number}.img", known))
                running.send(SIGCONT)
            (await running.ended()).expect(0)
        finally:
            await kiln.aclose()
        known = records_of(kiln.home)
        cuts.append(await _cut(kiln, image, world.folder / "cut-end.img", known))
    assert cuts[-1].state is JobState.SUCCEEDED
    assert [cut.answered for cut in cuts] == sorted(cut.answered for cut in cuts)
    assert cuts[-2].answered > 0
    for cut in cuts:
        await _goes_on(world, cut)
        cut.image.unlink()


async def _goes_on(world: World, cut: Cut) -> None:
    world.simulator.reset()
    world.simulator.configure(SimulatorSettings(latency="const:5"))
    with _mounted(cut.image, cut.image.with_suffix("")) as folder:
        kiln, output = Kiln(folder / "home", world.folder), folder / "answers.csv"
        if cut.state is not None:
            (job,) = await jobs_of(kiln.home)  # an acknowledged job survives
            if cut.state.is_terminal:
                assert job.state is cut.state
        lost = cut.journalled - records_of(kiln.home).answered
        assert not lost, f"journalled long before the power cut, and gone: {lost}"
        ended = (await kiln.do(world.order(output))).expect(0)
        assert_quiet(world, ended)
        assert_table(world, output)
        asked = world.asked()
        assert max(asked) <= 1
        assert sum(asked) <= ROWS - cut.answered, "answers that were acknowledged are gone"
        (job,) = await jobs_of(kiln.home)
        assert job.state is JobState.SUCCEEDED
        assert job.spent.attempts == ROWS  # those before the cut and those after it, each once
        assert published_rows(kiln.home, job) == list(range(ROWS))
