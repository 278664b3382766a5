"""Peak memory at a hundred thousand and at a million rows, and what exporting a million costs."""

import time
from pathlib import Path

from bench import inputs, jobs, plots
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.processes import BenchError, Child, run
from bench.servers import Server, preferred, serving

ROWS = 1_000_000
PICTURE = "memory"
_SHARE = 10  # the small run has a tenth of the rows
_SAMPLE_S = 0.25
_LATENCY = ("--latency", "const:10", "--track", "0")


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """Run both sizes, then write the larger job's table in every format."""
    small = rows // _SHARE
    peaks, lines = {}, []
    with serving(preferred(), [*CAPACITY, *_LATENCY], work=work) as server:
        for size in (small, rows):
            source = inputs.csv_table(work / f"{size}.csv", size)
            output, home = work / f"out-{size}.csv", work / f"home-{size}"
            server.reset()
            child = jobs.start(source, output, server=server, home=home)
            points = _watch(server, child)
            peaks[size] = jobs.over(child).peak_mb
            lines.append(plots.Line(name=f"{size:,} rows", points=points))
            if inputs.checked(output).wrong_of(size):
                raise BenchError(f"{output} is not what was asked for")
            output.unlink()
    _draw(lines)
    growth = (peaks[rows] / peaks[small] - 1) * 100
    kind = server.kind

    def figure(name: str, value: float, unit: str, at_most: float | None) -> Figure:
        return Figure(
            workload="memory", name=name, value=value, unit=unit, at_most=at_most, against=kind
        )

    return [
        figure(f"peak memory, {small:,} rows", peaks[small], "MB", None),
        figure(f"peak memory, {rows:,} rows", peaks[rows], "MB", 200),
        figure("growth", growth, "%", 5),
        *_exports(work / f"home-{rows}", work, rows),
    ]


def _watch(server: Server, child: Child) -> tuple[tuple[float, float], ...]:
    """Memory over rows answered, in thousands; nothing where the system does not say it."""
    points = []
    while child.running:
        resident, answered = child.resident_mb, server.stats().ok
        if resident is not None and answered:
            points.append((answered / 1000, resident))
        time.sleep(_SAMPLE_S)
    return tuple(points)


def _draw(lines: list[plots.Line]) -> None:
    drawn = [line for line in lines if len(line.points) > 1]
    if not drawn:
        return
    svg = plots.picture("Memory of the process", drawn, across="thousand rows answered", up="MB")
    plots.save(plots.FOLDER / f"{PICTURE}.svg", svg)


def _exports(home: Path, work: Path, rows: int) -> list[Figure]:
    targets = {"rows.jsonl": 6.0, "rows.csv": 8.0, "rows/": 1.0}
    figures = []
    for name, most in targets.items():
        output = f"{work / name}{'/' if name.endswith('/') else ''}"
        command = ["-m", "nightkiln", "jobs", "results", "last", "-o", output, "--home", str(home)]
        cost = run(command, log=work / "export.log")
        said = "Parquet dataset" if name.endswith("/") else name.partition(".")[2].upper()
        figures.append(
            Figure(
                workload="export",
                name=f"{said} of {rows:,} rows, whole process",
                value=cost.cpu_s,
                unit="s CPU",
                at_most=most,
                note=f"peak memory {cost.peak_mb:.0f} MB",
            )
        )
    return figures
