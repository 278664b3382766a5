"""The answer cache: answers that were paid once, by the hash of their request.

A file of its own beside the store, and lossy by intent: nothing is ever synced
to the disk for it, whatever goes wrong is a miss or an answer that is not kept,
and the file may be deleted at any time, in use or not. So it never raises, and
it never makes a job wait for more than one read of an index.

Answers are written behind, in batches, by one thread. What it has not written
yet is found as well, and what does not fit before it is dropped. Old entries go
when the file is full: ids grow, a hit on an old entry gives it a new id, and the
smallest ids go first. The index has 64 bits of each key, which is half the work of
128; every entry carries a checksum over its whole key and its answer, which tells
keys apart, and because after a power cut a file that was never synced may hold
anything.
"""

import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import google_crc32c
import msgspec

from nightkiln.core.reuse import Kept
from nightkiln.store.cachefile import (
    SECRET_BYTES,
    connected,
    is_spoiled,
    opened,
    remove,
    secret_of,
    size_of,
    transaction,
)

LARGEST_BYTES: Final = 1024 * 1024  # of one answer
SPARE_BYTES: Final = 512 * 1024 * 1024  # of the disk that is left to those who need it
PENDING: Final = 32_768  # answers that wait to be written
PENDING_BYTES: Final = 32 * 1024 * 1024
FLUSH_S: Final = 0.1
_AT_ONCE: Final = 500  # keys in one statement
_SIZES: Final = (256, 16, 1)  # rows of an insert
_BATCH: Final = 2_000  # rows in one transaction
_READ_WAIT_MS: Final = 50  # readers of a write-ahead log wait for nobody, as a rule
_PAUSE_S: Final = 5.0  # after an error, before the next try
_CLOSE_S: Final = 5.0
_FULL_TO: Final = 0.9  # of the limit, when room is made

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Kept).decode


class CacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept, and for how long."""

    size_bytes: int = 1_000_000_000
    age_s: float = 30 * 86_400.0


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
        self.secret = secrets.token_bytes(SECRET_BYTES)  # of the hashes in this file
        self._reader = self._opened()
        self._thread = threading.Thread(target=self._write_loop, name="answer-cache", daemon=True)
        if self._reader is not None:
            self._thread.start()

    def _opened(self) -> sqlite3.Connection | None:
        reader = opened(self._path)
        secret = None if reader is None else secret_of(reader)
        if reader is None or secret is None:
            return None
        reader.execute(f"PRAGMA busy_timeout={_READ_WAIT_MS}")
        self.secret = secret
        return reader

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
                some = {_short(key): key for key in missing[start : start + _AT_ONCE]}
                rows = self._reader.execute(_select(len(some)), list(some))
                for number, short, made_at, value in rows:
                    key = some[short]
                    kept = _unpacked(key, value) if made_at >= oldest else None
                    if kept is not None:
                        found[key] = kept
                        touched.append(number)
            if touched and size_of(self._reader) > self._limits.size_bytes // 2:
                self._touch(touched)
        except (sqlite3.Error, OSError) as error:
            self._spoiled = self._spoiled or is_spoiled(error)
        return found

    def _touch(self, numbers: list[int]) -> None:
        """Move what is used from the older half to the end, so that it goes last."""
        assert self._reader is not None
        low, high = self._reader.execute("SELECT min(id), max(id) FROM answers").fetchone()
        old = [number for number in numbers if number < (low + high) // 2]
        if old:
            with transaction(self._reader):
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
                        connection = connected(self._path)
                        self._forget_old(connection)
                    self._write(connection)
                except (sqlite3.Error, OSError) as error:
                    self._spoiled = self._spoiled or is_spoiled(error)
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
        rows = [(_short(key), now, _packed(key, kept)) for key, kept in self._writing.items()]
        for start in range(0, len(rows), _BATCH):
            with transaction(connection):
                _insert(connection, rows[start : start + _BATCH])
        if size_of(connection) > self._limits.size_bytes:
            self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Drop the smallest ids until the file is well below its limit."""
        while size_of(connection) > _FULL_TO * self._limits.size_bytes:
            low, high = connection.execute("SELECT min(id), max(id) FROM answers").fetchone()
            if low is None:
                return
            below = low + max(1, min(_BATCH, (high - low) // 10))
            with transaction(connection):
                connection.execute("DELETE FROM answers WHERE id < ?", (below,))

    def _forget_old(self, connection: sqlite3.Connection) -> None:
        """Drop what is too old, as far as it lies at the beginning."""
        oldest, gone = self._clock() - self._limits.age_s, 1
        while gone:
            with transaction(connection):
                gone = connection.execute(
                    "DELETE FROM answers WHERE made_at < ? AND id IN"
                    " (SELECT id FROM answers ORDER BY id LIMIT ?)",
                    (oldest, _BATCH),
                ).rowcount


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[int, float, bytes]]) -> None:
    """Many rows in one statement: a statement each would pass the interpreter's lock to and fro.

    That costs the event loop several times what the writing does. Few sizes, so
    that each statement is prepared once.
    """
    start = 0
    for size in _SIZES:
        marks = ",".join(["(?,?,?)"] * size)
        statement = f"INSERT OR REPLACE INTO answers (key, made_at, value) VALUES {marks}"  # noqa: S608
        while len(rows) - start >= size:
            connection.execute(statement, list(chain.from_iterable(rows[start : start + size])))
            start += size


def _select(count: int) -> str:
    marks = ",".join("?" * count)
    return f"SELECT id, key, made_at, value FROM answers WHERE key IN ({marks})"  # noqa: S608


def _has_room(folder: Path) -> bool:
    """False where a cache would take the last room from the journals."""
    try:
        return shutil.disk_usage(folder).free > SPARE_BYTES
    except OSError:
        return False


def _short(key: bytes) -> int:
    return int.from_bytes(key[:8], "little", signed=True)


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
