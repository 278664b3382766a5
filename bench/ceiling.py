"""What a row costs us, and how much of what the server could do we use, its slots found by us.

Two runs that differ only in their length: their difference is free of
start-up. The rate is the server's own count over its own time.
"""

from pathlib import Path
from statistics import median

import msgspec
from bench import inputs, jobs
from bench.figures import Figure
from bench.jobs import CAPACITY, REAL, SLOTS, STOPWATCH
from bench.processes import BenchError
from bench.servers import Server, serving

SHORT, LONG = 20_000, 120_000
LATENCY_MS = 50
TOP = SLOTS * 1000 / LATENCY_MS  # answers a second that the server could give
PAIRS = 3
_OUTSIDE = ("hash", "ingest", "open", "seal", "clean", "export")


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one length."""

    cpu_s: float
    rate: float
    filled: float  # mean requests in flight at the server
    spent: dict[str, float]  # by step, from the stopwatches; empty without them


def measure(kind: str, *, work: Path, pairs: int = PAIRS) -> list[Figure]:
    """CPU a row and rate against one kind of server."""
    for rows in (SHORT, LONG):
        inputs.csv_table(work / f"{rows}.csv", rows)
    flags = [*CAPACITY, "--latency", f"const:{LATENCY_MS}"]
    with serving(kind, flags, work=work) as server:
        plain = [_pair(server, work, f"plain{n}", REAL) for n in range(pairs)]
        watched = _pair(server, work, "watched", STOPWATCH)
    return [
        *_figures(plain, against=server.kind),
        *_split(watched, against=server.kind),
    ]


def _pair(server: Server, work: Path, name: str, program: tuple[str, ...]) -> tuple[Once, Once]:
    return (
        _once(server, work, f"{name}-{SHORT}", SHORT, program),
        _once(server, work, f"{name}-{LONG}", LONG, program),
    )


def _once(server: Server, work: Path, name: str, rows: int, program: tuple[str, ...]) -> Once:
    server.reset()
    output = work / f"{name}.csv"
    cost = jobs.finish(
        work / f"{rows}.csv",
        output,
        server=server,
        home=work / name,
        program=program,
        slots=None,
    )
    stats = server.stats()
    if inputs.checked(output).wrong_of(rows):
        raise BenchError(f"{output} is not what was asked for")
    spent = msgspec.json.decode(cost.said, type=dict[str, float]) if cost.said else {}
    return Once(cpu_s=cost.cpu_s, rate=stats.rps_over_span, filled=stats.mean_inflight, spent=spent)


def _per_row(short: float, long: float) -> float:
    return (long - short) / (LONG - SHORT) * 1e6


def _figures(pairs: list[tuple[Once, Once]], *, against: str) -> list[Figure]:
    cpu = tuple(_per_row(short.cpu_s, long.cpu_s) for short, long in pairs)
    rates = tuple(long.rate for _, long in pairs)
    shares = tuple(rate / TOP * 100 for rate in rates)
    filled = tuple(long.filled for _, long in pairs)

    def figure(
        name: str,
        unit: str,
        samples: tuple[float, ...],
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Figure:
        return Figure(
            workload="ceiling",
            name=name,
            unit=unit,
            value=median(samples),
            samples=samples,
            at_most=at_most,
            at_least=at_least,
            against=against,
        )

    return [
        figure("CPU a row, whole process", "µs", cpu, at_most=60),
        figure(f"rate, of {TOP:,.0f}/s", "%", shares, at_least=90),
        figure("rate", "rows/s", rates),
        figure(f"mean requests in flight, of {SLOTS}", "", filled),
    ]


def _split(pair: tuple[Once, Once], *, against: str) -> list[Figure]:
    """The same pair once more, with the stopwatches of `stopwatch.py`."""
    short, long = pair
    whole = _per_row(short.cpu_s, long.cpu_s)
    steps = {name: _per_row(short.spent[name], long.spent[name]) for name in _OUTSIDE}
    core = whole - sum(steps.values())

    def figure(name: str, value: float, at_most: float | None = None) -> Figure:
        return Figure(
            workload="ceiling",
            name=f"of which {name}",
            unit="µs",
            value=value,
            at_most=at_most,
            against=against,
        )

    return [
        figure("dispatch, transport and journal", core, at_most=45),
        *(figure(name, value) for name, value in steps.items()),
    ]
