"""What a worker needs from whoever hands out work.

`service` implements this in process; an SDK client implements it over HTTP.
Every call may be repeated: `lease` carries a request id, `commit` of the same
epoch and sha256 is the same commit.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from nightkiln.core.chunk import Lease, Sealed
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.job import Job, Live
from nightkiln.dispatch.member import Dice
from nightkiln.vault.home import JobFiles
from nightkiln.worker.heard import Heard
from nightkiln.worker.reusing import Reuse


class Leases(Protocol):
    """The control plane as a worker sees it."""

    async def job(self, job: JobId) -> Job:
        """The job as it stands now, with what is wanted of it. Raises NotFound."""
        ...

    async def lease(
        self,
        job: JobId,
        *,
        run: RunId,
        want: int,
        request_id: str,
        among: Sequence[int] | None = None,
    ) -> list[Lease]:
        """Up to `want` open chunks in row order (of `among`), each under a new epoch."""
        ...

    async def raise_epoch(self, lease: Lease) -> Lease:
        """The same chunk under the next epoch, after a journal broke. Raises Fenced."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a chunk back unfinished; its journal stays. Fenced leases are ignored."""
        ...

    async def commit(self, lease: Lease, sealed: Sealed, *, backend: str) -> None:
        """Make a written part real. Raises Fenced when the epoch is not current.

        `backend` is whom the ledger books the spending on.
        """
        ...

    async def report(self, job: JobId, live: Live) -> None:
        """The runner's last word on a job, for watchers in other processes."""
        ...


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """Where one run works: on which job, under which name, with whose leases and files."""

    job: Job  # as it was when the run began
    run: RunId
    leases: Leases
    files: JobFiles
    dice: Dice
    reuse: Reuse | None = None  # None: no row may have the answer of an identical one
    heard: Heard | None = None  # None: it is known which model answers
