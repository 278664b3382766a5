"""How many rows of a home have an answer on disk, in parts or journals; said as one number.

Run in a process of its own: it may hold a million row numbers.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from nightkiln.vault.frames import Answered, decode


def answered_rows(home: Path) -> int:
    """Rows with an answer that a restart must find again."""
    rows: set[int] = set()
    for path in home.rglob("parts/*.parquet"):
        rows.update(pq.read_table(path, columns=["row"]).column("row").to_pylist())
    for path in home.rglob("journal/*.log"):
        rows.update(frame.row for frame in decode(path.read_bytes()) if isinstance(frame, Answered))
    return len(rows)


if __name__ == "__main__":
    print(answered_rows(Path(sys.argv[1])))
