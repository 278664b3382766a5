"""Where a table goes: a stream as it comes, a file whole or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from nightkiln.vault.durable import disk_errors, replacing

STDOUT: Final = "-"


def is_stream(output: str) -> bool:
    """True where there is nothing to replace, and nothing can stand beside it."""
    path = Path(output).expanduser()
    return output == STDOUT or (path.exists() and not path.is_file())


@contextmanager
def opened(output: str) -> Iterator[BinaryIO]:
    """An output to write to. Raises DiskError."""
    if output == STDOUT:
        with disk_errors("writing to standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    path = Path(output).expanduser().absolute()
    with disk_errors(f"writing {output}"):
        if is_stream(output):
            with path.open("wb") as out:
                yield out
        else:
            with replacing(path, renamed="output.renamed") as out:
                yield out
