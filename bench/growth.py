"""What a row costs from a thousand rows to a million, starts included and left out."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
from bench import inputs, jobs, plots
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.processes import BenchError, Cost
from bench.servers import Server, preferred, serving

ROWS = 1_000_000
PICTURE = "growth"
_STEPS = (1_000, 10_000, 100_000, 1_000_000)
_SHORT, _TIMES = 10_000, 3  # runs of up to so many rows are repeated
_LATENCY = ("--latency", "const:10", "--track", "0")


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one size, of which the median counts."""

    rows: int
    cpu_s: float
    wall_s: float


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """Sizes up to `rows`, and one of a single row: what a start costs."""
    with serving(preferred(), [*CAPACITY, *_LATENCY], work=work) as server:
        start = _size(server, work, 1)
        found = [_size(server, work, step) for step in _STEPS if step <= rows]
    _draw(start, found)
    return _figures(start, found, against=server.kind)


def _size(server: Server, work: Path, rows: int) -> Size:
    times = _TIMES if rows <= _SHORT else 1
    costs = [_once(server, work, rows, f"{rows}-{number}") for number in range(times)]
    return Size(
        rows=rows,
        cpu_s=median(cost.cpu_s for cost in costs),
        wall_s=median(cost.wall_s for cost in costs),
    )


def _once(server: Server, work: Path, rows: int, name: str) -> Cost:
    source = inputs.csv_table(work / f"{name}.csv", rows)
    output = work / f"out-{name}.csv"
    cost = jobs.finish(source, output, server=server, home=work / f"home-{name}")
    if inputs.checked(output).wrong_of(rows):
        raise BenchError(f"{output} is not what was asked for")
    output.unlink()
    source.unlink()
    return cost


def _beyond(size: Size, start: Size) -> float:
    return 1e6 * (size.cpu_s - start.cpu_s) / size.rows


def _draw(start: Size, found: Sequence[Size]) -> None:
    lines = [
        plots.Line(
            name="the clock, whole command",
            points=tuple((size.rows, 1e6 * size.wall_s / size.rows) for size in found),
        ),
        plots.Line(
            name="CPU, whole command",
            points=tuple((size.rows, 1e6 * size.cpu_s / size.rows) for size in found),
        ),
        plots.Line(
            name="CPU without the start",
            points=tuple((size.rows, _beyond(size, start)) for size in found),
        ),
    ]
    svg = plots.picture("µs a row", lines, across="rows", up="", decades=True)
    plots.save(plots.FOLDER / f"{PICTURE}.svg", svg)


def _figures(start: Size, found: Sequence[Size], *, against: str) -> list[Figure]:
    def figure(name: str, value: float, unit: str, at_most: float | None = None) -> Figure:
        return Figure(
            workload="growth", name=name, value=value, unit=unit, at_most=at_most, against=against
        )

    figures = [
        figure("a single row, CPU", start.cpu_s, "s"),
        figure("a single row, by the clock", start.wall_s, "s"),
    ]
    for size in found:
        said = f"{size.rows:,} rows"
        figures += [
            figure(f"{said}: CPU a row", 1e6 * size.cpu_s / size.rows, "µs"),
            figure(f"{said}: CPU a row, start left out", _beyond(size, start), "µs"),
            figure(f"{said}: by the clock, a row", 1e6 * size.wall_s / size.rows, "µs"),
        ]
    if len(found) > 1:
        last, before = found[-1], found[-2]
        ratio = 100 * _beyond(last, start) / _beyond(before, start)
        said = f"CPU a row at {last.rows:,} rows, of that at {before.rows:,}, start left out"
        figures.append(figure(said, ratio, "%", 110))
    return figures
