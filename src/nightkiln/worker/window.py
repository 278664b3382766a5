"""The open window: the chunks a runner has leased and is working on.

Enough chunks stay open that unanswered rows never fall below twice the slots,
so no chunk's tail stalls the rest; one set of slots serves all of them. A byte
cap keeps large rows from filling memory.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

from nightkiln.core import crashpoints
from nightkiln.core.chunk import Lease, Sealed
from nightkiln.core.errors import DiskError
from nightkiln.core.request import Prompt, WireBody
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.dispatch.tally import Tally
from nightkiln.vault.durable import as_disk_error, disk_errors
from nightkiln.vault.frames import Answered
from nightkiln.vault.journal import Journal, JournalWriter, Note
from nightkiln.worker.base import Desk
from nightkiln.worker.opening import Opened, Opener
from nightkiln.worker.sealing import clean, seal

WINDOW_BYTES: Final = 32 * 1024 * 1024  # of prompts in open chunks
_LEASE_AT_ONCE: Final = 8
_HEAL_S: Final = 1.0  # between tries to get a working journal again


class Window:
    """Opens, heals and closes chunks. Owned by a runner, on its event loop."""

    def __init__(self, desk: Desk, *, form: Form, tally: Tally) -> None:
        self.open: dict[int, OpenChunk] = {}
        self.troubles: dict[str, DiskError] = {}  # the disk's, while they last, by what met them
        self._job = desk.job
        self._run = desk.run
        self._leases = desk.leases
        self._files = desk.files
        self._clock = desk.dice.clock
        self._form = form
        self._tally = tally
        self._reuse = desk.reuse
        self._heard = desk.heard
        self._opener = Opener(desk.job, desk.files, reuse=desk.reuse)
        self._writer = JournalWriter()
        self._opened: dict[int, Opened] = {}
        self._bytes: dict[int, int] = {}
        self._healing: dict[int, asyncio.Task[None]] = {}
        self._requests = itertools.count()
        self._leased: list[Lease] = []  # ours, not opened yet
        self._spoiled = False  # a try to open the first of them may have left a file

    @property
    def trouble(self) -> DiskError | None:
        """What the disk refuses now, or None."""
        return next(iter(self.troubles.values()), None)

    @property
    def unanswered(self) -> int:
        """Rows without an answer over all open chunks."""
        return sum(chunk.unanswered for chunk in self.open.values())

    @property
    def is_full(self) -> bool:
        """True when the prompts of open chunks take all the memory they may."""
        return sum(self._bytes.values()) >= WINDOW_BYTES

    async def lease_more(self, want: int, *, among: Sequence[int] | None = None) -> list[OpenChunk]:
        """Lease and open some chunks, at most `want`; an empty list when there are no more.

        Raises DiskError when none could be opened; their leases are kept for the next call.
        """
        if not self._leased:
            self._leased = await self._leases.lease(
                self._job.id,
                run=self._run,
                want=min(want, _LEASE_AT_ONCE),
                request_id=f"{self._run}.{next(self._requests)}",
                among=among,
            )
            crashpoints.reach("chunk.leased")
        opened: list[OpenChunk] = []
        while self._leased:
            try:
                chunk = await self._open_first()
            except DiskError:
                if not opened:
                    raise
                return opened  # these can begin; the next call meets the disk again
            opened.append(chunk)
            del self._leased[0]
        return opened

    async def _open_first(self) -> OpenChunk:
        """Open the first lease; after a failed try under a new epoch: a file has one writer."""
        if self._spoiled:
            self._leased[0] = await self._leases.raise_epoch(self._leased[0])
        self._spoiled = True
        chunk = await self._open(self._leased[0])
        self._spoiled = False
        return chunk

    async def _open(self, lease: Lease) -> OpenChunk:
        opened = await asyncio.to_thread(self._opener.open, lease)
        number = lease.chunk.number
        journal = Journal(
            self._writer,
            self._files.journal_of(number, lease.chunk.epoch),
            clock=self._clock,
            on_synced=lambda notes: self._count(number, notes),
            on_broken=lambda error: self._broken(number, error),
        )
        with disk_errors("opening a journal"):
            await journal.open()
        chunk = OpenChunk(
            lease,
            journal,
            prompts=opened.prompts,
            form=self._form,
            recovered=opened.recovered,
            bad=opened.bad,
        )
        chunk.keys = opened.keys
        for answer in chunk.known_answers():
            self._tally.add(answer)
        self._tally.not_asked += len(opened.bad)
        self.open[number] = chunk
        self._share(chunk, opened)
        self._opened[number] = opened
        self._bytes[number] = sum(map(_size, opened.prompts.values()))
        return chunk

    def _share(self, chunk: OpenChunk, opened: Opened) -> None:
        """Take over what identical requests were answered, and keep what a lost run was."""
        if self._reuse is not None:
            self._reuse.keep(chunk.known_shared())
        for row, kept in opened.known.items():
            chunk.reused(row, kept)

    def _count(self, number: int, notes: list[Note]) -> None:
        """These are safe: they count, and others may have them."""
        answers = [note for note in notes if isinstance(note, Answered)]
        for answer in answers:
            self._tally.add_fresh(answer)
        if self._heard is not None:
            self._heard.note(answers)
        if self._reuse is not None and number in self.open:
            self._reuse.keep(self.open[number].shared(answers))

    # -- a journal that broke

    def _broken(self, number: int, error: OSError) -> None:
        self.troubles["journal"] = as_disk_error(error, "writing a journal")
        loop = asyncio.get_running_loop()
        self._healing[number] = loop.create_task(self._heal(number), name=f"heal chunk {number}")

    async def _heal(self, number: int) -> None:
        """Go on under a new epoch as soon as the disk allows."""
        chunk = self.open[number]
        while True:
            try:
                chunk.lease = await self._leases.raise_epoch(chunk.lease)
                await chunk.journal.reopen(self._files.journal_of(number, chunk.lease.chunk.epoch))
            except (OSError, DiskError):
                await asyncio.sleep(_HEAL_S)
            else:
                del self._healing[number]
                if not self._healing:
                    self.troubles.pop("journal", None)
                return

    def check_healing(self) -> None:
        """Raise what ended a healing for good (Fenced), or a thread of the journals (a bug)."""
        if self._writer.failed is not None:
            raise self._writer.failed
        for task in self._healing.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # -- the end of a chunk

    async def seal(self, chunk: OpenChunk, *, backend: str) -> None:
        """Write the chunk's part, make it real and clean up. Raises DiskError, Fenced."""
        opened = self._opened[chunk.lease.chunk.number]
        await chunk.journal.drain()
        lease = chunk.lease  # as it is after the drain: a broken journal raises the epoch
        sealed = await asyncio.to_thread(self._sealed, chunk, lease, opened)
        await self._leases.commit(lease, sealed, backend=backend)
        crashpoints.reach("part.committed")
        await asyncio.to_thread(clean, self._files, lease)
        self._forget(chunk)

    def _sealed(self, chunk: OpenChunk, lease: Lease, opened: Opened) -> Sealed:
        """Runs in a thread: a thousand answers at once would stall the loop for milliseconds."""
        return seal(
            self._files,
            lease,
            answers=chunk.answers(),
            attempts=list(chunk.all_attempts()),
            ids=opened.ids,
            base=opened.base,
        )

    async def leave(self, chunk: OpenChunk) -> None:
        """Give a chunk back unfinished, everything it has journalled safe."""
        await chunk.journal.drain()
        self._forget(chunk)
        await self._leases.release(chunk.lease)

    def _forget(self, chunk: OpenChunk) -> None:
        number = chunk.lease.chunk.number
        chunk.journal.close()
        self.open.pop(number, None)
        self._opened.pop(number, None)
        self._bytes.pop(number, None)

    async def aclose(self) -> None:
        """Stop healing and the journal's threads; what is open stays journalled."""
        for task in self._healing.values():
            task.cancel()
        await asyncio.gather(*self._healing.values(), return_exceptions=True)
        for chunk in list(self.open.values()):
            self._forget(chunk)
        await self._writer.aclose()
        self._opener.close()


def _size(prompt: Prompt) -> int:
    if isinstance(prompt, WireBody):
        return len(prompt.json)
    return len(prompt) if isinstance(prompt, str) else memoryview(prompt).nbytes
