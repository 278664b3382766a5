"""Measure nightkiln: `python bench/run.py [NAMES]`, or `make bench` for everything.

Every workload makes its own inputs, homes and server, and removes them again.
Results go to `bench/results/` as JSON and, with `--page`, to `docs/benchmarks.md`.
"""

import argparse
import datetime as dt
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import msgspec
from bench import (
    adaptive,
    ceiling,
    faults,
    growth,
    ingesting,
    joins,
    killing,
    limits,
    memory,
    page,
    prefixes,
    scale,
    serverload,
    serving,
    tables,
)
from bench.figures import Figure, Machine, Report
from bench.page import Picture, Section
from bench.processes import ROOT, BenchError
from bench.servers import SIMULATOR, STUB, preferred, yardstick

from nightkiln._version import __version__

RESULTS = ROOT / "bench" / "results"


SECTIONS = (
    Section(
        name="figures",
        workloads=frozenset(
            {"ceiling", "adaptive", "faults", "kill", "ingest", "memory", "export", "resume"}
        ),
        pictures=(
            Picture(file=memory.PICTURE, workload="memory", says="Memory over rows answered"),
        ),
    ),
    Section(
        name="limits",
        workloads=frozenset({"limits"}),
        pictures=tuple(
            Picture(file=shape.picture, workload="limits", says=f"Rate and limit: {shape.name}")
            for shape in limits.SHAPES
        ),
    ),
    Section(name="scale", workloads=frozenset({"scale"})),
    Section(
        name="growth",
        workloads=frozenset({"growth"}),
        pictures=(Picture(file=growth.PICTURE, workload="growth", says="Cost of a row by rows"),),
    ),
    Section(name="joins", workloads=frozenset({"joins"})),
    Section(name="prefixes", workloads=frozenset({"prefixes"})),
    Section(name="tables", workloads=frozenset({"tables"})),
    Section(name="server", workloads=frozenset({"server", "upload"})),
)


def workloads(pairs: int, rows: int | None = None) -> dict[str, Callable[[Path], list[Figure]]]:
    """Every workload by name, in the order they run."""
    return {
        "ceiling": lambda work: ceiling.measure(preferred(), work=work, pairs=pairs),
        "simulator": lambda work: ceiling.measure(SIMULATOR, work=work, pairs=pairs),
        "adaptive": lambda work: adaptive.measure(work=work, pairs=pairs),
        "limits": lambda work: limits.measure(work=work, rows=rows or limits.ROWS),
        "faults": lambda work: faults.measure(work=work),
        "kill": lambda work: killing.kill(work=work),
        "ingest": lambda work: ingesting.measure(work=work),
        "joins": lambda work: joins.measure(work=work, rows=rows or joins.ROWS),
        "prefixes": lambda work: prefixes.measure(
            work=work, pairs=pairs, rows=rows or prefixes.ROWS
        ),
        "scale": lambda work: scale.measure(work=work, rows=rows or scale.ROWS),
        "growth": lambda work: growth.measure(work=work, rows=rows or growth.ROWS),
        "memory": lambda work: memory.measure(work=work, rows=rows or memory.ROWS),
        "resume": lambda work: killing.resume(work=work),
        "tables": lambda work: tables.measure(work=work),
        "upload": lambda work: serving.measure(work=work),
        "server": lambda work: serverload.measure(work=work, rows=rows or serverload.ROWS),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workloads named, or all; 1 when one could not be run."""
    asked = _arguments(argv)
    known = workloads(asked.pairs, asked.rows)
    names = asked.names or [name for name in known if name != "simulator" or yardstick()]
    before, figures, took, failed = os.getloadavg()[0], [], {}, 0
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            found = _in_scratch(known[name], asked.work)
        except BenchError as failure:
            print(f"{name} could not be measured: {failure}", file=sys.stderr)
            failed = 1
            continue
        took[name] = time.monotonic() - began
        figures += found
        for figure in found:
            print("   ", line(figure), flush=True)
    found_all = report(tuple(figures), took, before=before)
    print(save(found_all))
    if asked.page:
        update_page(found_all)
    return failed


def update_page(found: Report) -> None:
    """Put the figures into the tables they belong to, with what was drawn in this run."""
    for section in SECTIONS:
        figures = tuple(each for each in found.figures if each.workload in section.workloads)
        drawn = [each for each in section.pictures if each.workload in found.workload_s]
        if figures:
            part = msgspec.structs.replace(found, figures=figures)
            page.update(part, name=section.name, pictures=drawn)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *workloads(1)])
    parser.add_argument("--pairs", type=int, default=ceiling.PAIRS, help="of runs in ceiling")
    parser.add_argument(
        "--rows",
        type=int,
        help="fewer, for a try of limits, joins, prefixes, scale, growth, memory and server",
    )
    parser.add_argument("--page", action="store_true", help="update docs/benchmarks.md")
    parser.add_argument("--work", type=Path, help="where the homes go; default: a temporary folder")
    asked = parser.parse_args(argv)
    if asked.page and asked.rows:
        parser.error("the page shows whole runs: leave --rows out")
    return asked


def _in_scratch(workload: Callable[[Path], list[Figure]], parent: Path | None) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="nightkiln-bench-", dir=parent) as folder:
        return workload(Path(folder))


def line(figure: Figure) -> str:
    """A figure on the screen."""
    mark = {True: "ok", False: "MISSED", None: ""}[figure.holds]
    return f"{figure.name:<48} {page.said(figure):>34} {mark} {figure.note}".rstrip()


def report(figures: tuple[Figure, ...], took: dict[str, float], *, before: float) -> Report:
    """Figures with the conditions they were measured under; `before` is the load before them."""
    return Report(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", *sys.argv]),
        commit=_git("rev-parse", "--short", "HEAD") or "none",
        changed=bool(_git("status", "--porcelain", "--untracked-files=no", "src", "bench")),
        version=__version__,
        yardstick=STUB if yardstick() is not None else SIMULATOR,
        machine=_machine(before),
        figures=figures,
        workload_s={name: round(seconds, 1) for name, seconds in took.items()},
    )


def _machine(before: float) -> Machine:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=pages * size / 1e9,
        python=platform.python_version(),
        load_before=before,
        load_after=os.getloadavg()[0],
    )


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def save(report: Report) -> Path:
    """Write a report beside the others."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report.at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
