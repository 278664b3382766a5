"""Faults at sampled system calls of a six-chunk job: SIGKILL, EIO and ENOSPC.

strace injects one fault at the N-th call of a kind; a traced run without faults
tells first how many there are. Calls are counted per thread, so a fault may be
met once by each thread that gets that far. Writes also go to sockets and event
files, so they are sorted by path: a template home with an accepted job gives
the paths their names beforehand.

NIGHTKILN_CRASH_SEED repeats a sample; NIGHTKILN_CRASH_ALL=1 takes every call.
"""

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.scenario.crash.invariants import (
    assert_ended_well,
    assert_monotone,
    assert_quiet,
    assert_recovers,
    assert_table,
)
from tests.scenario.crash.kiln import KILLED, Kiln
from tests.scenario.crash.world import CHUNKS, World


def _seed() -> int:
    """A new one each time, but the same one in all workers of a test run."""
    if said := os.environ.get("NIGHTKILN_CRASH_SEED"):
        return int(said)
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(random.SystemRandom().random())
    return zlib.crc32(run.encode()) % 10**6


SEED = _seed()
ALL = os.environ.get("NIGHTKILN_CRASH_ALL") == "1"
PER_KIND = 2  # sampled points of each kind of call and effect
EPOCHS = 3
PID = "@PID@"  # stands for the number of the process, which only its shell knows
DISK = 1  # the exit code of a failing disk


class Kind(NamedTuple):
    """A kind of system call: its name, and a pattern of the files it is about."""

    call: str
    files: str = ""  # empty: every call of that name


KINDS = {
    "journal": Kind("write", r"/journal/"),
    "segment": Kind("write", r"/input/"),
    "part": Kind("write", r"/parts/|manifest|answers"),
    "store": Kind("pwrite64"),
    "store sync": Kind("fdatasync"),
    "sync": Kind("fsync"),
    "rename": Kind("rename"),
    "link": Kind("link"),
    "unlink": Kind("unlink"),
}
EFFECTS = {"SIGKILL": "signal=KILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}


class Point(NamedTuple):
    """Where to strike: a share of the calls of a kind; None strikes at each of them in turn."""

    kind: str
    effect: str
    share: float | None

    def numbers(self, calls: int) -> Sequence[int]:
        """Which calls that is."""
        return range(1, calls + 1) if self.share is None else [1 + int(self.share * calls)]


def sampled() -> Iterator[Point]:
    """Two shares of every kind and effect; one from each half, so that the whole run is met."""
    dice = random.Random(SEED)
    for kind in KINDS:
        for effect in EFFECTS:
            if ALL:
                yield Point(kind, effect, None)
                continue
            for half in range(PER_KIND):
                yield Point(kind, effect, round((half + dice.random()) / PER_KIND, 4))


POINTS = list(sampled())


def _why_not() -> str:
    """Why nothing can be traced here, or an empty string."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True)
    return "" if tried.returncode == 0 else f"ptrace is not allowed: {tried.stderr.decode()}"


WHY_NOT = _why_not()
pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.timeout(7200 if ALL else 120),
]


class Template(NamedTuple):
    """A home with an accepted job, and how many calls of each kind a run of it makes."""

    home: Path
    job: str
    calls: dict[str, int]


_MADE: list[Template] = []


@pytest.fixture
async def template(world: World, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Made once by each worker of the test run."""
    if not _MADE:
        folder = tmp_path_factory.mktemp("template")
        shutil.copy(world.table, folder)
        source, kiln = str(folder / world.table.name), Kiln(folder / "home", folder)
        order = world.order(folder / "answers.csv", source=source)
        (await kiln.do(order, crash_at="job.accepted")).expect(KILLED)
        (job,) = (kiln.home / "jobs").iterdir()
        log, counted = folder / "calls.log", Kiln(folder / "counted", folder)
        under = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(log)]
        under += ["-e", f"trace={','.join({kind.call for kind in KINDS.values()})}"]
        (await (await counted.start(order, under=under)).ended()).expect(0)
        _MADE.append(Template(kiln.home, job.name, _counted(log.read_text())))
        world.simulator.reset()
    return _MADE[0]


def _counted(log: str) -> dict[str, int]:
    """The most calls of each kind that one thread made."""
    found: Counter[tuple[str, str]] = Counter()
    for thread, call, rest in re.findall(r"^(\d+) +(\w+)\((.*)$", log, re.MULTILINE):
        for name, kind in KINDS.items():
            if call == kind.call and re.search(kind.files, rest.partition(",")[0]):
                found[name, thread] += 1
    return {
        name: max((count for (other, _), count in found.items() if other == name), default=0)
        for name in KINDS
    }


def _files(home: Path, job: str, output: Path) -> dict[str, list[str]]:
    """The files of each kind that is told from others by its files."""
    root, epochs = home / "jobs" / job, range(1, EPOCHS + 1)
    chunks = [f"{chunk:05d}.{epoch}" for chunk in range(CHUNKS) for epoch in epochs]
    return {
        "journal": [f"{root}/journal/{name}.log" for name in chunks],
        "segment": [f"{root}/input/segment-00000.tmp"],
        "part": [
            *(f"{root}/parts/.{name}.parquet.{PID}.tmp" for name in chunks),
            f"{root}/results/g1/._manifest.json.{PID}.tmp",
            f"{output.parent}/.{output.name}.{PID}.tmp",
        ],
    }


def _injecting(point: Point, number: int, files: Sequence[str]) -> list[str]:
    """A shell that becomes the traced command, so that its number is known in the paths.

    `-D` makes strace the child and the command the process that we started.
    """
    call, effect = KINDS[point.kind].call, EFFECTS[point.effect]
    strace = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull]
    strace += [word for file in files for word in ("-P", file)]
    strace += ["-e", f"trace={call}", "-e", f"inject={call}:{effect}:when={number}"]
    return ["sh", "-c", f'exec {shlex.join(strace).replace(PID, "$$")} "$@"', "sh"]


def test_the_sample_has_at_most_sixty_points() -> None:
    assert ALL or len(POINTS) <= 60


@pytest.mark.parametrize(
    "point",
    POINTS,
    ids=lambda p: f"{p.kind.replace(' ', '-')}-{p.effect}-" + ("all" if ALL else f"{p.share:.4f}"),
)
async def test_a_fault_at_a_system_call_costs_no_row(
    world: World, template: Template, point: Point
) -> None:
    sys.stdout.write(f"NIGHTKILN_CRASH_SEED={SEED} repeats this sample\n")
    calls = template.calls[point.kind]
    assert calls, f"a run makes no {point.kind} calls: the table of kinds is out of date"
    for number in point.numbers(calls):
        sys.stdout.write(f"at {KINDS[point.kind].call} {number} of {calls}\n")
        world.simulator.reset()
        await _struck(world, template, point, number)


async def _struck(world: World, template: Template, point: Point, number: int) -> None:
    folder = world.folder / str(number)
    folder.mkdir()
    kiln, output = Kiln(folder / "home", folder), folder / "answers.csv"
    files: Sequence[str] = ()
    if KINDS[point.kind].files:
        shutil.copytree(template.home, kiln.home)
        files = _files(kiln.home, template.job, output)[point.kind]
    running = await kiln.start(world.order(output), under=_injecting(point, number, files))
    struck = await running.ended()
    assert_quiet(world, struck)
    if struck.code == 0:  # survived, or never met
        assert_table(world, output)
        await assert_ended_well(world, kiln.home)
        return
    if point.effect == "SIGKILL":
        struck.expect(KILLED)
    else:
        struck.expect(DISK)
        assert "error E_DISK" in struck.err, struck.err
    again = await assert_recovers(world, kiln, world.order(output), output)
    assert_monotone(struck.err, again.err)
