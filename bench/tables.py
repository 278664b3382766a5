"""A million rows out and in again as CSV, Parquet and XLSX: CPU and peak memory.

Each is a process of its own over `nightkiln.tables` alone, with sixteen columns
of all types. What is written is what is read. Memory is bounded in every case:
for all but reading XLSX whatever the number of rows, and there by the rectangle
of cells that `tables.workbook` lets in; the bound here is for these columns.
"""

from pathlib import Path

from bench.figures import Figure
from bench.processes import BenchError, run

ROWS = 1_000_000
_CHILD = Path(__file__).parent / "tables_child.py"
_FLAT_MB = 300
_MOST_MB = {("out", "csv"): _FLAT_MB, ("in", "csv"): _FLAT_MB, ("out", "parquet"): _FLAT_MB}
_MOST_MB |= {("in", "parquet"): _FLAT_MB, ("out", "xlsx"): _FLAT_MB, ("in", "xlsx"): 2_000}


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """Write and read one table of each kind."""
    figures = []
    for kind in ("csv", "parquet", "xlsx"):
        path = work / f"rows.{kind}"
        for verb in ("out", "in"):
            command = [str(_CHILD), verb, kind, str(path), str(rows)]
            cost = run(command, log=work / "tables.log")
            if int(cost.said) != rows:
                raise BenchError(f"{cost.said} rows of {kind} went {verb}, not {rows}")
            name = f"{rows:,} rows {verb}, {kind}"
            size = path.stat().st_size >> 20
            figures += [
                _figure(name, cost.cpu_s, "s CPU", None, note=f"{size} MB on disk"),
                _figure(f"{name}, peak memory", cost.peak_mb, "MB", _MOST_MB[verb, kind]),
            ]
        path.unlink()
    return figures


def _figure(name: str, value: float, unit: str, at_most: float | None, note: str = "") -> Figure:
    return Figure(workload="tables", name=name, value=value, unit=unit, at_most=at_most, note=note)
