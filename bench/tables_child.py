"""Writes or reads one table of a kind at flat memory: `out|in KIND PATH ROWS`; says the rows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import OUTPUT_COLUMNS, Place
from nightkiln.tables.formats import open_reader, open_writer

PIECE_ROWS = 1000
COLUMNS = ("id", "text", "price", "seen")


def pieces(rows: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Typed rows with answers of about 100 characters, the way chunks come out of a job."""
    for first in range(0, rows, PIECE_ROWS):
        numbers = range(first, min(first + PIECE_ROWS, rows))
        yield inputs(numbers), answers(numbers)


def inputs(numbers: range) -> pa.Table:
    """A whole number, 75 characters, a fraction and a date."""
    texts = [f"{number:08d} say in one word whether this customer is happy" for number in numbers]
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "text": [text.ljust(75, ".") for text in texts],
            "price": pa.array([number / 100 for number in numbers], pa.float64()),
            "seen": pa.array([number % 20_000 for number in numbers], pa.int32()).cast(pa.date32()),
        }
    )


def answers(numbers: range) -> pa.Table:
    """What a job adds, all rows answered."""
    count = len(numbers)
    columns = {
        "answer": [f"answer {number} ".ljust(100, "a") for number in numbers],
        "status": ["ok"] * count,
        "fault": pa.nulls(count, pa.string()),
        "fault_message": pa.nulls(count, pa.string()),
        "finish_reason": ["stop"] * count,
        "input_tokens": pa.array([25] * count, pa.int64()),
        "cached_tokens": pa.array([0] * count, pa.int64()),
        "output_tokens": pa.array([20] * count, pa.int64()),
        "cost_usd": pa.array([0.00012] * count, pa.float64()),
        "latency_ms": pa.array([51.5] * count, pa.float64()),
        "attempts": pa.array([1] * count, pa.int32()),
        "backend": ["stub"] * count,
    }
    return pa.table({name: columns[name] for name in OUTPUT_COLUMNS})


def main(verb: str, kind: str, path: Path, rows: int) -> int:
    """Do one and return the rows seen."""
    if verb == "out":
        with path.open("wb") as out:
            return open_writer(kind, COLUMNS, source="parquet").write(out, pieces(rows))
    source = SourceSpec(
        kind=kind, path=str(path), name=path.name, size_bytes=path.stat().st_size, sha256=""
    )
    blocks = open_reader(source).blocks(Place(), rows=PIECE_ROWS)
    return sum(block.rows.num_rows for block in blocks)


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
