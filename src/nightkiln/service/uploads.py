"""Files that arrive in parts: parts in any order, each durable, joined in the order that is named.

A part counts once its bytes are durable and the upload's record names it. Joining
writes the whole file anew and then, in one transaction, ends the upload and begins
the file. What an upload leaves goes with its end, or in time.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import InputError
from nightkiln.core.files import FileId, StoredFile, Upload, UploadId, UploadPart, UploadState
from nightkiln.core.ids import new_id
from nightkiln.service import files
from nightkiln.service.context import Context
from nightkiln.service.diskroom import check_room
from nightkiln.service.files import NewFile
from nightkiln.store import files as records
from nightkiln.store.tx import Tx
from nightkiln.vault.arrivals import TOO_LARGE, Arrival, Sealed, take

WINDOW_S: Final = 3600.0
MOST_PARTS: Final = 10_000
_SPARE: Final = 2  # times the announced size, for parts that were sent twice
_ENTROPY_BYTES: Final = 8
_READ_BYTES: Final = 1 << 20


class NewUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that will come in parts."""

    file: NewFile
    mime_type: str
    size_bytes: int
    window_s: float = WINDOW_S


async def begin(context: Context, new: NewUpload) -> Upload:
    """Record an upload. Raises DiskError."""
    now = context.clock()
    upload = Upload(
        id=UploadId(new_id("upload_", now=now, entropy=context.entropy(_ENTROPY_BYTES))),
        project=context.project,
        name=new.file.name,
        purpose=new.file.purpose,
        mime_type=new.mime_type,
        size_bytes=new.size_bytes,
        live_s=new.file.live_s,
        created_at=now,
        expires_at=now + new.window_s,
    )
    await context.store.write(lambda tx: records.insert_upload(tx, upload))
    return upload


async def get(context: Context, upload: UploadId) -> Upload:
    """An upload as it stands; one whose time is over is expired. Raises NotFound."""
    found = await context.store.read(
        lambda tx: records.get_upload(tx, upload, project=context.project)
    )
    return _aged(found, context.clock())


async def add_part(
    context: Context, upload: UploadId, pieces: AsyncIterator[bytes], *, most: int
) -> UploadPart:
    """Take in a part. Raises NotFound, DiskError, InputError for an upload that takes none."""
    found = _pending(await get(context, upload))
    room = _SPARE * found.size_bytes + most - sum(part.size_bytes for part in found.parts)
    name = new_id("part_", now=context.clock(), entropy=context.entropy(_ENTROPY_BYTES))
    async with files.begin(context, most=max(0, min(most, room))) as incoming:
        async for piece in pieces:
            await incoming.append(piece)
        sealed = await incoming.seal()
    part = UploadPart(
        id=name,
        size_bytes=sealed.size_bytes,
        sha256=sealed.sha256,
        created_at=context.clock(),
    )
    path = _folder(context, upload) / part.id
    try:
        await asyncio.to_thread(take, sealed, path)
        await context.store.write(lambda tx: _record(tx, context, upload, part))
    except InputError:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    finally:
        await asyncio.to_thread(sealed.path.unlink, missing_ok=True)
    return part


async def _record(tx: Tx, context: Context, upload: UploadId, part: UploadPart) -> None:
    found = await records.get_upload(tx, upload, project=context.project)
    _pending(_aged(found, context.clock()))
    if len(found.parts) >= MOST_PARTS:
        raise InputError(f"an upload takes {MOST_PARTS:,} parts", reason=TOO_LARGE)
    await records.save_upload(tx, msgspec.structs.replace(found, parts=(*found.parts, part)))


async def complete(
    context: Context, upload: UploadId, part_ids: Sequence[str], *, md5: str | None = None
) -> tuple[Upload, StoredFile]:
    """Join the parts to a file; an upload that is complete gives its file again.

    Raises NotFound, DiskError, and InputError when the upload is over, a part is
    not there, or the whole is not what was announced.
    """
    found = await get(context, upload)
    if found.state is UploadState.COMPLETED and found.file is not None:
        return found, await files.get(context, found.file)
    parts = _chosen(_pending(found), part_ids)
    try:
        sealed = await asyncio.to_thread(_joined, context, found, parts, md5)
    except FileNotFoundError:  # the parts went with the end of the upload
        ended = await get(context, upload)
        if ended.state is UploadState.COMPLETED and ended.file is not None:
            return ended, await files.get(context, ended.file)
        _pending(ended)
        raise
    new = NewFile(name=found.name, purpose=found.purpose, live_s=found.live_s)
    file = files.stored(context, new, sealed)
    path = files.path_of(context, file.id)
    try:
        await asyncio.to_thread(take, sealed, path)
        done, ours = await context.store.write(lambda tx: _end(tx, context, upload, file))
    except InputError:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    if ours is None:  # somebody else completed it meanwhile
        await asyncio.to_thread(path.unlink, missing_ok=True)
        return done, await files.get(context, done.file or FileId(""))
    await asyncio.to_thread(shutil.rmtree, _folder(context, upload), ignore_errors=True)
    return done, file


async def _end(
    tx: Tx, context: Context, upload: UploadId, file: StoredFile
) -> tuple[Upload, StoredFile | None]:
    found = await records.get_upload(tx, upload, project=context.project)
    if found.state is UploadState.COMPLETED:
        return found, None
    _pending(_aged(found, context.clock()))
    await records.insert_file(tx, file)
    done = msgspec.structs.replace(found, state=UploadState.COMPLETED, file=file.id)
    await records.save_upload(tx, done)
    return done, file


def _chosen(upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    known = {part.id: part for part in upload.parts}
    for name in part_ids:
        if name not in known:
            raise InputError(f"the upload has no part {name}", reason="part_not_found")
    chosen = [known[name] for name in part_ids]
    size = sum(part.size_bytes for part in chosen)
    if size != upload.size_bytes:
        raise InputError(
            f"the parts have {size:,} bytes; {upload.size_bytes:,} were announced",
            reason="size_mismatch",
        )
    return chosen


def _joined(
    context: Context, upload: Upload, parts: Sequence[UploadPart], md5: str | None
) -> Sealed:
    """The parts as one file in the spool. Blocking. Raises InputError, DiskError."""
    check_room(context.home.root, reserve=context.reserve_bytes, coming=upload.size_bytes)
    name = new_id("in_", now=context.clock(), entropy=context.entropy(_ENTROPY_BYTES))
    path = context.home.spool / name
    arrival = Arrival(path, most=upload.size_bytes, md5=md5 is not None)
    is_whole = False
    try:
        for part in parts:
            with (_folder(context, upload.id) / part.id).open("rb") as data:
                while piece := data.read(_READ_BYTES):
                    arrival.write(piece)
        sealed = arrival.seal()
        if md5 is not None and sealed.md5 != md5.lower():
            raise InputError("the md5 of the whole is another one", reason="md5_mismatch")
        is_whole = True
    finally:
        if not is_whole:
            arrival.abandon()
    return sealed


async def cancel(context: Context, upload: UploadId) -> Upload:
    """Give an upload up; its parts go. Raises NotFound, InputError for one that is over."""

    async def use_case(tx: Tx) -> Upload:
        found = await records.get_upload(tx, upload, project=context.project)
        if found.state is UploadState.CANCELLED:
            return found
        _pending(_aged(found, context.clock()))
        ended = msgspec.structs.replace(found, state=UploadState.CANCELLED)
        await records.save_upload(tx, ended)
        return ended

    ended = await context.store.write(use_case)
    await asyncio.to_thread(shutil.rmtree, _folder(context, upload), ignore_errors=True)
    return ended


async def sweep(context: Context) -> int:
    """End uploads of every project whose time is over, and remove their parts."""
    now = context.clock()
    stale = await context.store.read(lambda tx: records.stale_uploads(tx, now=now))
    for upload in stale:
        await context.store.write(lambda tx, one=upload: _expire(tx, one))  # type: ignore[misc]
        await asyncio.to_thread(shutil.rmtree, _folder(context, upload.id), ignore_errors=True)
    return len(stale)


async def collect(context: Context) -> None:
    """Remove parts of uploads that are over: what a crash left. Only for the home's owner."""
    known = await context.store.read(records.pending_uploads)
    await asyncio.to_thread(_remove_unknown, context.home.uploads, known)


def _remove_unknown(folder: Path, known: set[str]) -> None:
    for path in folder.glob("*"):
        if path.name not in known:
            shutil.rmtree(path, ignore_errors=True)


async def _expire(tx: Tx, upload: Upload) -> None:
    found = await records.get_upload(tx, upload.id, project=upload.project)
    if found.state is UploadState.PENDING:
        await records.save_upload(tx, msgspec.structs.replace(found, state=UploadState.EXPIRED))


def _aged(upload: Upload, now: float) -> Upload:
    if upload.state is UploadState.PENDING and upload.expires_at <= now:
        return msgspec.structs.replace(upload, state=UploadState.EXPIRED)
    return upload


def _pending(upload: Upload) -> Upload:
    """The upload, if it takes parts. Raises InputError."""
    if upload.state is not UploadState.PENDING:
        raise InputError(
            f"the upload {upload.id} is {upload.state}", reason=f"upload_{upload.state}"
        )
    return upload


def _folder(context: Context, upload: UploadId) -> Path:
    return context.home.uploads / upload
