"""Leases in process: the store behind the protocol every worker speaks."""

from collections.abc import Sequence

from nightkiln.core.chunk import Lease, Sealed
from nightkiln.core.errors import NotFound
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.job import Job, Live
from nightkiln.service.context import Context
from nightkiln.store import chunks, jobs


class LocalLeases:
    """Implements `worker.base.Leases` for a worker in this process."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def job(self, job: JobId) -> Job:
        """The job as it stands now. Raises NotFound."""
        found = await self._context.store.read(lambda tx: jobs.find(tx, job))
        if found is None:
            raise NotFound(f"job {job} is gone")
        return found

    async def lease(
        self,
        job: JobId,
        *,
        run: RunId,
        want: int,
        request_id: str,
        among: Sequence[int] | None = None,
    ) -> list[Lease]:
        """Open chunks in row order, each under a new epoch."""
        return await self._context.store.write(
            lambda tx: chunks.lease(tx, job, run=run, want=want, request_id=request_id, among=among)
        )

    async def raise_epoch(self, lease: Lease) -> Lease:
        """The same chunk under the next epoch. Raises Fenced, DiskError."""
        return await self._context.store.write(lambda tx: chunks.raise_epoch(tx, lease))

    async def release(self, lease: Lease) -> None:
        """Give a chunk back."""
        await self._context.store.write(lambda tx: chunks.release(tx, lease))

    async def commit(self, lease: Lease, sealed: Sealed, *, backend: str) -> None:
        """Make a written part real. Raises Fenced, DiskError."""
        now = self._context.clock()
        await self._context.store.write(
            lambda tx: chunks.commit(tx, lease, sealed, now=now, backend=backend)
        )

    async def report(self, job: JobId, live: Live) -> None:
        """The runner's last word on a job."""
        await self._context.store.write(lambda tx: jobs.set_live(tx, job, live))
