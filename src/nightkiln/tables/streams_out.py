"""Where the bytes of an output go: through a compressor, or plainly, never closed from here.

Whoever opened the file makes it durable and closes it; writers of Arrow close
what they write to, so they get a stand-in that only forwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


class _Forward:
    """A file that Arrow may close without closing the one behind it."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._written = 0

    def write(self, data: Any) -> int:
        self._out.write(data)
        size = memoryview(data).nbytes
        self._written += size
        return size

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self.closed = True


def forwarded(out: BinaryIO) -> "pa.PythonFile":
    """An open file as Arrow writes to it; it stays open."""
    import pyarrow as pa

    return pa.PythonFile(_Forward(out), mode="w")


@contextmanager
def compressing(out: BinaryIO, compression: str | None) -> Iterator[BinaryIO]:
    """What is written goes to `out`, compressed with gzip or zstd if that is asked for."""
    import pyarrow as pa

    if compression is None:
        yield out
        return
    with pa.CompressedOutputStream(forwarded(out), compression) as stream:
        yield stream
