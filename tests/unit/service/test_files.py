"""Files and uploads: whole or not there, bounded, forgotten in time, not missed by batches."""

import asyncio
import contextlib
import hashlib
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.batchmaking import created, line, pieces_of, read, text_of, uploaded, with_project

from nightkiln.core.errors import DiskError, HomeBusy, InputError, NotFound
from nightkiln.core.files import FileId, Purpose, StoredFile, Upload, UploadState
from nightkiln.core.ids import ProjectId
from nightkiln.service import files, uploads
from nightkiln.service.context import Context
from nightkiln.service.files import NewFile
from nightkiln.service.uploads import NewUpload
from nightkiln.store.paging import Page
from nightkiln.testing.clock import FakeClock

NEW = NewFile(name="in.jsonl", purpose=Purpose.BATCH)
DATA = bytes(range(256)) * 9000  # more than is gathered before a write


def on_disk(context: Context) -> list[str]:
    """Every file of bytes in the home, wherever it lies."""
    folders = (context.home.spool, context.home.files, context.home.uploads)
    return [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]


async def test_a_file_comes_back_as_it_went_in(context: Context) -> None:
    file = await files.receive(context, NEW, pieces_of(DATA, 1000), most=len(DATA))
    assert (file.size_bytes, file.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert await read(context, file.id) == DATA
    assert await files.get(context, file.id) == file
    assert on_disk(context) == [file.id]


async def test_a_range_of_a_file_can_be_read_even_while_it_is_deleted(context: Context) -> None:
    file = await files.receive(context, NEW, pieces_of(DATA), most=len(DATA))
    async with await files.open_file(context, file.id) as found:
        await files.delete(context, file.id)
        part = b"".join([piece async for piece in found.pieces(300_000, 1_000_001)])
    assert part == DATA[300_000:1_000_001]
    with pytest.raises(NotFound):
        await files.open_file(context, file.id)
    assert on_disk(context) == []


async def test_an_empty_file_is_a_file(context: Context) -> None:
    file = await files.receive(context, NEW, pieces_of(b""), most=10)
    assert file.size_bytes == 0
    assert await read(context, file.id) == b""


async def cut_off() -> AsyncIterator[bytes]:
    yield DATA
    raise ConnectionError


async def test_an_upload_that_is_cut_off_leaves_nothing(context: Context) -> None:
    with pytest.raises(ConnectionError):
        await files.receive(context, NEW, cut_off(), most=len(DATA))
    assert on_disk(context) == []
    assert await files.pages(context, Page(limit=10)) == ([], False)


async def test_a_file_beyond_its_bound_is_refused_and_leaves_nothing(context: Context) -> None:
    with pytest.raises(InputError) as refused:
        await files.receive(context, NEW, pieces_of(DATA), most=len(DATA) - 1)
    assert refused.value.reason == "file_too_large"
    assert on_disk(context) == []


async def test_files_of_another_project_are_not_there(context: Context) -> None:
    file = await uploaded(context, b"x")
    other = await with_project(context, "other")
    for attempt in (files.get, files.delete, files.open_file):
        with pytest.raises(NotFound):
            await attempt(other, file.id)
    assert await files.pages(other, Page(limit=10)) == ([], False)
    assert await read(context, file.id) == b"x"


async def test_a_file_whose_time_is_over_is_gone_and_then_swept(context: Context) -> None:
    new = NewFile(name="a", purpose=Purpose.USER_DATA, live_s=60.0)
    brief = await files.receive(context, new, pieces_of(b"a"), most=1)
    lasting = await uploaded(context, b"b")
    assert isinstance(context.clock, FakeClock)
    context.clock.advance(61.0)
    with pytest.raises(NotFound):
        await files.get(context, brief.id)
    assert await files.sweep(context) == 1
    assert on_disk(context) == [lasting.id]
    assert await files.sweep(context) == 0


async def test_bytes_without_a_record_are_collected(context: Context) -> None:
    file = await uploaded(context, b"kept")
    (context.home.files / "file-lost").write_bytes(b"left by a crash")
    await files.collect(context)
    assert on_disk(context) == [file.id]


async def test_a_batch_does_not_miss_the_file_that_it_was_made_of(context: Context) -> None:
    data = text_of([line(1)])
    file = await uploaded(context, data)
    batch = await created(context, file)
    await files.delete(context, file.id)
    assert batch.job is not None
    assert context.files(batch.job).source.read_bytes() == data


# -- uploads in parts


async def begun(context: Context, size: int, **more: Any) -> Upload:
    return await uploads.begin(
        context, NewUpload(file=NEW, mime_type="application/jsonl", size_bytes=size, **more)
    )


async def part(context: Context, upload: Upload, data: bytes, *, most: int = 1 << 20) -> str:
    return (await uploads.add_part(context, upload.id, pieces_of(data), most=most)).id


async def test_parts_that_come_at_once_are_joined_in_the_order_that_is_named(
    context: Context,
) -> None:
    upload = await begun(context, 9)
    names = await asyncio.gather(*(part(context, upload, data) for data in (b"aaa", b"b", b"cccc")))
    spare = await part(context, upload, b"left out")
    order, md5 = [names[2], names[0], names[1]], hashlib.md5(b"ccccaaab", usedforsecurity=False)
    with pytest.raises(InputError, match="announced"):
        await uploads.complete(context, upload.id, order)
    upload = await begun(context, 8)
    names = [await part(context, upload, data) for data in (b"aaa", b"b", b"cccc")]
    order = [names[2], names[0], names[1]]
    done, file = await uploads.complete(context, upload.id, order, md5=md5.hexdigest())
    assert (done.state, done.file) == (UploadState.COMPLETED, file.id)
    assert await read(context, file.id) == b"ccccaaab"
    assert (file.name, file.purpose, file.size_bytes) == ("in.jsonl", Purpose.BATCH, 8)
    assert await uploads.complete(context, upload.id, order) == (done, file)
    assert spare not in names
    assert not (context.home.uploads / upload.id).exists()


async def test_an_upload_that_two_complete_at_once_is_one_file(context: Context) -> None:
    upload = await begun(context, 3)
    names = [await part(context, upload, b"abc")]
    begins, goes_on = threading.Event(), threading.Event()

    def slowly(size: int) -> bytes:
        begins.set()
        goes_on.wait(30)
        return context.entropy(size)

    late = Context(
        context.store, context.home, project=context.project, clock=context.clock, entropy=slowly
    )
    second = asyncio.create_task(uploads.complete(late, upload.id, names))
    await asyncio.to_thread(begins.wait, 30)
    first = await uploads.complete(context, upload.id, names)  # and the parts are gone
    goes_on.set()
    assert await second == first
    assert on_disk(context) == [first[1].id]


async def refusal(attempt: Any) -> str:
    with pytest.raises(InputError) as refused:
        await attempt
    return refused.value.reason


async def test_what_is_not_whole_is_refused_and_the_upload_stays_open(context: Context) -> None:
    upload = await begun(context, 3)
    name = await part(context, upload, b"abc")
    complete = uploads.complete
    assert await refusal(complete(context, upload.id, [name, "part_x"])) == "part_not_found"
    assert await refusal(complete(context, upload.id, [name], md5="0" * 32)) == "md5_mismatch"
    assert (await uploads.get(context, upload.id)).state is UploadState.PENDING
    _, file = await complete(context, upload.id, [name])
    assert sorted(on_disk(context)) == [file.id]
    assert await refusal(part(context, upload, b"d")) == "upload_completed"
    assert await refusal(uploads.cancel(context, upload.id)) == "upload_completed"


async def test_a_cancelled_upload_takes_no_parts_and_leaves_none(context: Context) -> None:
    upload = await begun(context, 3)
    name = await part(context, upload, b"abc")
    assert (await uploads.cancel(context, upload.id)).state is UploadState.CANCELLED
    assert await refusal(part(context, upload, b"d")) == "upload_cancelled"
    assert await refusal(uploads.complete(context, upload.id, [name])) == "upload_cancelled"
    assert on_disk(context) == []


async def test_an_upload_that_nobody_completes_expires(context: Context) -> None:
    upload = await begun(context, 3, window_s=60.0)
    await part(context, upload, b"abc")
    assert isinstance(context.clock, FakeClock)
    context.clock.advance(61.0)
    assert (await uploads.get(context, upload.id)).state is UploadState.EXPIRED
    assert await refusal(part(context, upload, b"d")) == "upload_expired"
    assert await uploads.sweep(context) == 1
    assert on_disk(context) == []
    assert await uploads.sweep(context) == 0


async def test_parts_may_not_take_more_room_than_the_file_that_was_announced(
    context: Context,
) -> None:
    upload = await begun(context, 4)
    assert await refusal(part(context, upload, b"123456", most=5)) == "file_too_large"
    for _ in range(2):
        await part(context, upload, b"12345", most=5)
    assert await refusal(part(context, upload, b"12345", most=5)) == "file_too_large"


async def test_uploads_of_another_project_are_not_there(context: Context) -> None:
    upload = await begun(context, 1)
    other = await with_project(context, "other")
    with pytest.raises(NotFound):
        await part(other, upload, b"x")
    with pytest.raises(NotFound):
        await uploads.cancel(other, upload.id)
    assert on_disk(context) == []


async def test_parts_of_uploads_that_are_over_are_collected(context: Context) -> None:
    upload = await begun(context, 3)
    name = await part(context, upload, b"abc")
    lost = context.home.uploads / "upload_lost"
    lost.mkdir()
    (lost / "part_x").write_bytes(b"left by a crash")
    await uploads.collect(context)
    assert on_disk(context) == [name]


async def test_pages_of_files_have_no_gaps(context: Context) -> None:
    made: list[StoredFile] = [await uploaded(context, b"%d" % one) for one in range(5)]
    found: list[FileId] = []
    page = Page(limit=2)
    more = True
    while more:
        piece, more = await files.pages(context, page, purpose=Purpose.BATCH)
        found += [one.id for one in piece]
        page = Page(limit=2, after=piece[-1].id)
    assert sorted(found) == sorted(one.id for one in made)
    assert await files.pages(context, Page(limit=2), purpose=Purpose.USER_DATA) == ([], False)


@contextlib.contextmanager
def tiny_disk() -> Iterator[None]:
    """No file of this process may grow beyond 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [5000, 3_000_000], ids=["when it is sealed", "on its way"])
async def test_a_file_that_the_disk_does_not_hold_leaves_nothing(
    context: Context, size: int
) -> None:
    with tiny_disk(), pytest.raises(DiskError) as caught:
        await files.receive(context, NEW, pieces_of(bytes(size)), most=size)
    assert caught.value.full
    assert on_disk(context) == []


async def test_a_record_that_is_written_too_late_still_has_its_bytes(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []

    async def waits(use_case: Any) -> None:
        waiting.append(use_case)
        raise HomeBusy("the store did not finish a write; it may still be written")

    with monkeypatch.context() as slow:
        slow.setattr(context.store, "write", waits)
        with pytest.raises(HomeBusy):
            await files.receive(context, NEW, pieces_of(DATA), most=len(DATA))
    await context.store.write(waiting[0])
    ((file,), _) = await files.pages(context, Page(limit=2))
    assert await read(context, file.id) == DATA


async def test_files_leave_the_reserve_of_the_disk_alone(context: Context) -> None:
    upload = await uploads.begin(context, NewUpload(file=NEW, mime_type="x", size_bytes=len(DATA)))
    part = await uploads.add_part(context, upload.id, pieces_of(DATA), most=len(DATA))
    before = on_disk(context)
    context.reserve_bytes = 1 << 60
    assert context.of(ProjectId("other")).reserve_bytes == context.reserve_bytes
    with pytest.raises(DiskError) as caught:
        await files.receive(context, NEW, pieces_of(DATA), most=len(DATA))
    assert caught.value.full
    with pytest.raises(DiskError):
        await uploads.complete(context, upload.id, [part.id])
    assert on_disk(context) == before
    context.reserve_bytes = 1
    await uploads.complete(context, upload.id, [part.id])
