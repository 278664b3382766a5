"""Is this machine ready? Every claim is tried, not looked up.

Reads, and writes only into a scratch folder that it removes; it never opens a
job, sends a request or creates a home.
"""

import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from nightkiln._version import __version__
from nightkiln.backends.transport.openfiles import FILES_BESIDE_SOCKETS, most_files
from nightkiln.store import probe
from nightkiln.vault.durable import fsync_dir
from nightkiln.vault.home import Home

SPACE_WARN_BYTES: Final = 1_000_000_000
DEFAULT_CONCURRENCY: Final = 64
EARLIEST_EPOCH_S: Final = 1_767_225_600  # 2026-01-01: no machine that runs this lives before it
PYTHON: Final = (3, 11)
_DEPENDENCIES: Final = (
    "aiosqlite",
    "alembic",
    "click",
    "genai-prices",
    "google-crc32c",
    "httptools",
    "msgspec",
    "pyarrow",
    "sqlalchemy",
    "uvloop",
)
_LOCAL: Final = ("gguf", "huggingface_hub", "numpy", "openvino", "openvino_genai", "tokenizers")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `ok` is None for a warning."""

    name: str
    ok: bool | None
    detail: str
    fix: str = ""


def checkup(home: Path, *, named_by: str = "") -> list[Finding]:
    """Everything there is to say about this machine and this home."""
    findings = [_python(), Finding(name="nightkiln", ok=True, detail=__version__)]
    findings += [
        _dependencies(),
        _local(),
        _uvloop(),
        _clock(),
        _open_files(),
        _home(home, named_by),
    ]
    folder = _nearest(home)
    if os.access(folder, os.W_OK | os.X_OK):
        findings += [_space(folder), *_tried(folder)]
    if home.is_dir():
        findings += [_owner(home), _schema(home)]
    return findings


def _python() -> Finding:
    found = sys.version.split()[0]
    if sys.version_info >= PYTHON:
        return Finding(name="python", ok=True, detail=found)
    return Finding(name="python", ok=False, detail=found, fix="install Python 3.11 or newer")


def _dependencies() -> Finding:
    shown, missing = [], []
    for name in _DEPENDENCIES:
        try:
            shown.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            name="dependencies",
            ok=None if missing == ["uvloop"] else False,
            detail=f"missing: {', '.join(missing)}",
            fix=f"pip install {' '.join(missing)}",
        )
    return Finding(name="dependencies", ok=True, detail=", ".join(shown))


def _local() -> Finding:
    missing = [name for name in _LOCAL if find_spec(name) is None]
    if not missing:
        return Finding(name="local models", ok=True, detail="the extra `local` is there")
    return Finding(
        name="local models",
        ok=None,
        detail=f"no model can run here, the pilot neither; missing: {', '.join(missing)}",
        fix='pip install "nightkiln[local]"',
    )


def _uvloop() -> Finding:
    try:
        version = metadata.version("uvloop")
    except metadata.PackageNotFoundError:
        return Finding(
            name="event loop",
            ok=None,
            detail="uvloop is not there; asyncio's own loop costs more of a core per row",
            fix="pip install uvloop",
        )
    return Finding(name="event loop", ok=True, detail=f"uvloop {version}")


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now >= EARLIEST_EPOCH_S:
        return Finding(name="clock", ok=True, detail=shown)
    return Finding(
        name="clock",
        ok=False,
        detail=f"{shown} lies before this program was written",
        fix="set the clock: certificates and prices depend on it",
    )


def _open_files() -> Finding:
    most = most_files()  # a run raises its own soft limit
    room = max(0, most - FILES_BESIDE_SOCKETS)
    if room >= DEFAULT_CONCURRENCY:
        return Finding(name="open files", ok=True, detail=f"{most}: --concurrency up to {room}")
    return Finding(
        name="open files",
        ok=None,
        detail=f"{most} at most: too few for {DEFAULT_CONCURRENCY} requests at once",
        fix="ulimit -n 4096",
    )


def _home(home: Path, named_by: str) -> Finding:
    said = f" ({named_by})" if named_by else ""
    fix = "name another folder with --home or NIGHTKILN_HOME"
    if home.exists() and not home.is_dir():
        return Finding(name="home", ok=False, detail=f"{home}{said} is not a folder", fix=fix)
    nearest = _nearest(home)
    if not os.access(nearest, os.W_OK | os.X_OK):
        detail = f"{home}{said}: {nearest} cannot be written"
        return Finding(name="home", ok=False, detail=detail, fix=fix)
    state = "exists and can be written" if home.is_dir() else "will be made at the first run"
    return Finding(name="home", ok=True, detail=f"{home}{said} {state}")


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= SPACE_WARN_BYTES:
        return Finding(name="disk space", ok=True, detail=detail)
    return Finding(
        name="disk space", ok=None, detail=detail, fix="free some space, or name another --home"
    )


def _tried(folder: Path) -> Iterator[Finding]:
    """What the file system really does, tried in a scratch folder beside the home."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".nightkiln-doctor-", dir=folder)
    except OSError as error:
        detail = f"no folder can be made in {folder}: {error.strerror}"
        yield Finding(name="files", ok=False, detail=detail, fix="name another folder with --home")
        return
    with scratch as name:
        place = Path(name)
        yield _try("fsync", lambda: _fsync(place), "use a local disk for the home")
        yield _try("locks", lambda: _flock(place), "the home needs flock: use a local disk")
        yield _hard_links(place)
        yield _sqlite(place)


def _try(name: str, attempt: Callable[[], None], fix: str) -> Finding:
    try:
        attempt()
    except OSError as error:
        return Finding(name=name, ok=False, detail=os.strerror(error.errno or 0), fix=fix)
    return Finding(name=name, ok=True, detail="work")


def _fsync(place: Path) -> None:
    with (place / "synced").open("wb") as out:
        out.write(b"night")
        out.flush()
        os.fsync(out.fileno())
    fsync_dir(place)


def _flock(place: Path) -> None:
    """Two descriptors of one file must exclude each other."""
    with (place / "lock").open("wb") as one, (place / "lock").open("wb") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise OSError(errno.ENOLCK, "a second process would get the same lock")


def _hard_links(place: Path) -> Finding:
    source = place / "linked"
    source.write_bytes(b"kiln")
    try:
        os.link(source, place / "again")
    except OSError as error:
        return Finding(
            name="hard links",
            ok=None,
            detail=f"{error.strerror}: results are copied instead, which takes space and time",
            fix="a local disk for the home has them",
        )
    return Finding(name="hard links", ok=True, detail="work")


def _sqlite(place: Path) -> Finding:
    found = probe.probe(place)
    if found.error or found.journal_mode != "wal":
        return Finding(
            name="sqlite",
            ok=False,
            detail=f"{found.version}: {found.error or f'journal mode {found.journal_mode}'}",
            fix="the home needs a local file system with shared memory maps, not a network one",
        )
    return Finding(name="sqlite", ok=True, detail=f"{found.version}, write-ahead log works")


def _owner(home: Path) -> Finding:
    """Who holds the home's lock; asked without making one."""
    path = home / "lock"
    if not path.exists():
        return Finding(name="owner", ok=True, detail="nobody uses the home")
    try:
        with path.open("rb") as lock:
            for mode, detail in (
                (fcntl.LOCK_EX, "nobody uses the home now"),
                (fcntl.LOCK_SH, "other commands use the home now; that is fine"),
            ):
                try:
                    fcntl.flock(lock, mode | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                return Finding(name="owner", ok=True, detail=detail)
    except OSError as error:
        fix = "give the home to the user who runs nightkiln"
        return Finding(name="owner", ok=False, detail=f"{path}: {error.strerror}", fix=fix)
    return Finding(
        name="owner", ok=None, detail="a server owns the home", fix="talk to it, or use --home"
    )


def _schema(home: Path) -> Finding:
    database, known = Home(home).database, probe.head()
    if not database.exists():
        return Finding(name="schema", ok=True, detail=f"no store yet; it will be at {known}")
    try:
        found = probe.revision_at(database)
    except ValueError as error:
        return Finding(
            name="schema",
            ok=False,
            detail=f"{database} cannot be read: {error}",
            fix="restore it from a backup, or start with another --home",
        )
    if found is not None and found > known:
        return Finding(
            name="schema",
            ok=False,
            detail=f"revision {found}; this nightkiln knows up to {known}",
            fix="pip install --upgrade nightkiln",
        )
    behind = found != known
    detail = f"revision {found or 'none'}; the next run brings it to {known}"
    return Finding(name="schema", ok=True, detail=detail if behind else f"revision {found}")


def _nearest(path: Path) -> Path:
    """The folder itself, or the closest parent that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
