"""An input as the one file that a server takes: as it is, or made on the way.

Standard input is copied to a file first, and a folder or pattern of Parquet becomes one
file, for a server hears of nothing but what is sent to it. What is made here goes again.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nightkiln.service.orders import Order
from nightkiln.service.sources import kind_of, located
from nightkiln.tables.parquet_in import in_one_file
from nightkiln.vault.durable import disk_errors

STDIN: Final = "-"
_PIECE_BYTES: Final = 1 << 20


@contextmanager
def sendable(order: Order) -> Iterator[tuple[Path, str]]:
    """The file to send, and what it is called. Raises InputError, UsageError, DiskError."""
    kind = kind_of(order.input, order.input_format)
    path = Path(STDIN) if order.input == STDIN else located(order.input, kind)
    if order.input != STDIN and path.is_file():
        yield path, path.name
        return
    with (
        disk_errors("making one file for the server"),
        tempfile.TemporaryDirectory(prefix="nightkiln-") as folder,
    ):
        made = Path(folder) / "rows"
        with made.open("xb") as out:
            if order.input == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, out, _PIECE_BYTES)
            else:
                in_one_file(str(path), out)
        yield made, f"standard-input.{kind}" if order.input == STDIN else f"{path.name}.parquet"
