"""Journals on real files, with real failures of the disk under them."""

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nightkiln.core.answer import Attempt
from nightkiln.vault.frames import MAGIC, Answered, Faulted, Frame, Sent, decode
from nightkiln.vault.journal import SYNC_S, Journal, JournalWriter, Note
from nightkiln.vault.recovery import recover

DEADLINE_S = 20.0
pytestmark = pytest.mark.usefixtures("_deadline")


@pytest.fixture
async def _deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: a write stops short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def descriptor_of(path: Path) -> int:
    """The descriptor under which this process has a file open."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == str(path):
                return int(name)
    raise AssertionError(f"{path} is not open")


class Book:
    """A journal with an owner who writes down what he is told."""

    def __init__(self, folder: Path, writer: JournalWriter) -> None:
        self.folder = folder
        self.epoch = 1
        self.synced: list[Note] = []
        self.broken: list[OSError] = []
        self.journal = Journal(
            writer,
            self.path(1),
            clock=lambda: 5.0,
            on_synced=self.synced.extend,
            on_broken=self.broken.append,
        )

    def path(self, epoch: int) -> Path:
        return self.folder / f"00000.{epoch}.log"

    def frames(self, epoch: int | None = None) -> list[Frame]:
        return list(decode(self.path(epoch or self.epoch).read_bytes()))

    def answered(self, row: int) -> set[int]:
        self.journal.append(Answered(row=row, text=f"row {row}"), row)
        return {row}

    async def reopen(self) -> None:
        self.epoch += 1
        await self.journal.reopen(self.path(self.epoch))

    async def until_broken(self, times: int = 1) -> None:
        while len(self.broken) < times:
            await asyncio.sleep(0)

    def recovered(self) -> set[int]:
        paths = [(epoch, self.path(epoch)) for epoch in range(1, self.epoch + 1)]
        return set(recover([(epoch, path) for epoch, path in paths if path.exists()]).answers)


@pytest.fixture
async def writer() -> AsyncIterator[JournalWriter]:
    writer = JournalWriter()
    yield writer
    await writer.aclose()


@pytest.fixture
async def book(tmp_path: Path, writer: JournalWriter) -> AsyncIterator[Book]:
    book = Book(tmp_path, writer)
    await book.journal.open()
    yield book
    book.journal.close()


async def test_a_new_journal_is_its_magic_and_nothing_else(book: Book) -> None:
    assert book.path(1).read_bytes() == MAGIC


async def test_nobody_writes_where_somebody_wrote_before(book: Book, writer: JournalWriter) -> None:
    with pytest.raises(FileExistsError):
        await Book(book.folder, writer).journal.open()


async def test_frames_stand_in_the_order_in_which_they_were_added(book: Book) -> None:
    for row in range(200):
        book.answered(row)
        if row % 7 == 0:
            await asyncio.sleep(0)
    await book.journal.drain()
    assert [frame.row for frame in book.frames() if isinstance(frame, Answered)] == [*range(200)]


async def test_the_tries_of_one_turn_share_a_frame_and_a_ticket(book: Book) -> None:
    tickets = {book.journal.sent(row, 1, "b") for row in range(50)}
    assert len(tickets) == 1
    await tickets.pop()
    assert book.frames() == [Sent(at=5.0, backend="b", tries=tuple((r, 1) for r in range(50)))]


async def test_the_end_of_a_try_stands_before_the_next_try_of_its_row(book: Book) -> None:
    await book.journal.sent(0, 1, "b")
    ticket = book.journal.sent(0, 2, "b")
    book.journal.append(Faulted(0, Attempt(number=1, backend="b", sent_at=0.0, latency_ms=0.0)))
    await ticket
    assert [type(frame) for frame in book.frames()] == [Sent, Faulted, Sent]


async def test_a_request_may_leave_only_when_its_frame_is_written(book: Book) -> None:
    for row in range(30):
        await book.journal.sent(row, 1, "b")
        last = book.frames()[-1]
        assert isinstance(last, Sent)
        assert last.tries == ((row, 1),)


async def test_what_is_safe_is_told_in_order_and_once(book: Book) -> None:
    for row in range(60):
        book.answered(row)
        await book.journal.sent(row, 1, "b")
    await book.journal.drain()
    assert [note for note in book.synced if note is not None] == [*range(60)]


async def test_nothing_is_told_as_safe_before_it_was_synced(book: Book) -> None:
    book.answered(0)
    await book.journal.sent(0, 1, "b")
    assert book.synced == []
    assert not book.journal.is_synced


async def test_what_was_appended_is_safe_within_the_group_window(book: Book) -> None:
    loop = asyncio.get_running_loop()
    await book.journal.drain()
    began = loop.time()
    book.answered(0)
    while not book.synced:
        await asyncio.sleep(0)
    assert loop.time() - began < 20 * SYNC_S


async def test_a_journal_that_breaks_says_so_once_and_loses_nothing(book: Book) -> None:
    book.answered(0)
    await book.journal.drain()
    with files_limited_to(book.path(1).stat().st_size + 10):
        book.answered(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        book.answered(2)
        await book.until_broken()
        book.answered(3)
    await book.reopen()
    await book.journal.drain()
    assert len(book.broken) == 1
    assert [frame.row for frame in book.frames(2) if isinstance(frame, Answered)] == [1, 2, 3]
    assert book.recovered() == {0, 1, 2, 3}
    assert book.synced == [0, 1, 2, 3]


async def test_a_request_of_a_broken_journal_leaves_when_its_frame_stands_elsewhere(
    book: Book,
) -> None:
    with files_limited_to(len(MAGIC)):
        stranded = book.journal.sent(7, 1, "b")
        await book.until_broken()
        late = book.journal.sent(8, 1, "b")
    assert not stranded.done()
    await book.reopen()
    await asyncio.gather(stranded, late)
    tries = [pair for frame in book.frames(2) if isinstance(frame, Sent) for pair in frame.tries]
    assert tries == [(7, 1), (8, 1)]


async def test_a_sync_that_failed_is_never_tried_again_on_the_same_file(book: Book) -> None:
    descriptor = descriptor_of(book.path(1))
    reading, writing = os.pipe()
    os.dup2(writing, descriptor)  # a pipe takes bytes and cannot be synced
    os.close(writing)
    book.answered(1)
    await book.until_broken()
    await book.reopen()
    await book.journal.drain()
    os.close(reading)
    assert len(book.broken) == 1
    assert book.synced == [1]
    assert book.recovered() == {1}


async def test_one_broken_journal_leaves_its_neighbours_alone(
    book: Book, writer: JournalWriter, tmp_path: Path
) -> None:
    other = Book(tmp_path / "other", writer)
    other.folder.mkdir()
    await other.journal.open()
    os.dup2(os.open(os.devnull, os.O_RDONLY), descriptor_of(book.path(1)))
    book.answered(1)
    other.answered(2)
    await book.until_broken()
    await other.journal.drain()
    assert (other.synced, other.broken, book.synced) == ([2], [], [])
    other.journal.close()


async def test_breaking_again_and_again_loses_and_doubles_nothing(book: Book) -> None:
    rows: set[int] = set()
    for times in range(1, 6):
        with files_limited_to(len(MAGIC) + 40 * times):
            while len(book.broken) < times:
                rows |= book.answered(len(rows))
                await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                await book.reopen()
    await book.reopen()
    await book.journal.drain()
    assert book.recovered() == rows
    assert book.synced == sorted(rows)


async def test_a_disk_too_full_for_a_new_journal_leaves_no_name_behind(
    tmp_path: Path, writer: JournalWriter
) -> None:
    book = Book(tmp_path, writer)
    with files_limited_to(3), pytest.raises(OSError, match="short write"):
        await book.journal.open()
    await book.journal.open()
    book.answered(0)
    await book.journal.drain()
    assert book.recovered() == {0}
    book.journal.close()


async def test_a_closed_journal_lets_its_file_go(book: Book, writer: JournalWriter) -> None:
    book.answered(0)
    await book.journal.drain()
    book.journal.close()
    await writer.aclose()
    with pytest.raises(AssertionError, match="not open"):
        descriptor_of(book.path(1))
