"""From a lease to a chunk in work: its rows, its journals, its prompts."""

import os
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import msgspec
import pyarrow as pa

from nightkiln.core.chunk import Chunk, Lease
from nightkiln.core.fault import Fault
from nightkiln.core.job import Job
from nightkiln.core.request import Prompt
from nightkiln.core.reuse import Kept
from nightkiln.tables.badrows import fault_of, restored
from nightkiln.tables.prompts import Renderer
from nightkiln.vault.durable import disk_errors
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import read_part
from nightkiln.vault.recovery import Recovered, recover
from nightkiln.vault.segments import ChunkInput, InputReader
from nightkiln.worker.reusing import Reuse


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease is about, read from disk."""

    lease: Lease
    prompts: dict[int, Prompt]  # of the rows that need an answer in this generation
    bad: dict[int, Fault]  # rows that could not be read: this is their answer, nothing is asked
    ids: dict[int, str]  # custom ids by row, where there are any
    base: pa.Table | None  # the earlier generation's answers that stay
    recovered: Recovered
    keys: dict[int, bytes] = {}  # the requests of rows that an identical one may answer
    known: dict[int, Kept] = {}  # and those that one has answered already


class Opener:
    """Opens leases of one job. Runs in a thread; one call at a time."""

    def __init__(self, job: Job, files: JobFiles, *, reuse: Reuse | None = None) -> None:
        self._files = files
        self._reuse = reuse
        self._input = InputReader(files)
        self._again = frozenset(job.retry_classes)  # empty: every class
        self._renderer = Renderer(job.spec.prompt, job.columns, job.spec.source.kind)

    def open(self, lease: Lease) -> Opened:
        """Read what a lease is about. Raises DiskError."""
        with disk_errors("reading a chunk"):
            return self._open(lease)

    def _open(self, lease: Lease) -> Opened:
        chunk = lease.chunk
        # What a committed epoch journalled is in its part; a crash may have left the files.
        done = chunk.committed_epoch or 0
        journals = [one for one in self._files.journals_of(chunk.number) if one[0] > done]
        _sync([path for _, path in journals])
        rows = range(chunk.first_row, chunk.first_row + chunk.rows)
        given = self._input.read(chunk)
        bad = {rows[index]: fault_of(restored(text)) for index, text in given.bad.items()}
        prompts, failed = self._prompts(rows, given)
        bad |= failed
        ids = {} if given.ids is None else dict(zip(rows, given.ids.to_pylist(), strict=True))
        base = self._base(chunk)
        if base is not None:
            for row in base.column("row").to_pylist():
                prompts.pop(row, None)
                bad.pop(row, None)
        opened = Opened(
            lease=lease,
            prompts=prompts,
            bad=bad,
            ids=ids,
            base=base,
            recovered=recover(journals),
        )
        return opened if self._reuse is None else self._with_known(opened, self._reuse)

    def _with_known(self, opened: Opened, reuse: Reuse) -> Opened:
        """The same with what identical requests mean for it."""
        keys = reuse.keys_of(opened.prompts)
        answered = opened.recovered.answers
        known = reuse.find({row: key for row, key in keys.items() if row not in answered})
        return msgspec.structs.replace(opened, keys=keys, known=known)

    def _prompts(
        self, rows: range, given: ChunkInput
    ) -> tuple[dict[int, Prompt], dict[int, Fault]]:
        """The prompts of the good rows, and of some the reason why there is none this time."""
        good, table = list(rows), given.rows
        if given.bad:
            keep = [index not in given.bad for index in range(len(rows))]
            good, table = list(compress(rows, keep)), table.filter(pa.array(keep))
        made = dict(zip(good, self._renderer.rendered(table), strict=True))
        failed = {row: one for row, one in made.items() if isinstance(one, Fault)}
        prompts = {row: one for row, one in made.items() if not isinstance(one, Fault)}
        return prompts, failed

    def _base(self, chunk: Chunk) -> pa.Table | None:
        """The rows of the committed part that this generation keeps.

        Those with a result, and with faults of classes that are not asked again.
        """
        if chunk.committed_epoch is None:
            return None
        part = read_part(self._files.part(chunk.number, chunk.committed_epoch))
        faults = part.column("fault").to_pylist()
        kept = [self._keeps(fault) for fault in faults]
        return part.filter(pa.array(kept, type=pa.bool_()))  # a part may have no rows at all

    def _keeps(self, fault: str | None) -> bool:
        return fault is None or (bool(self._again) and fault not in self._again)

    def close(self) -> None:
        """Close the input."""
        self._input.close()


def _sync(journals: Sequence[Path]) -> None:
    """Make sure of what an earlier epoch left in the page cache: it counts as progress now."""
    for path in journals:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
