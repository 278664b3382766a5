"""Everything that is true of SQLite only: files, pragmas, locks, error codes.

Write-ahead log, `synchronous=FULL` always, `BEGIN IMMEDIATE` for the writer,
`query_only` for readers. `mode=rw` in every address: a connection never makes a
database by accident; only `prepare` makes one.
"""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiosqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from nightkiln.core.errors import DiskError, HomeBusy, NightkilnError, NotFound
from nightkiln.store import migrate

BUSY_TIMEOUT_S: Final = 15.0  # how long one process waits for another's transaction
_READERS: Final = 4
_POLL_S: Final = 0.02  # between tries for the migration lock

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
    }
)
_DISK_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def prepare(path: Path, *, read_only: bool) -> None:
    """Make sure a database of our revision is there. Blocks: call it in a thread.

    Two processes may do this at once: the revision is looked at again under a
    file lock, and tables and revision number appear in one transaction. Raises
    NotFound when reading and there is nothing to read.
    """
    if read_only and not path.is_file():
        raise _nothing_at(path)
    try:
        found = _revision(path, mode="ro" if read_only else "rw") if path.is_file() else None
        migrate.refuse_newer(found, where=path)
        if found == migrate.HEAD:
            return
        if read_only and found is None:
            raise _nothing_at(path)
        if read_only:
            raise HomeBusy(
                f"{path} is at schema revision {found}, older than {migrate.HEAD}",
                hint="a command that writes upgrades it, for example `nightkiln run`",
            )
        with _migration_lock(path):
            _create_file(path)
            _upgrade(path)
    except DBAPIError as error:
        known = explain(error, path)
        if known is None:
            raise
        raise known from error
    except OSError as error:  # of the files around the database: the lock, the folder
        if error.errno not in _DISK_ERRNOS:
            raise
        raise _disk_error(path, error) from error


def write_engine(path: Path) -> AsyncEngine:
    """Connections for the one writer. Each transaction takes the write lock first."""
    engine = _async_engine(path, mode="rw", pragmas=_WRITER_PRAGMAS, pool=NullPool)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def read_engine(path: Path, *, read_only: bool) -> AsyncEngine:
    """Connections that cannot write, each transaction on one snapshot."""
    mode = "ro" if read_only else "rw"
    engine = _async_engine(path, mode=mode, pragmas=_READER_PRAGMAS, pool=AsyncAdaptedQueuePool)
    event.listen(engine.sync_engine, "begin", _begin_deferred)
    return engine


def explain(error: BaseException, path: Path) -> NightkilnError | None:
    """What a user should hear of a driver error, or None when it is our bug.

    A busy or failing database ends the transaction whatever statement met it,
    so an error that is explained here is never one use case's own.
    """
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if code is None:
        return None
    if code & 0xFF in _BUSY:
        return HomeBusy(
            f"another process kept {path} locked for {BUSY_TIMEOUT_S:.0f} s",
            hint="run the same command again when the other one is done or idle",
        )
    if code & 0xFF in _DISK:
        return _disk_error(path, original)
    return None


def _disk_error(path: Path, error: BaseException | None) -> DiskError:
    return DiskError(
        f"{path} cannot be written or read: {error}",
        hint="`nightkiln doctor` shows the space left; free some, then run the command again",
        full=getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL,
    )


_COMMON_PRAGMAS: Final = (
    f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
    "PRAGMA foreign_keys=ON",
)
_WRITER_PRAGMAS: Final = (*_COMMON_PRAGMAS, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
_READER_PRAGMAS: Final = (*_COMMON_PRAGMAS, "PRAGMA query_only=1")


def _async_engine(
    path: Path,
    *,
    mode: str,
    pragmas: tuple[str, ...],
    pool: type[NullPool] | type[AsyncAdaptedQueuePool],
) -> AsyncEngine:
    address = _address(path, mode=mode)
    bounds = {} if pool is NullPool else {"pool_size": _READERS, "max_overflow": 0}
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        # isolation_level=None: the driver begins nothing behind our back.
        async_creator=lambda: aiosqlite.connect(address, uri=True, isolation_level=None),
        poolclass=pool,
        hide_parameters=True,  # an error's text may be logged; what is stored may be a prompt
        **bounds,
    )
    _run_on_connect(engine.sync_engine, pragmas)
    return engine


def _sync_engine(path: Path, *, mode: str, pragmas: tuple[str, ...]) -> Engine:
    address = _address(path, mode=mode)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: sqlite3.connect(address, uri=True, isolation_level=None),
        poolclass=NullPool,
    )
    _run_on_connect(engine, pragmas)
    return engine


def _address(path: Path, *, mode: str) -> str:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return f"{address}&immutable=1" if mode == "ro" and _cannot_change(path) else address


def _cannot_change(path: Path) -> bool:
    """True for a folder that we may not write and where nobody is writing.

    Even a reader of a write-ahead log makes files beside it, unless it is told
    that the database cannot change. Whoever has it open leaves a log there.
    """
    return not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _run_on_connect(engine: Engine, pragmas: tuple[str, ...]) -> None:
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        try:
            for pragma in pragmas:
                _run_pragma(connection, pragma)
        except (sqlite3.Error, DiskError):
            connection.close()
            raise

    event.listen(engine, "connect", on_connect)


def _run_pragma(connection: sqlite3.Connection, pragma: str) -> None:
    """Run one pragma. The switch to the write-ahead log can fail without an error."""
    cursor = connection.cursor()
    try:
        cursor.execute(pragma)
        answer = cursor.fetchone()
    finally:
        cursor.close()
    if "journal_mode" in pragma and answer[0] != "wal":
        raise DiskError(
            f"the database stays in journal mode {answer[0]}, so readers would block writers",
            hint="the home needs a local file system with shared memory maps, not a network one",
        )


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _revision(path: Path, *, mode: str) -> str | None:
    engine = _sync_engine(path, mode=mode, pragmas=_READER_PRAGMAS)
    with engine.connect() as connection:
        return migrate.revision(connection)


def _create_file(path: Path) -> None:
    """An empty file that only we may read; an empty file is an empty database."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _upgrade(path: Path) -> None:
    engine = _sync_engine(path, mode="rw", pragmas=_WRITER_PRAGMAS)
    event.listen(engine, "begin", _begin_immediate)
    with engine.begin() as connection:
        found = migrate.revision(connection)
        migrate.refuse_newer(found, where=path)
        if found != migrate.HEAD:
            migrate.upgrade(connection)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _migration_lock(path: Path) -> Iterator[None]:
    """Hold a lock file beside the database; it goes with the process, so it is never stale."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    lock = os.open(f"{path}.migrate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise HomeBusy(
                    f"another process has been setting up {path} for {BUSY_TIMEOUT_S:.0f} s",
                    hint="run the same command again in a moment",
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _nothing_at(path: Path) -> NotFound:
    return NotFound(f"there is no database at {path}", hint="no job was ever run in this home")
