"""A million JSON lines with ids: read, checked, unique and durable."""

import sys
from pathlib import Path
from statistics import median

import msgspec
from bench import inputs
from bench.figures import Figure
from bench.processes import run

ROWS = 1_000_000
TIMES = 2
_CHILD = Path(__file__).parent / "ingest_child.py"


class Ingest(msgspec.Struct, frozen=True, kw_only=True):
    """What the child says."""

    rows: int
    cpu_s: float
    wall_s: float


def measure(*, work: Path) -> list[Figure]:
    """Ingest the same table a few times, each in a fresh process and home."""
    source = inputs.jsonl_table(work / "rows.jsonl", ROWS)
    cpu, wall, peak = [], [], []
    for time in range(TIMES):
        cost = run([str(_CHILD), str(source), str(work / f"home-{time}")], log=work / "ingest.log")
        found = msgspec.json.decode(cost.said, type=Ingest)
        if found.rows != ROWS:
            sys.exit(f"{found.rows} rows were read of {ROWS}")
        cpu.append(found.cpu_s)
        wall.append(found.wall_s)
        peak.append(cost.peak_mb)

    def figure(name: str, unit: str, samples: list[float], at_most: float | None) -> Figure:
        return Figure(
            workload="ingest",
            name=name,
            unit=unit,
            value=median(samples),
            samples=tuple(samples),
            at_most=at_most,
        )

    return [
        figure(f"{ROWS:,} JSON lines with ids", "s CPU", cpu, 8),
        figure("the same by the clock", "s", wall, None),
        figure("peak memory", "MB", peak, None),
    ]
