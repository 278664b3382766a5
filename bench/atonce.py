"""Ten jobs at once on one server: as ten processes with one home, and in one process.

Each job has rows of its own, so a row that went to the wrong job is a wrong row.
"""

import time
from pathlib import Path

import msgspec
from bench import inputs, jobs
from bench.figures import Figure
from bench.processes import Child, Cost, run
from bench.servers import Server, preferred, serving

JOBS = 10
_CHILD = str(Path(__file__).with_name("atonce_child.py"))


class Ten(msgspec.Struct, frozen=True, kw_only=True):
    """What ten jobs took."""

    wall_s: float
    cpu_s: float
    peak_mb: float  # of all processes together
    took_s: tuple[float, ...]  # each job, from the common start
    rate: float  # by the server's count over its own time
    wrong: int


def measure(*, work: Path, rows: int) -> list[Figure]:
    """`rows` of all ten together."""
    each = rows // JOBS
    sources = [
        inputs.csv_table(work / f"{job}.csv", each, of=inputs.others(job)) for job in range(JOBS)
    ]
    flags = [*jobs.CAPACITY, "--latency", "const:50"]
    with serving(preferred(), flags, work=work) as server:
        apart = _processes(server, work, sources, each)
        server.reset()
        within = _one_process(server, work, sources, each)
    return [
        *_figures("ten processes, one home", apart, each, server.kind),
        *_figures("ten jobs in one process", within, each, server.kind),
    ]


def _processes(server: Server, work: Path, sources: list[Path], each: int) -> Ten:
    began = time.monotonic()
    outputs = [work / f"apart-{job}.csv" for job in range(JOBS)]
    children = [
        jobs.start(source, output, server=server, home=work / "home-apart", slots=None)
        for source, output in zip(sources, outputs, strict=True)
    ]
    took = _watched(children, began)
    costs = [jobs.over(child) for child in children]
    return _ten(costs, took, server, outputs, each)


def _watched(children: list[Child], began: float) -> list[float]:
    """When each ended, seen every 20 ms, since they end in no order."""
    took: dict[int, float] = {}
    while len(took) < len(children):
        for child in children:
            if child.pid not in took and not child.running:
                took[child.pid] = time.monotonic() - began
        time.sleep(0.02)
    return [took[child.pid] for child in children]


def _one_process(server: Server, work: Path, sources: list[Path], each: int) -> Ten:
    home = str(work / "home-within")
    cost = run([_CHILD, server.url, home, *map(str, sources)], log=work / "within.log")
    found = msgspec.json.decode(cost.said, type=list[tuple[str, float]])
    outputs = [work / f"within-{job}.csv" for job in range(JOBS)]
    for (job, _), output in zip(found, outputs, strict=True):
        command = ["-m", "nightkiln", "jobs", "results", job, "-o", str(output), "--home", home]
        run(command, log=work / "results.log")
    return _ten([cost], [took for _, took in found], server, outputs, each)


def _ten(
    costs: list[Cost], took: list[float], server: Server, outputs: list[Path], each: int
) -> Ten:
    wrong = sum(
        inputs.checked(output, of=inputs.others(job)).wrong_of(each)
        for job, output in enumerate(outputs)
    )
    return Ten(
        wall_s=max(took),
        cpu_s=sum(cost.cpu_s for cost in costs),
        peak_mb=sum(cost.peak_mb for cost in costs),
        took_s=tuple(took),
        rate=server.stats().rps_over_span,
        wrong=wrong,
    )


def _figures(name: str, found: Ten, each: int, against: str) -> list[Figure]:
    rows = each * JOBS

    def figure(said: str, value: float, unit: str, at_most: float | None = None) -> Figure:
        return Figure(
            workload="scale",
            name=f"{name}: {said}",
            value=value,
            unit=unit,
            at_most=at_most,
            against=against,
        )

    return [
        figure("rate of all, while the server worked", found.rate, "rows/s"),
        figure("rate of all, from the common start to the last end", rows / found.wall_s, "rows/s"),
        figure("the slowest, of the quickest", max(found.took_s) / min(found.took_s), "times", 1.5),
        figure("CPU a row, starts included", 1e6 * found.cpu_s / rows, "µs"),
        figure("peak memory, all processes", found.peak_mb, "MB"),
        figure("rows lost or wrong", found.wrong, "rows", 0),
    ]
