"""Bytes of an unknown number on their way into the home, hashed and bounded as they come.

They lie in the spool under a name of their own until somebody takes them; what
nobody takes is removed. Blocking: callers bring a thread.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from nightkiln.core.errors import InputError
from nightkiln.vault.durable import disk_errors, fsync_dir, make_dir

TOO_LARGE: Final = "file_too_large"
_WHAT: Final = "taking in a file"


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Durable bytes that have no home yet."""

    path: Path
    size_bytes: int
    sha256: str
    md5: str = ""


class Arrival:
    """One file being written. Used by one thread at a time."""

    def __init__(self, path: Path, *, most: int, md5: bool = False) -> None:
        self._path = path
        self._most = most
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._out: BinaryIO | None = None
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises InputError beyond the bound, DiskError."""
        if self.size + len(piece) > self._most:
            raise InputError(
                f"the file has more than {self._most:,} bytes",
                hint="split it, or raise the server's limit",
                reason=TOO_LARGE,
            )
        with disk_errors(_WHAT):
            if self._out is None:
                make_dir(self._path.parent)
                self._out = self._path.open("xb")
            self._out.write(piece)
        self._sha256.update(piece)
        if self._md5 is not None:
            self._md5.update(piece)
        self.size += len(piece)

    def seal(self) -> Sealed:
        """Make what came durable, and close it. Raises DiskError."""
        if self._out is None:
            self.write(b"")
        assert self._out is not None
        with disk_errors(_WHAT):
            self._out.flush()
            os.fsync(self._out.fileno())
            self._out.close()
        return Sealed(
            path=self._path,
            size_bytes=self.size,
            sha256=self._sha256.hexdigest(),
            md5="" if self._md5 is None else self._md5.hexdigest(),
        )

    def abandon(self) -> None:
        """Remove what came, unless somebody has taken it. Safe to repeat."""
        try:
            if self._out is not None:
                self._out.close()
        except OSError:
            pass  # what was gathered finds no room; it is not wanted either
        finally:
            self._path.unlink(missing_ok=True)


def take(sealed: Sealed, target: Path) -> None:
    """Give sealed bytes their place, durably. Raises DiskError."""
    with disk_errors(_WHAT):
        make_dir(target.parent)
        sealed.path.rename(target)
        fsync_dir(target.parent)
