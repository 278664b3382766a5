"""The answer cache: answers that were paid once, by the hash of their request.

A file of its own beside the store, and lossy by intent: nothing is ever synced
to the disk for it, whatever goes wrong is a miss or an answer that is not kept,
and the file may be deleted at any time, in use or not. So it never raises, and
it never makes a job wait for more than one read of an index.

Answers are written behind, in batches, by one thread. What it has not written
yet is found as well, and what does not fit before it is dropped. Old entries go
when the file is full: ids grow, a hit on an old entry gives it a new id, and the
smallest ids go first. Every entry carries a checksum over key and answer,
because after a power cut a file that was never synced may hold anything.
"""

import contextlib
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import google_crc32c
import msgspec

from nightkiln.core.reuse import Kept

LARGEST_BYTES: Final = 1024 * 1024  # of one answer
SPARE_BYTES: Final = 512 * 1024 * 1024  # of the disk that is left to those who need it
PENDING: Final = 32_768  # answers that wait to be written
PENDING_BYTES: Final = 32 * 1024 * 1024
FLUSH_S: Final = 0.25
_AT_ONCE: Final = 500  # keys in one statement
_BATCH: Final = 2_000  # rows in one transaction
_WRITE_WAIT_S: Final = 2.0  # for another process that writes
_READ_WAIT_S: Final = 0.05  # readers of a write-ahead log wait for nobody, as a rule
_PAUSE_S: Final = 5.0  # after an error, before the next try
_CLOSE_S: Final = 5.0
_FULL_TO: Final = 0.9  # of the limit, when room is made
_SECRET_BYTES: Final = 16
_FORMAT: Final = 1
_ENDINGS: Final = ("", "-wal", "-shm")

_SPOILED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS answers
    (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, made_at REAL NOT NULL, value BLOB NOT NULL)
    """,
)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Kept).decode


class CacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept, and for how long."""

    size_bytes: int = 1_000_000_000
    age_s: float = 30 * 86_400.0


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a cache, for whoever looks."""

    path: str
    answers: int = 0
    size_bytes: int = 0  # on disk
    oldest: float | None = None  # epoch seconds
    newest: float | None = None
    error: str = ""  # why it cannot be read; then it is as good as empty


class AnswerCache:
    """An open cache. `find` belongs to one thread at a time; `keep` to any. Raises nothing."""

    def __init__(
        self, path: Path, limits: CacheLimits, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Open or make the file; blocks for a moment. Without a usable file all are misses."""
        self._path = path
        self._limits = limits
        self._clock = clock
        self._lock = threading.Condition()
        self._pending: dict[bytes, Kept] = {}
        self._writing: dict[bytes, Kept] = {}
        self._bytes = 0  # of the pending
        self._closing = False
        self._spoiled = False
        self.secret = secrets.token_bytes(_SECRET_BYTES)  # of the hashes in this file
        self._reader = self._opened()
        self._thread = threading.Thread(target=self._write_loop, name="answer-cache", daemon=True)
        if self._reader is not None:
            self._thread.start()

    def _opened(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                connection = _connected(self._path, _READ_WAIT_S)
            except (sqlite3.Error, OSError) as error:
                if not _is_spoiled(error):
                    return None
                remove(self._path)  # whatever this is, it is no cache: the next try makes one
                continue
            secret = _secret_of(connection)
            if secret is None:
                connection.close()
                return None
            self.secret = secret
            return connection
        return None

    @property
    def is_open(self) -> bool:
        """False where there is no usable file: everything is a miss."""
        return self._reader is not None

    def find(self, keys: Sequence[bytes], *, since: float = 0.0) -> dict[bytes, Kept]:
        """The answers to these requests that are here and were made after `since`."""
        with self._lock:
            waiting = [self._writing, self._pending]
            found = {key: entries[key] for entries in waiting for key in keys if key in entries}
        if self._reader is None:
            return found
        oldest = max(since, self._clock() - self._limits.age_s)
        missing = [key for key in keys if key not in found] if found else keys
        touched: list[int] = []
        try:
            for start in range(0, len(missing), _AT_ONCE):
                some = missing[start : start + _AT_ONCE]
                for number, key, made_at, value in self._reader.execute(_select(len(some)), some):
                    kept = _unpacked(key, value) if made_at >= oldest else None
                    if kept is not None:
                        found[key] = kept
                        touched.append(number)
            if touched:
                self._touch(touched)
        except (sqlite3.Error, OSError) as error:
            self._spoiled = self._spoiled or _is_spoiled(error)
        return found

    def _touch(self, numbers: list[int]) -> None:
        """Move what is used from the older half to the end, so that it goes last."""
        assert self._reader is not None
        low, high = self._reader.execute("SELECT min(id), max(id) FROM answers").fetchone()
        old = [number for number in numbers if number < (low + high) // 2]
        if old:
            with _transaction(self._reader):
                self._reader.executemany(
                    "UPDATE answers SET id = (SELECT max(id) + 1 FROM answers) WHERE id = ?",
                    [(number,) for number in old],
                )

    def keep(self, entries: Iterable[tuple[bytes, Kept]]) -> None:
        """Write these behind. What does not fit before the writer is dropped."""
        if self._reader is None or self._spoiled:
            return
        with self._lock:
            for key, kept in entries:
                size = kept.size_bytes
                if (
                    size > LARGEST_BYTES
                    or self._bytes + size > PENDING_BYTES
                    or len(self._pending) >= PENDING
                ):
                    continue
                self._pending[key] = kept
                self._bytes += size
            if len(self._pending) >= _BATCH:
                self._lock.notify()

    def close(self) -> None:
        """Write what waits, for a few seconds at most. Safe to call twice."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        if self._reader is None:
            return
        self._thread.join(_CLOSE_S)
        self._reader.close()
        self._reader = None
        if self._spoiled:
            remove(self._path)

    # -- the writer's thread

    def _write_loop(self) -> None:
        connection: sqlite3.Connection | None = None
        again_at = 0.0
        while self._awaited():
            if time.monotonic() >= again_at and _has_room(self._path.parent):
                try:
                    if connection is None:
                        connection = _connected(self._path, _WRITE_WAIT_S)
                        self._forget_old(connection)
                    self._write(connection)
                except (sqlite3.Error, OSError) as error:
                    self._spoiled = self._spoiled or _is_spoiled(error)
                    again_at = time.monotonic() + _PAUSE_S
                    if connection is not None:
                        connection.close()
                        connection = None
            self._writing = {}
        if connection is not None:
            connection.close()

    def _awaited(self) -> bool:
        """Wait for the next batch; False when there will be none."""
        with self._lock:
            if not self._closing and len(self._pending) < _BATCH:
                self._lock.wait(FLUSH_S)
            while not self._pending and not self._closing:
                self._lock.wait(FLUSH_S)
            self._writing, self._pending, self._bytes = self._pending, {}, 0
            return bool(self._writing) and not self._spoiled

    def _write(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        rows = [(key, now, _packed(key, kept)) for key, kept in self._writing.items()]
        for start in range(0, len(rows), _BATCH):
            with _transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO answers (key, made_at, value) VALUES (?, ?, ?)",
                    rows[start : start + _BATCH],
                )
        if _size(connection) > self._limits.size_bytes:
            self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Drop the smallest ids until the file is well below its limit."""
        while _size(connection) > _FULL_TO * self._limits.size_bytes:
            low, high = connection.execute("SELECT min(id), max(id) FROM answers").fetchone()
            if low is None:
                return
            below = low + max(1, min(_BATCH, (high - low) // 10))
            with _transaction(connection):
                connection.execute("DELETE FROM answers WHERE id < ?", (below,))

    def _forget_old(self, connection: sqlite3.Connection) -> None:
        """Drop what is too old, as far as it lies at the beginning."""
        oldest, gone = self._clock() - self._limits.age_s, 1
        while gone:
            with _transaction(connection):
                gone = connection.execute(
                    "DELETE FROM answers WHERE made_at < ? AND id IN"
                    " (SELECT id FROM answers ORDER BY id LIMIT ?)",
                    (oldest, _BATCH),
                ).rowcount


def state_of(path: Path) -> CacheState:
    """What is in a cache. Raises nothing."""
    size = sum(file.stat().st_size for file in _files(path))
    if not path.is_file():
        return CacheState(path=str(path), size_bytes=size)
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_WRITE_WAIT_S)
        with contextlib.closing(connection):
            answers, oldest, newest = connection.execute(
                "SELECT count(*), min(made_at), max(made_at) FROM answers"
            ).fetchone()
    except sqlite3.Error as error:
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


def _connected(path: Path, wait_s: float) -> sqlite3.Connection:
    """A connection to a cache with its tables. Raises sqlite3.Error, OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # answers are private
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=wait_s, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-4096")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != _FORMAT:
            _make_tables(connection, version)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection, version: int) -> None:
    with _transaction(connection):
        if version:  # another nightkiln's: nothing here is worth a migration
            connection.execute("DROP TABLE IF EXISTS answers")
        for table in _TABLES:
            connection.execute(table)
        connection.execute(
            "INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(_SECRET_BYTES),)
        )
        connection.execute(f"PRAGMA user_version={_FORMAT}")


def _secret_of(connection: sqlite3.Connection) -> bytes | None:
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
    except sqlite3.Error:
        return None
    found = row[0] if row is not None else None
    return found if isinstance(found, bytes) and len(found) == _SECRET_BYTES else None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, the write lock first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def _select(count: int) -> str:
    marks = ",".join("?" * count)
    return f"SELECT id, key, made_at, value FROM answers WHERE key IN ({marks})"  # noqa: S608


def _size(connection: sqlite3.Connection) -> int:
    """Bytes in use: pages that eviction has freed are filled again before the file grows."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def _has_room(folder: Path) -> bool:
    """False where a cache would take the last room from the journals."""
    try:
        return shutil.disk_usage(folder).free > SPARE_BYTES
    except OSError:
        return False


def _packed(key: bytes, kept: Kept) -> bytes:
    payload = _encode(kept)
    checksum: int = google_crc32c.value(key + payload)
    return checksum.to_bytes(4, "little") + payload


def _unpacked(key: bytes, value: object) -> Kept | None:
    """The answer, or None for anything that was not written as it reads."""
    if not isinstance(value, bytes) or len(value) < 5:
        return None
    if google_crc32c.value(key + value[4:]) != int.from_bytes(value[:4], "little"):
        return None
    try:
        return _decode(value[4:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_spoiled(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _SPOILED
