"""Journals in work: appending, one writer thread, fsync in groups.

The problem: every answer has to survive kill -9 at once and a power cut soon,
at ten thousand answers a second, without ever blocking the event loop. A write
per answer costs a system call and a thread hop each; an fsync per answer costs
milliseconds; a write from the loop stalls everything when the disk is slow.

The way chosen: frames gather in memory during one turn of the loop, and longer
while the writer is busy, so that a busy writer makes larger writes and never a
queue. One thread writes them all (page cache: safe from kill -9), and a second
thread fsyncs whatever was written, at most every SYNC_S (safe from a power cut). Who
must not act before its frame is written (a `sent` frame before the request)
awaits the journal's ticket, one future shared by the whole turn.

When a write or an fsync fails the file is closed for good, for after a failed
fsync the kernel may have dropped the pages and a second fsync would lie. The
frames not known to be synced stay in memory, tickets stay open, and the
journal's owner is asked once for a new file under a new epoch. So a full disk
makes rows wait; it never loses or fails one.
"""

import asyncio
import contextlib
import errno
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from nightkiln.core import crashpoints
from nightkiln.vault.durable import fsync_dir
from nightkiln.vault.frames import MAGIC, Frame, Sent, encode

Note: TypeAlias = object
"""What the journal's owner wants to hear again when a frame is safe."""
_Entry: TypeAlias = tuple[bytes, Note]

SYNC_S: Final = 0.03  # the group window; the promise is at most 0.05
_MODE: Final = 0o600
_STOP_S: Final = 30.0


class Journal:
    """One chunk's journal over all the epochs of one worker's life.

    A frame may carry a note; `on_synced(notes)` is told the notes of frames that
    became safe, in order. `on_broken(error)` is told once per broken file, and
    answers by calling `reopen` in its own time. All methods belong to the event
    loop's thread.
    """

    def __init__(
        self,
        writer: "JournalWriter",
        path: Path,
        *,
        clock: Callable[[], float],
        on_synced: Callable[[list[Note]], None],
        on_broken: Callable[[OSError], None],
    ) -> None:
        self._clock = clock  # epoch seconds
        self._writer = writer
        self._on_synced = on_synced
        self._on_broken = on_broken
        self._file: _File | None = None
        self._fresh: list[_Entry] = []  # appended since the last hand-over
        self._tries: dict[str, list[tuple[int, int]]] = {}  # by backend, since then
        self._unsynced: deque[_Entry] = deque()  # handed over, not known to be safe
        self._ticket: asyncio.Future[None] | None = None  # of the frames in _fresh
        self._stranded: list[asyncio.Future[None]] = []  # of frames whose write failed
        self._path = path

    async def open(self) -> None:
        """Create the file. Raises OSError (a full disk) or FileExistsError (a second writer)."""
        self._file = _File(await asyncio.to_thread(_create, self._path))
        crashpoints.reach("journal.opened")

    def append(self, frame: Frame, note: Note = None) -> None:
        """Add a frame; it is written at the end of this turn of the loop."""
        if not self._fresh:
            self._writer.want_turn(self)
        self._fresh.append((encode(frame), note))

    def sent(self, row: int, number: int, backend: str) -> "asyncio.Future[None]":
        """Say that a try is about to leave; the request may go when the future is done.

        All tries of one turn of the loop share one frame and one future.
        """
        tries = self._tries.get(backend)
        if tries is None:
            tries = self._tries[backend] = []
        tries.append((row, number))
        if self._ticket is None:
            self._ticket = self._writer.loop.create_future()
            self._writer.want_turn(self)
        return self._ticket

    @property
    def is_synced(self) -> bool:
        """True when nothing waits to be written or synced."""
        return not (self._fresh or self._unsynced or self._tries)

    async def drain(self) -> None:
        """Return when everything appended so far survives a power cut."""
        while not self.is_synced:
            await self._writer.synced()

    async def reopen(self, path: Path) -> None:
        """Go on in a new file, the unsafe frames first. Raises OSError: broken still."""
        self._path = path
        self._file = _File(await asyncio.to_thread(_create, path))
        self._fresh = [*self._unsynced, *self._fresh]
        self._unsynced.clear()
        self._writer.want_turn(self)

    def close(self) -> None:
        """Close the file. What was not drained is lost; the owner knows."""
        if self._file is not None:
            self._writer.close_file(self._file)
            self._file = None

    # -- for the writer, on the loop's thread

    def writes_to(self, file: "_File") -> bool:
        """True while this is the file in use."""
        return self._file is file

    def hand_over(self) -> "_Piece | None":
        """What this turn gathered, for the writer thread; None while broken."""
        if self._file is None or not (self._fresh or self._tries or self._stranded):
            return None
        entries, self._fresh = self._fresh, []
        for backend, tries in self._tries.items():  # after the ends of earlier tries
            sent = Sent(at=self._clock(), backend=backend, tries=tuple(tries))
            entries.append((encode(sent), None))
        self._tries = {}
        self._unsynced.extend(entries)
        tickets, self._stranded = self._stranded, []
        if self._ticket is not None:
            tickets.append(self._ticket)
            self._ticket = None
        data = b"".join([frame for frame, _ in entries])
        return _Piece(self, self._file, data, len(entries), tickets)

    def written(self, piece: "_Piece") -> None:
        """The writer thread is done with a piece, one way or the other."""
        if piece.error is None:
            for ticket in piece.tickets:
                if not ticket.done():
                    ticket.set_result(None)
            return
        self._stranded.extend(piece.tickets)
        if self._file is piece.file:
            self._break(piece.error)
        else:
            self._writer.want_turn(self)  # the new file carries these frames already

    def synced(self, piece: "_Piece") -> None:
        """The sync thread is done with all frames up to this piece."""
        if self._file is not piece.file:
            return
        if piece.error is not None:
            self._break(piece.error)
        else:
            self._on_synced([self._unsynced.popleft()[1] for _ in range(piece.frames)])

    def _break(self, error: OSError) -> None:
        self.close()
        self._on_broken(error)


class _File:
    """An open journal file. Closed by the last thread that may use it, never before."""

    __slots__ = ("descriptor", "failed")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failed: OSError | None = None  # set and read by the writer thread


class _Piece:
    """Bytes of one journal on their way to the disk."""

    __slots__ = ("data", "error", "file", "frames", "journal", "tickets")

    def __init__(
        self,
        journal: Journal,
        file: _File,
        data: bytes,
        frames: int,
        tickets: "list[asyncio.Future[None]]",
    ) -> None:
        self.journal = journal
        self.file = file
        self.data = data
        self.frames = frames
        self.tickets = tickets
        self.error: OSError | None = None


class JournalWriter:
    """The threads behind all journals of a worker: one writes, one syncs.

    Owned by the worker: `start` on its loop, `aclose` at its end.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._turn: list[Journal] = []
        self._writing = False
        self._to_write: queue.SimpleQueue[list[_Piece] | _File | None] = queue.SimpleQueue()
        self._to_sync: queue.SimpleQueue[list[_Piece] | _File | None] = queue.SimpleQueue()
        self._unsynced: dict[_File, _Piece] = {}  # written since the last group
        self._syncing = False
        self._sync_timer: asyncio.TimerHandle | None = None
        self._sync_waiters: list[asyncio.Future[None]] = []
        self.failed: BaseException | None = None  # a bug of ours that ended a thread
        self._threads = [
            threading.Thread(target=self._owned, args=(loop,), name=name, daemon=True)
            for name, loop in (
                ("journal-writer", self._write_loop),
                ("journal-sync", self._sync_loop),
            )
        ]
        for thread in self._threads:
            thread.start()

    async def aclose(self) -> None:
        """Stop both threads once they have done what they were given."""
        self._to_write.put(None)  # which the writer thread passes on to the sync thread
        for thread in self._threads:
            await asyncio.to_thread(thread.join, _STOP_S)
        if self._sync_timer is not None:
            self._sync_timer.cancel()

    def want_turn(self, journal: Journal) -> None:
        """Take this journal's frames at the end of the turn, or after the write in progress."""
        if not self._turn:
            self.loop.call_soon(self._hand_over)
        self._turn.append(journal)

    def synced(self) -> "asyncio.Future[None]":
        """Done after the next group was synced, or after a moment when there is none."""
        waiter = self.loop.create_future()
        self._sync_waiters.append(waiter)
        self._arm_sync()
        return waiter

    def close_file(self, file: _File) -> None:
        """Close a file after everything both threads were given before."""
        self._to_write.put(file)

    # -- the loop's thread

    def _hand_over(self) -> None:
        if self._writing:
            return  # `_written` hands over what gathers until then
        journals, self._turn = self._turn, []
        pieces = [piece for journal in journals if (piece := journal.hand_over()) is not None]
        if pieces:
            self._writing = True
            self._to_write.put(pieces)

    def _written(self, pieces: list[_Piece]) -> None:
        self._writing = False
        for piece in pieces:
            piece.journal.written(piece)
            if piece.error is None:
                self._gather(piece)
        self._hand_over()
        self._arm_sync()

    def _gather(self, piece: _Piece) -> None:
        piece.data = b""
        earlier = self._unsynced.get(piece.file)
        if earlier is not None:
            piece.frames += earlier.frames
        self._unsynced[piece.file] = piece

    def _arm_sync(self) -> None:
        if not self._syncing and self._sync_timer is None:
            self._sync_timer = self.loop.call_later(SYNC_S, self._sync)

    def _sync(self) -> None:
        self._sync_timer = None
        pieces = [piece for piece in self._unsynced.values() if piece.journal.writes_to(piece.file)]
        self._unsynced = {}
        self._syncing = True
        self._to_sync.put(pieces)

    def _synced(self, pieces: list[_Piece]) -> None:
        self._syncing = False
        for piece in pieces:
            piece.journal.synced(piece)
        if pieces:
            crashpoints.reach("journal.synced")
        waiters, self._sync_waiters = self._sync_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._unsynced:
            self._arm_sync()

    # -- the threads

    def _owned(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; what ends it early is kept for the journals' owner to raise."""
        try:
            loop()
        except BaseException as error:
            self.failed = error

    def _write_loop(self) -> None:
        while (given := self._to_write.get()) is not None:
            if isinstance(given, _File):
                self._to_sync.put(given)
                continue
            for piece in given:
                piece.error = _write(piece.file, piece.data)
            self.loop.call_soon_threadsafe(self._written, given)
        self._to_sync.put(None)

    def _sync_loop(self) -> None:
        while (given := self._to_sync.get()) is not None:
            if isinstance(given, _File):
                os.close(given.descriptor)
                continue
            for piece in given:
                try:
                    os.fsync(piece.file.descriptor)
                except OSError as error:
                    piece.error = error
            self.loop.call_soon_threadsafe(self._synced, given)


def _write(file: _File, data: bytes) -> OSError | None:
    """Write to a file that never failed before; a short write is a full disk."""
    if file.failed is None:
        try:
            if os.write(file.descriptor, data) != len(data):
                file.failed = OSError(errno.ENOSPC, "short write")
        except OSError as error:
            file.failed = error
    return file.failed


def _create(path: Path) -> int:
    """A new journal, its name and magic durable; nobody may have written here before."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, _MODE)
    try:
        if os.write(descriptor, MAGIC) != len(MAGIC):
            raise OSError(errno.ENOSPC, "short write")
        os.fsync(descriptor)
        fsync_dir(path.parent)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # the name is ours: nobody read a frame from it
            path.unlink()
        raise
    return descriptor
