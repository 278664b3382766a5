"""The limit we find ourselves against the best fixed one, over real sockets, in several shapes.

Pairs run in turns in the same minute, ours and the fixed one, each on a fresh
count of the server; a figure is the median of the pairs' ratios. Virtual time,
where the noise of the machine is left out, is `tests/unit/plan/test_finding_the_limit.py`.
"""

from pathlib import Path
from statistics import median

import msgspec
from bench import inputs, jobs
from bench.figures import Figure
from bench.processes import BenchError
from bench.servers import Server, Stats, preferred, serving

PAIRS = 3
_ROWS = 40_000
_TARGET = 90.0
_REFUSED = 2.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of backend, and the fixed number that suits it best."""

    name: str
    flags: tuple[str, ...]
    best: int
    top: float | None = None  # answers a second it can give, where that is known
    rows: int = _ROWS


SHAPES = (
    Shape(
        name="wall of 429 at 512",
        flags=(
            "--capacity",
            "512",
            "--queue",
            "0",
            "--retry-after",
            "0.05",
            "--latency",
            "const:50",
        ),
        best=512,
        top=10_240,
    ),
    Shape(
        name="queue behind 512",
        flags=("--capacity", "512", "--latency", "const:50"),
        best=512,
        top=10_240,
    ),
    Shape(
        name="queue behind 512, spread latencies",
        flags=("--capacity", "512", "--latency", "lognormal:45,0.5"),
        best=512,
    ),
    Shape(
        name="soft knee", flags=("--latency", "const:20", "--slow-per-inflight", "0.1"), best=512
    ),
    Shape(
        name="180,000 requests a minute",
        flags=("--rpm", "180000", "--latency", "const:50", "--retry-after", "0.05"),
        best=150,
        top=3_000,
        rows=20_000,
    ),
)


def measure(*, work: Path, pairs: int = PAIRS) -> list[Figure]:
    """Every shape."""
    figures: list[Figure] = []
    for number, shape in enumerate(SHAPES):
        source = work / f"{shape.rows}.csv"
        if not source.exists():
            inputs.csv_table(source, shape.rows)
        folder = work / f"shape{number}"
        folder.mkdir()
        with serving(
            preferred(), [*shape.flags, "--out-tokens", jobs.OUT_TOKENS], work=folder
        ) as server:
            found = [
                (
                    _once(server, folder / f"found{n}", source, shape, None),
                    _once(server, folder / f"fixed{n}", source, shape, shape.best),
                )
                for n in range(pairs)
            ]
        figures += _figures(shape, found)
    return figures


def _once(server: Server, folder: Path, source: Path, shape: Shape, slots: int | None) -> Stats:
    folder.mkdir()
    server.reset()
    output = folder / "out.csv"
    jobs.finish(source, output, server=server, home=folder / "home", slots=slots)
    if inputs.checked(output).wrong_of(shape.rows):
        raise BenchError(f"{output} is not what was asked for")
    return server.stats()


def _figures(shape: Shape, found: list[tuple[Stats, Stats]]) -> list[Figure]:
    ratios = [100 * ours.rps_over_span / fixed.rps_over_span for ours, fixed in found]
    refused = [100 * (1 - ours.ok / ours.requests) for ours, _ in found]
    figures = [
        _percent(f"{shape.name}: rate, of a fixed {shape.best}", ratios, at_least=_TARGET),
        _percent(f"{shape.name}: requests refused, the start included", refused, at_most=_REFUSED),
    ]
    if shape.top is not None:
        shares = [100 * ours.rps_over_span / shape.top for ours, _ in found]
        name = f"{shape.name}: rate, of {shape.top:,.0f}/s, the start included"
        figures.append(_percent(name, shares))
    return figures


def _percent(
    name: str,
    samples: list[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """A figure of this workload: the median of its pairs."""
    return Figure(
        workload="adaptive",
        name=name,
        unit="%",
        value=median(samples),
        samples=tuple(samples),
        at_least=at_least,
        at_most=at_most,
    )
