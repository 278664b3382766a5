"""Three rows in ten are repeated: asked one by one, asked once, and all from the answer cache."""

from pathlib import Path

import msgspec
from bench import inputs, jobs
from bench.figures import Figure
from bench.jobs import CAPACITY
from bench.processes import BenchError, Cost
from bench.servers import Server, Stats, preferred, serving

ROWS = 100_000
_SAME = ("--temperature", "0")  # then identical requests have identical answers
_SAVED = "identical"  # how the line of the summary begins


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """One job over the table."""

    cost: Cost
    stats: Stats
    saved: str  # the line of the summary
    wrong: int


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """The same table twice, and a later job with its rows from the last to the first."""

    def backwards(row: int) -> str:
        return inputs.repeating(rows - 1 - row)

    distinct = len({inputs.original(row) for row in range(rows)})
    flags = [*CAPACITY, "--latency", "const:50"]
    with serving(preferred(), flags, work=work) as server:
        alone = _once(server, work / "alone", rows, inputs.repeating, "--dedupe", "never")
        joined = _once(server, work / "joined", rows, inputs.repeating)
        cached = _once(server, work / "joined", rows, backwards)
    if alone.stats.requests != rows:
        raise BenchError(f"{alone.stats.requests} requests without joins for {rows} rows")
    return [
        *_common("every row asked", alone, rows, rows, server.kind),
        *_common("repeated rows asked once", joined, rows, distinct, server.kind),
        *_common("a later job, all from the cache", cached, rows, 0, server.kind),
    ]


def _once(server: Server, home: Path, rows: int, of: inputs.Prompts, *more: str) -> Once:
    """A job in a home that may have had others."""
    server.reset()
    source = inputs.csv_table(home.with_suffix(".csv"), rows, of=of)
    output = home.with_suffix(".out.csv")
    options = (*_SAME, *more, "--no-color")
    cost = jobs.finish(source, output, server=server, home=home, slots=None, more=options)
    said = output.with_suffix(".err").read_text()
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith(_SAVED)]
    return Once(
        cost=cost,
        stats=server.stats(),
        saved=lines[-1].removeprefix(_SAVED).strip() if lines else "",
        wrong=inputs.checked(output, of=of).wrong_of(rows),
    )


def _common(name: str, found: Once, rows: int, requests: int, against: str) -> list[Figure]:
    """`requests` is how many there have to be."""

    def figure(
        said: str, value: float, unit: str = "", at_most: float | None = None, note: str = ""
    ) -> Figure:
        return Figure(
            workload="joins",
            name=f"{name}: {said}",
            value=value,
            unit=unit,
            at_most=at_most,
            against=against,
            note=note,
        )

    return [
        figure(f"requests for {rows:,} rows", found.stats.requests, "", requests, found.saved),
        figure("rate, whole command", rows / found.cost.wall_s, "rows/s"),
        figure("CPU a row, whole command", 1e6 * found.cost.cpu_s / rows, "µs"),
        figure("rows lost or wrong", found.wrong, "rows", 0),
    ]
