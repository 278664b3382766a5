"""Files of a project: taken in, read, deleted, forgotten in time.

A file's bytes are durable before its record is, so whoever sees the record can
read the bytes; bytes without a record are what a crash left, and `collect` removes
them. Deleting forgets the record first. A batch never notices: its job has a name
of its own for the same bytes.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from nightkiln.core.errors import DiskError, NotFound
from nightkiln.core.files import FileId, Purpose, StoredFile
from nightkiln.core.ids import new_id
from nightkiln.service.context import Context
from nightkiln.service.diskroom import check_room
from nightkiln.store import files as records
from nightkiln.store.paging import Page
from nightkiln.vault.arrivals import Arrival, Sealed, take

_ENTROPY_BYTES: Final = 8
_GATHERED_BYTES: Final = 1 << 20  # of small pieces, before a thread is bothered
_READ_BYTES: Final = 1 << 18
_SWEPT: Final = 100  # files of one step
_ARRIVING: Final = "in_"  # how names begin in the spool, of files on their way


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a file whose bytes come."""

    name: str
    purpose: Purpose
    live_s: float | None = None  # None: it is kept until somebody deletes it


class Incoming:
    """A file on its way. Left without `finish` or `seal` it leaves nothing behind."""

    def __init__(self, context: Context, arrival: Arrival) -> None:
        self._context = context
        self._arrival = arrival
        self._waiting: list[bytes] = []
        self._gathered = 0
        self._kept = False

    async def append(self, piece: bytes) -> None:
        """Take the next bytes. Raises InputError (`file_too_large`), DiskError."""
        self._waiting.append(piece)
        self._gathered += len(piece)
        if self._gathered >= _GATHERED_BYTES:
            await self._write()

    async def _write(self) -> None:
        data, self._waiting, self._gathered = b"".join(self._waiting), [], 0
        await asyncio.to_thread(self._written, data)

    def _written(self, data: bytes) -> None:
        context = self._context
        check_room(context.home.root, reserve=context.reserve_bytes, coming=len(data))
        self._arrival.write(data)

    async def seal(self) -> Sealed:
        """The bytes, durable in the spool; from here on they are the caller's to remove."""
        await self._write()
        sealed = await asyncio.to_thread(self._arrival.seal)
        self._kept = True
        return sealed

    async def finish(self, new: NewFile) -> StoredFile:
        """The file, with its record. Raises InputError, DiskError."""
        sealed = await self.seal()
        self._kept = False
        file = stored(self._context, new, sealed)
        path = path_of(self._context, file.id)
        await asyncio.to_thread(take, sealed, path)
        try:
            await self._context.store.write(lambda tx: records.insert_file(tx, file))
        except DiskError:  # a write that came too late may still be done: `collect` sees to that
            await _forget_unrecorded(self._context, file.id)
            raise
        self._kept = True
        return file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._kept:
            self._waiting = []
            await asyncio.to_thread(self._arrival.abandon)


def begin(context: Context, *, most: int, md5: bool = False) -> Incoming:
    """A file of at most so many bytes that is about to come. Nothing is there before its bytes."""
    name = new_id(_ARRIVING, now=context.clock(), entropy=context.entropy(_ENTROPY_BYTES))
    return Incoming(context, Arrival(context.home.spool / name, most=most, md5=md5))


async def receive(
    context: Context, new: NewFile, pieces: AsyncIterator[bytes], *, most: int
) -> StoredFile:
    """Take in a whole file. Raises InputError (`file_too_large`), DiskError, and what reading does.

    However it ends early, nothing is left.
    """
    async with begin(context, most=most) as incoming:
        async for piece in pieces:
            await incoming.append(piece)
        return await incoming.finish(new)


def stored(context: Context, new: NewFile, sealed: Sealed) -> StoredFile:
    """The record of a file that begins now."""
    now = context.clock()
    return StoredFile(
        id=FileId(new_id("file-", now=now, entropy=context.entropy(_ENTROPY_BYTES))),
        project=context.project,
        name=new.name,
        purpose=new.purpose,
        size_bytes=sealed.size_bytes,
        sha256=sealed.sha256,
        created_at=now,
        expires_at=None if new.live_s is None else now + new.live_s,
    )


async def _forget_unrecorded(context: Context, file: FileId) -> None:
    """Remove bytes whose record could not be written; where it was after all, they stay."""
    try:
        await get(context, file)
    except NotFound:
        await asyncio.to_thread(path_of(context, file).unlink, missing_ok=True)


def path_of(context: Context, file: FileId) -> Path:
    """Where the bytes of a file of ours are. Only for ids that the store gave."""
    return context.home.files / file


async def get(context: Context, file: FileId) -> StoredFile:
    """A file. Raises NotFound, also when its time is over."""
    found = await context.store.read(lambda tx: records.get(tx, file, project=context.project))
    if found.expires_at is not None and found.expires_at <= context.clock():
        raise NotFound(f"no file {file}")
    return found


async def pages(
    context: Context, page: Page, *, purpose: Purpose | None = None
) -> tuple[list[StoredFile], bool]:
    """A page of files, and whether there are more. Raises NotFound for a page that begins nowhere.

    A file whose time is over may be listed until it is swept.
    """
    return await context.store.read(
        lambda tx: records.list_files(tx, page, project=context.project, purpose=purpose)
    )


async def delete(context: Context, file: FileId) -> None:
    """Remove a file. Raises NotFound. Batches that read it go on."""
    await context.store.write(lambda tx: records.remove(tx, file, project=context.project))
    await asyncio.to_thread(path_of(context, file).unlink, missing_ok=True)


class OpenFile:
    """A file being read. It can be read to its end even if somebody deletes it meanwhile."""

    def __init__(self, file: StoredFile, data: BinaryIO) -> None:
        self.file = file
        self._data = data

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `stop`, in pieces."""
        at, end = start, self.file.size_bytes if stop is None else stop
        while at < end:
            piece = await asyncio.to_thread(self._read, at, min(_READ_BYTES, end - at))
            if not piece:
                return
            at += len(piece)
            yield piece

    def _read(self, at: int, count: int) -> bytes:
        self._data.seek(at)
        return self._data.read(count)

    async def aclose(self) -> None:
        """Let go of it."""
        await asyncio.to_thread(self._data.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


async def open_file(context: Context, file: FileId) -> OpenFile:
    """A file, opened for reading. Raises NotFound."""
    found = await get(context, file)
    try:
        data = await asyncio.to_thread(path_of(context, file).open, "rb")
    except FileNotFoundError:
        raise NotFound(f"no file {file}") from None
    return OpenFile(found, data)


async def sweep(context: Context) -> int:
    """Delete files of every project whose time is over; how many they were."""
    swept = 0
    while found := await _expired(context):
        for file in found:
            await delete(context.of(file.project), file.id)
        swept += len(found)
    return swept


async def _expired(context: Context) -> list[StoredFile]:
    now = context.clock()
    return await context.store.read(lambda tx: records.expired(tx, now=now, limit=_SWEPT))


async def collect(context: Context) -> None:
    """Remove bytes that no record names: what a crash left. Only for the owner of the home."""
    known = await context.store.read(records.ids)
    await asyncio.to_thread(_remove_unknown, context.home.files, known)
    await asyncio.to_thread(_remove_unknown, context.home.spool, set(), f"{_ARRIVING}*")


def _remove_unknown(folder: Path, known: set[str], names: str = "*") -> None:
    for path in folder.glob(names):
        if path.name not in known:
            path.unlink(missing_ok=True)
