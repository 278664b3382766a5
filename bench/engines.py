"""Rows through nightkiln against the same engine driven bare: `python bench/engines.py [--page]`.

Both ask the same token ids in the same order of the same weights, greedily, for
answers of a fixed length. They run in turns, each in a process of its own, and
a ratio is that of one pair. Needs the extra `cpu`, `gguf`, `numpy` and `tokenizers`.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import msgspec
from bench import page, plots
from bench.engine_child import Told
from bench.engineinputs import PLAIN, VARIANTS, Task, pilot_task, random_task
from bench.figures import Figure
from bench.processes import ROOT, BenchError, Cost, run
from bench.run import line, report, save

PICTURE = ROOT / "docs" / "engines-{}.svg"
PAIRS = 3
PILOT_ROWS, RANDOM_ROWS = 12_000, 96
SIZES = (1_000, 3_000, 10_000)
LARGEST, PATIENCE_S = 100_000, 120.0
_TARGET = 97.0
_CHILD = str(Path(__file__).with_name("engine_child.py"))
_MAKERS: dict[str, Callable[[int, str], Task]] = {"pilot": pilot_task, "random135m": random_task}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one side."""

    told: Told
    whole: Cost


def ours(task: Task, work: Path) -> Run:
    """The real command line in a new home, with clocks on the load and on the ends of requests."""
    table, home = task.table(work / "rows.csv"), Path(tempfile.mkdtemp(prefix="home-", dir=work))
    said = ["run", str(table), "--output", str(work / "ours.csv"), "--model", task.model]
    said += ["--max-tokens", str(task.max_tokens), "--temperature", "0", "--param"]
    said += ["ignore_eos=true", "--home", str(home), "--quiet"]
    said += ["--system", task.system] if task.system else []
    return _run(["ours", "-", *said], work)


def bare(task: Task, work: Path, how: str = "bare") -> Run:
    """The engine alone."""
    return _run([how, str(task.saved(work / "task.json")), str(work / "bare.json")], work)


def _run(arguments: list[str], work: Path) -> Run:
    cost = run([_CHILD, *arguments], log=work / f"{arguments[0]}.log")
    return Run(told=msgspec.json.decode(cost.said, type=Told), whole=cost)


def same_answers(work: Path) -> float:
    """Per cent of the rows with the same text on both sides."""
    theirs = msgspec.json.decode((work / "bare.json").read_bytes(), type=list[str])
    with (work / "ours.csv").open(newline="") as given:
        mine = [row["answer"] for row in csv.DictReader(given)]
    if len(mine) != len(theirs):
        raise BenchError(f"{len(mine)} answers of ours, {len(theirs)} bare")
    return 100 * sum(map(str.__eq__, mine, theirs)) / len(theirs)


def compare(name: str, task: Task, variant: str, *, work: Path, pairs: int) -> list[Figure]:
    """Runs of both sides in turns. The side that begins changes from pair to pair."""
    found: list[tuple[Run, Run]] = []
    for number in range(pairs):
        if number % 2:
            other = bare(task, work)
            found.append((ours(task, work), other))
        else:
            mine = ours(task, work)
            found.append((mine, bare(task, work)))
    if variant == PLAIN:
        _draw_rates(name, *found[-1])

    def figure(said: str, values: Sequence[float], unit: str, least: float | None = None) -> Figure:
        return Figure(
            workload=f"engine, {name}",
            name=f"{variant}: {said}",
            value=statistics.median(values),
            unit=unit,
            at_least=least,
            samples=tuple(values) if len(values) > 1 else (),
        )

    steady = [100 * a.told.steady / b.told.steady for a, b in found]
    rates = [100 * b.told.wall_s / a.told.wall_s for a, b in found]
    costs = [100 * b.told.cpu_s / a.told.cpu_s for a, b in found]
    wholes = [100 * b.whole.wall_s / a.whole.wall_s for a, b in found]
    rows = len(task.texts)
    extra = [1e6 * (a.told.cpu_s - b.told.cpu_s) / rows for a, b in found]
    asking = [1e6 * a.told.asking_s / rows for a, _ in found]
    return [
        figure("rate while answering, of bare", steady, "%", _TARGET),
        figure("rate from the loaded model to the finished table, of bare", rates, "%", _TARGET),
        figure("rows per CPU second, of bare", costs, "%"),
        figure("rate of the whole process with loading, of bare", wholes, "%"),
        figure("ours", [a.told.tokens / a.told.wall_s for a, _ in found], "tokens/s"),
        figure("bare", [b.told.tokens / b.told.wall_s for _, b in found], "tokens/s"),
        figure("CPU a row beyond bare", extra, "µs"),
        figure("CPU a row of the process that asks", asking, "µs"),
        figure("rows with the same answer as bare", [same_answers(work)], "%"),
    ]


def _draw_rates(name: str, mine: Run, other: Run) -> None:
    lines = [
        msgspec.structs.replace(plots.rate(side.told.ended, wall_s=side.told.wall_s), name=said)
        for said, side in (("nightkiln", mine), ("the engine, bare", other))
    ]
    title = f"Tokens a second over time, {name}"
    svg = plots.picture(title, lines, across="seconds since the model was loaded", up="")
    plots.save(Path(str(PICTURE).format(name)), svg)


def sizes(work: Path) -> list[Figure]:
    """What a whole command costs from a thousand rows up; the largest only if it is short."""
    figures: list[Figure] = []
    points: list[tuple[float, float]] = []
    rows_of = [*SIZES, LARGEST]
    for rows in rows_of:
        if rows == LARGEST and points[-1][1] * LARGEST / points[-1][0] > PATIENCE_S:
            break
        cost = ours(pilot_task(rows), work).whole
        points.append((rows, cost.wall_s))
        figures.append(
            Figure(
                workload="engine, pilot",
                name=f"{rows:,} rows, the whole command",
                value=cost.wall_s,
                unit="s",
                note=f"{1e6 * cost.cpu_s / rows:,.0f} µs CPU a row, peak {cost.peak_mb:,.0f} MB",
            )
        )
    svg = plots.picture(
        "The whole command, pilot",
        [plots.Line(name="seconds", points=((0.0, 0.0), *points))],
        across="rows",
        up="",
    )
    plots.save(Path(str(PICTURE).format("rows")), svg)
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is named, or everything."""
    asked = _arguments(argv)
    counts = {"pilot": asked.rows or PILOT_ROWS, "random135m": asked.rows or RANDOM_ROWS}
    before, figures, took = os.getloadavg()[0], [], {}
    for name in asked.names or [*_MAKERS, "sizes"]:
        for variant in ("",) if name == "sizes" else VARIANTS:
            print(f"{name} {variant} ...", flush=True)
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="nightkiln-bench-") as folder:
                if name == "sizes":
                    found = sizes(Path(folder))
                else:
                    task = _MAKERS[name](counts[name], variant)
                    found = compare(name, task, variant, work=Path(folder), pairs=asked.pairs)
            took[f"{name} {variant}".strip()] = time.monotonic() - began
            figures += found
            for figure in found:
                print("   ", line(figure), flush=True)
    made = report(tuple(figures), took, before=before)
    print(save(made))
    if asked.page:
        page.update(made, name="engines")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *_MAKERS, "sizes"])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs")
    parser.add_argument("--rows", type=int, help="of each table, for a quick look")
    parser.add_argument("--page", action="store_true", help="update docs/benchmarks.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
