"""The file under the answer cache: how it is made, opened, looked at and deleted.

A write-ahead log without any sync: it survives the death of a process, and may
be damaged by a power cut, which its reader has to expect.
"""

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_WAIT_S: Final = 2.0  # for another process that writes, or that makes the file
_TRIES: Final = 5  # to make it, for not every lock of SQLite's is waited for
_TRY_S: Final = 0.02
SECRET_BYTES: Final = 16
_FORMAT: Final = 1
_ENDINGS: Final = ("", "-wal", "-shm")

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SPOILED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS answers
    (id INTEGER PRIMARY KEY, key INTEGER NOT NULL UNIQUE, made_at REAL NOT NULL,
    value BLOB NOT NULL)""",
)


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a cache, for whoever looks."""

    path: str
    answers: int = 0
    size_bytes: int = 0  # on disk
    oldest: float | None = None  # epoch seconds
    newest: float | None = None
    error: str = ""  # why it cannot be read; then it is as good as empty


def state_of(path: Path) -> CacheState:
    """What is in a cache. Raises nothing."""
    size = 0
    try:
        size = sum(file.stat().st_size for file in _files(path))
        if not path.is_file():
            return CacheState(path=str(path), size_bytes=size)
        address = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_WAIT_S)
        with contextlib.closing(connection):
            answers, oldest, newest = connection.execute(
                "SELECT count(*), min(made_at), max(made_at) FROM answers"
            ).fetchone()
    except (sqlite3.Error, OSError) as error:
        return CacheState(path=str(path), size_bytes=size, error=str(error))
    return CacheState(
        path=str(path), answers=answers, size_bytes=size, oldest=oldest, newest=newest
    )


def remove(path: Path) -> int:
    """Delete a cache, in use or not; how many bytes that were. Raises nothing."""
    gone = 0
    for file in _files(path):
        with contextlib.suppress(OSError):
            size = file.stat().st_size
            file.unlink()
            gone += size
    return gone


def _files(path: Path) -> list[Path]:
    names = [path.with_name(path.name + ending) for ending in _ENDINGS]
    return [name for name in names if name.is_file()]


def opened(path: Path) -> sqlite3.Connection | None:
    """A connection to a cache that works, made anew where it was none; None where none can be."""
    for _ in range(_TRIES):
        try:
            return connected(path)
        except (sqlite3.Error, OSError) as error:
            if is_spoiled(error):
                remove(path)
            elif _code(error) in _BUSY:
                time.sleep(_TRY_S)
            else:
                return None
    return None


def connected(path: Path) -> sqlite3.Connection:
    """A connection to a cache with its tables. Raises sqlite3.Error, OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # answers are private
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=_WAIT_S, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA page_size=16384")  # of a new file; answers are long
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-8192")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != _FORMAT:
            _make_tables(connection, version)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection, version: int) -> None:
    with transaction(connection):
        if version:  # another nightkiln's: nothing here is worth a migration
            connection.execute("DROP TABLE IF EXISTS answers")
        for table in _TABLES:
            connection.execute(table)
        connection.execute(
            "INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(SECRET_BYTES),)
        )
        connection.execute(f"PRAGMA user_version={_FORMAT}")


def secret_of(connection: sqlite3.Connection) -> bytes | None:
    """What the hashes in this file are keyed with; None where it cannot be read."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
    except sqlite3.Error:
        return None
    found = row[0] if row is not None else None
    return found if isinstance(found, bytes) and len(found) == SECRET_BYTES else None


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, the write lock first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def size_of(connection: sqlite3.Connection) -> int:
    """Bytes in use: pages that eviction has freed are filled again before the file grows."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def is_spoiled(error: BaseException) -> bool:
    """True when the file is no cache, or no longer one."""
    return _code(error) in _SPOILED


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
