"""The only recipe by which a file becomes real: write, fsync, rename, fsync the folder.

A rename without both fsyncs leaves an empty file after a power cut, so nothing
in the package publishes a file in another way.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from nightkiln.core import crashpoints
from nightkiln.core.errors import DamagedError, DiskError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_DISK: Final = _FULL | _FILES | {errno.EIO, errno.EROFS}
_READ_BYTES: Final = 1 << 20


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn a full or failing disk, or too many open files, into a DiskError; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise as_disk_error(error, what) from error


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn a missing or unreadable file of ours inside the block into a DamagedError."""
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, pa.ArrowException) as error:
        raise DamagedError(
            f"{path} is missing or is not what was written ({type(error).__name__})",
            hint="restore it from a backup, or run the job again with --new",
        ) from error


def as_disk_error(error: OSError, what: str) -> DiskError:
    """What a user is told when the disk is full or failing."""
    if error.errno in _FULL:
        hint = "free space in the home, then run again"
        return DiskError(f"the disk is full: {what}", hint=hint, full=True)
    if error.errno in _FILES:
        return DiskError(
            f"too many files are open: {what}",
            hint="raise the limit (ulimit -n) or lower --concurrency, then run again",
        )
    return DiskError(
        f"the disk fails: {what}: {os.strerror(error.errno or 0)}",
        hint="check the disk (dmesg), then run again; nothing is lost",
    )


def fsync_dir(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_dir(folder: Path) -> None:
    """A folder that survives a power cut, with all its parents."""
    missing = [folder, *folder.parents]
    fresh = [path for path in missing if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(fresh):
        fsync_dir(path.parent)


@contextmanager
def replacing(path: Path, *, written: str = "", renamed: str = "") -> Iterator[BinaryIO]:
    """A binary file that appears under `path` whole and durable, or not at all.

    `written` and `renamed` name the crash points after the two durable steps.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if written:
            crashpoints.reach(written)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    fsync_dir(path.parent)
    if renamed:
        crashpoints.reach(renamed)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a small file durably."""
    with replacing(path) as out:
        out.write(data)


def link(source: Path, target: Path) -> None:
    """Give a finished file a second name; across file systems, a durable copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        with source.open("rb") as data, replacing(target) as out:
            shutil.copyfileobj(data, out, _READ_BYTES)


def sha256_of(path: Path) -> tuple[str, int]:
    """The sha256 and the size in bytes of a file, read at flat memory."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as data:
        while piece := data.read(_READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
