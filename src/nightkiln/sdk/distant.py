"""The verbs of the command line over a server: jobs go on there whatever becomes of us.

A run submits, shows how far the job is, and writes the output on this machine once
the job is over. Being told to stop only ends the watching.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

import msgspec

from nightkiln.app.duties import is_capped, is_tried
from nightkiln.core.errors import (
    IllegalMove,
    JobFailed,
    NotFound,
    UsageError,
    WaitTimeout,
)
from nightkiln.core.events import (
    Ended,
    FaultSample,
    JobView,
    Noticed,
    Opened,
    Opening,
    Planned,
    Progressed,
)
from nightkiln.core.forecast import Assumed, Estimate, Trial
from nightkiln.core.job import Job, JobState
from nightkiln.sdk.base import Accepted
from nightkiln.sdk.connection import Query, Server
from nightkiln.sdk.remote import RemoteKiln
from nightkiln.sdk.resting import rests
from nightkiln.sdk.saving import save_bad_rows, save_table
from nightkiln.sdk.verbs import Listener
from nightkiln.service import api, badrows
from nightkiln.service.cleaning import Cleaned, OldJob, clean
from nightkiln.service.faultreport import FaultReport, Wish
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order
from nightkiln.service.selection import EVERYTHING, Selection
from nightkiln.service.summary import cost_usd_of
from nightkiln.service.viewing import progress_of

WATCH_S: Final = 0.5
_TRIAL_S: Final = 10.0
_SHORT_S: Final = 0.001


class Distant:
    """Implements `verbs.Doing` over a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kiln = RemoteKiln(server)

    # -- looking

    async def jobs(self, *, limit: int = 50) -> list[JobView]:
        """The newest jobs, newest first."""
        return await self._kiln.jobs(limit=limit)

    async def job(self, name: str) -> JobView:
        """A job by its id, a unique beginning of it, or `last`."""
        return await self._kiln.view(name)

    async def export(
        self,
        name: str,
        output: str,
        output_format: str | None,
        *,
        excel_safe: bool = False,
        wanted: Selection = EVERYTHING,
        notice: Callable[[str], None] | None = None,  # noqa: ARG002 - workbooks alone have any
    ) -> int:
        """Download a job's table, or what is wanted of it; the number of rows."""
        job = (await self.job(name)).job
        save = partial(
            save_table,
            self._server,
            job,
            output,
            output_format,
            excel_safe=excel_safe,
            wanted=wanted,
        )
        return await asyncio.to_thread(save)

    async def faults(self, name: str, wish: Wish) -> FaultReport:
        """The row errors of a job."""
        query: Query = {
            "rows": wish.rows,
            "fault": sorted(wish.classes),
            "show_input": wish.show_input,
        }
        path = f"/jobs/{name}/faults"
        return await asyncio.to_thread(self._server.ask, "GET", path, FaultReport, query=query)

    async def bad_rows(self, name: str) -> int:
        """How many rows of a job are never asked."""
        path = f"/jobs/{name}/bad-rows"
        return (await asyncio.to_thread(self._server.ask, "GET", path, api.BadRows)).count

    async def old_jobs(self, *, states: AbstractSet[JobState], older_than_s: float) -> list[OldJob]:
        """Jobs that ended so in this long, oldest first."""
        query: Query = {"older_than_s": older_than_s, "state": sorted(states)}
        ask = partial(self._server.ask, "GET", "/old-jobs", api.OldJobs, query=query)
        return list((await asyncio.to_thread(ask)).data)

    async def watch(
        self, name: str, *, listen: Callable[[Progressed], None], stop: asyncio.Event
    ) -> JobView:
        """Follow a job until it is over, rests, or `stop` is set."""
        view = await self.job(name)
        while not (view.job.state.is_terminal or rests(view) or stop.is_set()):
            listen(progress_of(view.job, now=view.job.created_at))
            await _told(stop, WATCH_S)
            view = await self.job(view.job.id)
        listen(progress_of(view.job, now=view.job.created_at))
        return view

    # -- doing

    async def plan(self, order: Order) -> Planned:
        """What `run` would do."""
        return await self._kiln.plan(order)

    async def estimate(self, order: Order, assumed: Assumed) -> Estimate:
        """What an order will take."""
        return await self._kiln.estimate(order, assumed)

    async def run(self, order: Order, *, listen: Listener, stop: asyncio.Event) -> Ended:
        """Submit, and stay until the job is over; when told to stop it goes on there."""
        if order.bad_rows is not None:
            badrows.check_output(order.bad_rows, source_path=order.input, results=order.output)
        accepted = await self._kiln.submit(order)
        return await self._stayed(accepted, order, listen=listen, stop=stop)

    async def resume(
        self, name: str, changes: Changes, *, listen: Listener, stop: asyncio.Event
    ) -> Ended:
        """Let a job go on there, and stay until it is over."""
        accepted = await self._resumed(name, changes)
        job = (await self.job(accepted.job)).job
        order = Order(
            input="",
            output=changes.output,
            output_format=changes.output_format,
            excel_safe=changes.excel_safe,
            prompt=job.spec.prompt,
            model=job.spec.model,
            wait_s=changes.wait_s,
        )
        return await self._stayed(accepted, order, listen=listen, stop=stop)

    async def _resumed(self, name: str, changes: Changes) -> Accepted:
        """Let a job go on; one that came to its end since its retry is only looked at."""
        try:
            return await self._kiln.resume(name, changes)
        except IllegalMove:
            job = (await self.job(name)).job
            if not job.state.is_terminal or job.generation != changes.generation:
                raise
            reused = job.totals.answered
            return Accepted(job=job.id, how=Opening.ATTACHED, rows=job.rows, reused=reused)

    async def _stayed(
        self, accepted: Accepted, order: Order, *, listen: Listener, stop: asyncio.Event
    ) -> Ended:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for notice in accepted.notices:
            listen(Noticed(text=notice))
        tries = order.try_rows is not None
        view = await self.job(accepted.job)
        listen(
            Opened(
                job=view.job.id,
                how=accepted.how,
                state=view.job.state,
                rows=view.job.rows,
                reused=accepted.reused,
            )
        )
        patience = _Patience(order.wait_s, listen)
        while not (view.job.state.is_terminal or rests(view) or stop.is_set()):
            listen(progress_of(view.job, now=view.job.created_at))
            patience.look(view.job, now=loop.time())
            await _told(stop, WATCH_S)
            view = await self.job(view.job.id)
        if order.bad_rows is not None and (view.job.rows or view.job.state.is_terminal):
            await asyncio.to_thread(save_bad_rows, self._server, view.job, order.bad_rows)
        if view.job.state is JobState.FAILED:
            why = f"job {view.job.id} failed: {view.job.reason}"
            raise JobFailed(why, hint="mend the input, run again")
        if view.parked and not is_capped(view.job):
            raise UsageError(
                f"job {view.job.id} cannot be run there: {view.job.reason}",
                hint=f"mend what is wrong, then nightkiln jobs resume {view.job.id}",
            )
        output = order.output if view.job.state.is_terminal and view.job.rows else None
        if output is not None:
            await self.export(view.job.id, output, order.output_format, excel_safe=order.excel_safe)
        ended = await self._ended(view, accepted, loop.time() - began, output=output)
        tried = await self._tried(view.job) if tries and is_tried(view.job) else None
        return msgspec.structs.replace(ended, bad_rows=order.bad_rows, trial=tried)

    async def _tried(self, job: Job) -> Trial:
        """What a trial showed, which is kept a moment after the job says that it waits."""
        until = asyncio.get_running_loop().time() + _TRIAL_S
        while True:
            try:
                path = f"/jobs/{job.id}/trial"
                return await asyncio.to_thread(self._server.ask, "GET", path, Trial)
            except NotFound:
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(WATCH_S)

    async def _ended(
        self, view: JobView, accepted: Accepted, elapsed_s: float, *, output: str | None
    ) -> Ended:
        job, over = view.job, max(elapsed_s, _SHORT_S)
        samples: tuple[FaultSample, ...] = ()
        if job.state.is_terminal and job.totals.failed:
            samples = tuple(
                FaultSample(
                    fault=one.fault,
                    count=one.count,
                    row=-1 if one.row is None else one.row,
                    message=one.message,
                    fix=one.action,
                )
                for one in (await self.faults(job.id, Wish())).faults
            )
        bad = await self.bad_rows(job.id) if job.rows else 0
        fresh = max(0, job.totals.answered - accepted.reused)
        tokens = job.spent.input_tokens + job.spent.output_tokens
        return Ended(
            job=job.id,
            state=job.state,
            reason=job.reason,
            rows=job.rows,
            reused=accepted.reused,
            totals=job.totals,
            spent=job.spent,
            elapsed_s=elapsed_s,
            rows_per_s=fresh / over,
            tokens_per_s=tokens / over if fresh else 0.0,
            cost_usd=cost_usd_of(job),
            faults=samples,
            output=output,
            bad=bad,
            model=job.spec.model,
            capped=is_capped(job),
            skipped=min(bad, job.totals.failed) if job.spec.source.on_bad_row == "skip" else 0,
            shares=view.shares,
        )

    async def cancel(self, name: str) -> JobView:
        """Cancel a job and return when it is cancelled."""
        return await self._kiln.cancel(name)

    async def pause(self, name: str) -> JobView:
        """Pause a job and return when it rests."""
        return await self._kiln.pause(name)

    async def retry(self, name: str, *, classes: AbstractSet[str] = frozenset()) -> JobView:
        """Open the rows without a result again; the server asks them at once."""
        wanted = tuple(sorted(classes))
        accepted = await self._kiln.retry(name, classes=wanted, changes=Changes())
        return await self.job(accepted.job)

    async def delete(self, name: str) -> None:
        """Remove a job, its results and its files."""
        ask = self._server.ask  # which deletes by the whole id only
        found = await asyncio.to_thread(ask, "GET", f"/jobs/{name}", api.JobObject)
        await asyncio.to_thread(ask, "DELETE", f"/jobs/{found.id}", api.Deleted)

    async def clean(self, old: list[OldJob]) -> Cleaned:
        """Remove old jobs; those in use are kept."""
        return await clean(self.delete, old)


class _Patience:
    """How long a job may stand still before a command that nobody watches gives up."""

    def __init__(self, wait_s: float | None, listen: Listener) -> None:
        self._wait_s = wait_s
        self._listen = listen
        self._why = ""
        self._since: float | None = None

    def look(self, job: Job, *, now: float) -> None:
        """Say why a job waits, once for each reason. Raises WaitTimeout."""
        if job.state is not JobState.PAUSED:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if job.reason and job.reason != self._why:
            self._why = job.reason
            self._listen(Noticed(text=f"job {job.id} waits: {job.reason}"))
        if self._wait_s is not None and now - self._since > self._wait_s:
            raise WaitTimeout(
                f"job {job.id} waited long enough: {job.reason}",
                hint=f"it goes on at the server; nightkiln jobs watch {job.id}",
            )


async def _told(stop: asyncio.Event, wait_s: float) -> None:
    """Wait a moment, or until the stop."""
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        pass
