"""Peak memory at a hundred thousand and at a million rows, and what exporting a million costs."""

from pathlib import Path

from bench import inputs, jobs
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.processes import BenchError, run
from bench.servers import preferred, serving

SMALL, LARGE = 100_000, 1_000_000
_LATENCY = ("--latency", "const:10", "--track", "0")


def measure(*, work: Path) -> list[Figure]:
    """Run both sizes, then write the larger job's table in every format."""
    peaks = {}
    with serving(preferred(), [*CAPACITY, *_LATENCY], work=work) as server:
        for rows in (SMALL, LARGE):
            source = inputs.csv_table(work / f"{rows}.csv", rows)
            output, home = work / f"out-{rows}.csv", work / f"home-{rows}"
            peaks[rows] = jobs.finish(source, output, server=server, home=home).peak_mb
            if inputs.checked(output).wrong_of(rows):
                raise BenchError(f"{output} is not what was asked for")
            output.unlink()
    growth = (peaks[LARGE] / peaks[SMALL] - 1) * 100
    kind = server.kind

    def figure(name: str, value: float, unit: str, at_most: float | None) -> Figure:
        return Figure(
            workload="memory", name=name, value=value, unit=unit, at_most=at_most, against=kind
        )

    return [
        figure(f"peak memory, {SMALL:,} rows", peaks[SMALL], "MB", None),
        figure(f"peak memory, {LARGE:,} rows", peaks[LARGE], "MB", 200),
        figure("growth", growth, "%", 5),
        *_exports(work / f"home-{LARGE}", work),
    ]


def _exports(home: Path, work: Path) -> list[Figure]:
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
                name=f"{said} of {LARGE:,} rows, whole process",
                value=cost.cpu_s,
                unit="s CPU",
                at_most=most,
                note=f"peak memory {cost.peak_mb:.0f} MB",
            )
        )
    return figures
