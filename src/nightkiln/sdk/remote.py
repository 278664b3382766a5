"""A server as the SDK's keeper of jobs. It runs them; nothing of a job is in this process.

Rows go there as a file that is let go of once the job has it. Requests block, so each
runs in a thread. Leaving leaves the jobs alone: they go on at the server.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pyarrow as pa

from nightkiln.app.choice import PILOT, is_model_file
from nightkiln.core.errors import HomeBusy, IllegalMove, NotFound, UsageError
from nightkiln.core.events import JobView, Opening, Planned, Progressed
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.job import Job, JobState
from nightkiln.sdk.base import Accepted, Following
from nightkiln.sdk.connection import Query, Server, open_sized
from nightkiln.sdk.resting import rests
from nightkiln.sdk.sending import sendable
from nightkiln.service import api, planning, submit
from nightkiln.service.arriving import FromFile, FromUrl
from nightkiln.service.fetching import is_url
from nightkiln.service.framing import Answered
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order, Staged
from nightkiln.service.sources import kind_of, located
from nightkiln.service.staging import origin_in, stage
from nightkiln.service.viewing import progress_of
from nightkiln.tables.formats import TEXTUAL, compression_of
from nightkiln.tables.frames import Frame
from nightkiln.vault.durable import make_dir
from nightkiln.vault.home import Home

T = TypeVar("T")
POLL_S: Final = 0.3
_OBEY_S: Final = 60.0
_UPLOAD_LIVES_S: Final = 86_400.0  # of rows that no job takes, because we are gone
_FRAME: Final = "rows.parquet"


class RemoteKiln:
    """Implements `base.Kiln` over the native API of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    # -- submitting

    def stage(self, frame: Frame) -> Staged:
        """Send a frame's rows to the server, in the caller's thread."""
        with tempfile.TemporaryDirectory(prefix="nightkiln-") as folder:
            home = Home(Path(folder))
            make_dir(home.spool)
            staged = stage(home, frame)
            sent = self._send(Path(staged.path), _FRAME)
        return msgspec.structs.replace(staged, path=sent)

    def unstage(self, staged: Staged) -> None:
        """Let go of rows; a job that took them keeps them."""
        self._drop(staged.path)

    def _send(self, path: Path, name: str) -> str:
        file, size = open_sized(path)
        with file:
            query: Query = {"name": name, "lives_s": _UPLOAD_LIVES_S}
            return self._server.send("/files", api.FileObject, file, size, query=query).id

    def _drop(self, file: str) -> None:
        with contextlib.suppress(NotFound):  # gone already is fine
            self._server.ask("DELETE", f"/files/{file}", api.Deleted)

    async def head(self, order: Order) -> tuple[str, ...]:
        """The columns of an order's input file, which is on this machine."""
        if is_url(order.input):
            raise UsageError(
                "the columns at a URL are not looked up before the server has it",
                hint="name the column, or give a prompt with {column} in it",
            )
        kind = kind_of(order.input, order.input_format)
        source = submit.described(
            order,
            kind=kind,
            path=located(order.input, kind),
            name=order.input,
            content=("", 0),
            spooled=False,
            compression=compression_of(order.input, order.input_format)
            if kind in TEXTUAL
            else None,
        )
        return await planning.head_columns(source)

    async def plan(self, order: Order) -> Planned:
        """What `submit` would do."""
        return await self._posted("/jobs/plan", order, Planned)

    async def estimate(self, order: Order, assumed: Assumed) -> Estimate:
        """What an order will take, as the server knows it; nobody is asked."""
        said = msgspec.structs.asdict(assumed)
        return await self._posted("/jobs/estimate", order, Estimate, query=said)

    async def submit(self, order: Order) -> Accepted:
        """Accept a job; the server works on it."""
        said = await self._posted("/jobs", order, api.Submitted)
        return Accepted(
            job=said.job.id,
            how=said.how,
            rows=said.job.rows,
            reused=said.reused,
            notices=said.notices,
        )

    async def _posted(
        self, path: str, order: Order, kind: type[T], *, query: Query | None = None
    ) -> T:
        """Send an order with its rows, and let go of those."""
        file: str | None = None
        rows: FromUrl | FromFile
        try:
            if order.staged is not None:
                file = order.staged.path
                rows = FromFile(id=file, framed=True)
            elif is_url(order.input):
                rows = FromUrl(url=order.input)
            else:
                file = await asyncio.to_thread(self._sent, order)
                rows = FromFile(id=file)
            new = api.asked_for(_for_elsewhere(order), rows)
            return await self._ask("POST", path, kind, query=query, body=new)
        finally:
            if file is not None:
                await asyncio.to_thread(self._drop, file)

    def _sent(self, order: Order) -> str:
        """The id of an input file that was sent."""
        with sendable(order) as (path, name):
            return self._send(path, name)

    # -- looking

    async def view(self, name: str) -> JobView:
        """A job by its id, the beginning of one, or `last`."""
        return api.view_of(await self._ask("GET", f"/jobs/{name}", api.JobObject))

    async def jobs(self, *, limit: int) -> list[JobView]:
        """The newest jobs, newest first."""
        found: list[JobView] = []
        after: str | None = None
        while len(found) < limit:
            query: Query = {"limit": min(limit - len(found), 1000), "after": after}
            page = await self._ask("GET", "/jobs", api.Page[api.JobObject], query=query)
            found += [api.view_of(one) for one in page.data]
            if (after := page.after) is None:
                break
        return found

    async def follow(self, job: str, *, seen: Progressed | None, wait_s: float) -> Following:
        """How a job stands, after a while."""
        if seen is not None:
            await asyncio.sleep(min(wait_s, POLL_S))
        view = await self.view(job)
        return Following(
            view=view,
            progress=progress_of(view.job, now=view.job.created_at),
            active=not (view.job.state.is_terminal or rests(view)),
        )

    async def answered(self, job: str, *, partial: bool = False) -> Answered:
        """The rows and answers of an ended job, or what there is of them."""
        view = await self.view(job)
        inputs = await asyncio.to_thread(self._table, f"/jobs/{job}/inputs", partial=partial)
        answers = await asyncio.to_thread(self._table, f"/jobs/{job}/answers", partial=partial)
        return Answered(
            job=view.job, inputs=inputs, answers=answers, origin=origin_in(inputs.schema)
        )

    def _table(self, path: str, *, partial: bool) -> pa.Table:
        data = self._server.fetch(path, query={"partial": partial})
        if not data:
            return pa.table({})
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()

    # -- moving

    async def cancel(self, job: str) -> JobView:
        """End a job early; its answers are kept."""
        view = await self._obeyed(job, "cancel", lambda found: found.state.is_terminal)
        return _as_asked(view, JobState.CANCELLED)

    async def pause(self, job: str) -> JobView:
        """Let a job rest until it is resumed."""
        view = await self._obeyed(
            job,
            "pause",
            lambda found: found.state.is_terminal or found.state is JobState.PAUSED,
        )
        return _as_asked(view, JobState.PAUSED)

    async def _obeyed(self, job: str, verb: str, done: Callable[[Job], bool]) -> JobView:
        """The job once it has done as it was told. Raises HomeBusy when that takes too long."""
        name = (await self._ask("POST", f"/jobs/{job}/{verb}", api.JobObject)).id
        until = asyncio.get_running_loop().time() + _OBEY_S
        while not done((view := await self.view(name)).job):
            if asyncio.get_running_loop().time() > until:
                raise HomeBusy(
                    f"the server has not obeyed for {_OBEY_S:.0f} s",
                    hint=f"the {verb} stays asked for; look again with jobs show",
                )
            await asyncio.sleep(POLL_S)
        return view

    async def resume(self, job: str, changes: Changes) -> Accepted:
        """Let a job go on at the server, as it was run last but for the changes."""
        going = _going(changes)
        shown = await self._ask("POST", f"/jobs/{job}/resume", api.JobObject, body=going)
        return _attached(shown)

    async def retry(self, job: str, *, classes: tuple[str, ...], changes: Changes) -> Accepted:
        """Open the rows without a result again; the server asks them."""
        going = _going(changes)
        wanted = api.Retrying(classes=classes)
        shown = await self._ask("POST", f"/jobs/{job}/retry", api.JobObject, body=wanted)
        if going != api.Going():
            return await self.resume(shown.id, changes)
        return _attached(shown)

    async def aclose(self) -> tuple[str, ...]:
        """Nothing to stop: jobs go on at the server."""
        return ()

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: object = None,
    ) -> T:
        ask = partial(self._server.ask, method, path, kind, query=query, body=body)
        return await asyncio.to_thread(ask)


def _for_elsewhere(order: Order) -> Order:
    """An order whose model file is named so that it means the same in another folder."""
    model = order.model
    if model in (None, PILOT) or model.startswith("hf:") or not is_model_file(model):
        return order
    return msgspec.structs.replace(order, model=str(Path(model).expanduser().absolute()))


def _going(changes: Changes) -> api.Going:
    if changes.headers:
        raise UsageError(
            "a server keeps no values of headers, and so takes none",
            hint="configure them at the server, under [endpoints.NAME.headers]",
        )
    return msgspec.convert(changes, api.Going, from_attributes=True)


def _attached(shown: api.JobObject) -> Accepted:
    reused = shown.totals.answered
    return Accepted(job=shown.id, how=Opening.ATTACHED, rows=shown.rows, reused=reused)


def _as_asked(view: JobView, to: JobState) -> JobView:
    """The job, if it went where it was told to. Raises IllegalMove."""
    if view.job.state is not to:
        raise IllegalMove(view.job.id, str(view.job.state), str(to), hint="it was over before")
    return view
