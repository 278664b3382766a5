"""The rate over time while the limit is found: behind a wall, behind a queue, and when capacity
halves and returns.

Rates are the server's own counts, read ten times a second; the limit is told by
the process that finds it. `adaptive` compares whole runs with a fixed limit.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from bench import inputs, jobs, plots
from bench.figures import Figure
from bench.jobs import SLOTS
from bench.processes import BenchError, Child
from bench.servers import Server, preferred, serving

ROWS = 120_000
LATENCY_MS = 50
_TOP = SLOTS * 1000 / LATENCY_MS
_CHILD = (str(Path(__file__).with_name("limits_child.py")),)
_STEP_S = 0.1
_SMOOTH = 5  # steps to a point of a rate
_HALVED = (0.3, 0.6)  # of the rows: from where to where the server has half its slots
_FOUND = 0.9  # of the slots: then the limit is found
_WALL = ("--queue", "0", "--retry-after", "0.05")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of server."""

    name: str
    picture: str
    flags: tuple[str, ...]
    halves: bool = False


SHAPES = (
    Shape(name="wall of 429 at 512", picture="limit-wall", flags=_WALL),
    Shape(name="queue behind 512", picture="limit-queue", flags=()),
    Shape(name="wall that halves and returns", picture="limit-halved", flags=_WALL, halves=True),
)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What the server had counted at a time."""

    at: float  # monotonic
    ok: int
    slots: int  # that it has


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One run over time."""

    moments: tuple[Moment, ...]
    limits: tuple[tuple[float, int], ...]  # monotonic, requests that may be in flight
    refused: float  # per cent of the requests

    @property
    def began(self) -> float:
        """The last moment without an answer."""
        idle = (moment.at for moment in self.moments if not moment.ok)
        return max(idle, default=self.moments[0].at)

    def found_after(self) -> float:
        """Seconds from the first answer until the limit was near the slots, or to the end."""
        near = [at for at, limit in self.limits if limit >= _FOUND * SLOTS]
        return max(0.0, (near[0] if near else self.moments[-1].at) - self.began)

    def used(self, since: float) -> float:
        """Answers from a time on, as per cent of what the server could give in it."""
        pairs = [(a, b) for a, b in pairwise(self.moments) if a.at >= since]
        could = sum((b.at - a.at) * a.slots * 1000 / LATENCY_MS for a, b in pairs)
        return 100 * sum(b.ok - a.ok for a, b in pairs) / could if could else 0.0


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """Every shape once, with a picture each."""
    figures: list[Figure] = []
    for shape in SHAPES:
        folder = work / shape.picture
        folder.mkdir()
        flags = [*jobs.CAPACITY, "--latency", f"const:{LATENCY_MS}", *shape.flags]
        with serving(preferred(), flags, work=folder) as server:
            seen = _run(server, folder, shape, rows)
        _draw(shape, seen)
        figures += _figures(shape, seen, against=server.kind)
    return figures


def _run(server: Server, work: Path, shape: Shape, rows: int) -> Seen:
    source = inputs.csv_table(work / "rows.csv", rows)
    output = work / "out.csv"
    child = jobs.start(
        source, output, server=server, home=work / "home", program=_CHILD, slots=None
    )
    moments = _watch(server, child, rows, shape)
    cost = jobs.over(child)
    if inputs.checked(output).wrong_of(rows):
        raise BenchError(f"{output} is not what was asked for")
    stats = server.stats()
    return Seen(
        moments=tuple(moments),
        limits=tuple(msgspec.json.decode(cost.said, type=list[tuple[float, int]])),
        refused=100 * (1 - stats.ok / stats.requests),
    )


def _watch(server: Server, child: Child, rows: int, shape: Shape) -> list[Moment]:
    """Read the server's counts until the last row is answered."""
    moments: list[Moment] = []
    slots, ok = SLOTS, 0
    while ok < rows and child.running:
        ok = server.stats().ok
        moments.append(Moment(at=time.monotonic(), ok=ok, slots=slots))
        low, high = (share * rows for share in _HALVED)
        wanted = SLOTS // 2 if shape.halves and low <= ok < high else SLOTS
        if wanted != slots:
            slots = wanted
            server.configure(capacity=slots)
        time.sleep(_STEP_S)
    if len(moments) < 2 or not ok:
        raise BenchError(f"{shape.name}: nothing was seen of the run: {child.complaint()}")
    return moments


def _draw(shape: Shape, seen: Seen) -> None:
    began = seen.began
    inside = [moment for moment in seen.moments if moment.at >= began]
    rate = [
        ((a.at + b.at) / 2 - began, 100 * (b.ok - a.ok) / (b.at - a.at) / _TOP)
        for a, b in zip(inside, inside[_SMOOTH:], strict=False)
    ]
    limit = [(at, 100 * told / SLOTS) for at, told in _during(seen.limits, began, inside[-1].at)]
    has = [(b.at - began, 100 * each.slots / SLOTS) for a, b in pairwise(inside) for each in (a, b)]
    lines = [
        plots.Line(name=f"answers a second, of {_TOP:,.0f}", points=tuple(rate)),
        plots.Line(name=f"limit found, of {SLOTS}", points=tuple(limit)),
    ]
    if shape.halves:
        lines.append(plots.Line(name="slots the server has", points=tuple(has)))
    drawn = [line for line in lines if line.points]
    svg = plots.picture(shape.name, drawn, across="seconds since the first answer", up="%")
    plots.save(plots.FOLDER / f"{shape.picture}.svg", svg)


def _during(
    limits: Sequence[tuple[float, int]], first: float, last: float
) -> list[tuple[float, int]]:
    """The limits of a time, from nought on."""
    start = max(0, bisect_right(limits, (first, 0)) - 1)
    return [(max(0.0, at - first), limit) for at, limit in limits[start:] if at <= last]


def _figures(shape: Shape, seen: Seen, *, against: str) -> list[Figure]:
    found = seen.found_after()

    def figure(
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Figure:
        return Figure(
            workload="limits",
            name=f"{shape.name}: {name}",
            value=value,
            unit=unit,
            at_most=at_most,
            at_least=at_least,
            against=against,
        )

    after = seen.used(seen.began + found)
    most_refused = 2.0 if shape.flags and not shape.halves else None
    return [
        figure(f"until the limit is {100 * _FOUND:.0f} % of the slots", found, "s", at_most=3),
        figure("answers from then on, of what the server could give", after, "%", at_least=90),
        figure("answers, of what it could give in all", seen.used(seen.began), "%"),
        figure("requests refused", seen.refused, "%", at_most=most_refused),
    ]
