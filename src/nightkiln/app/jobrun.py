"""One job worked on by this process, from wherever it stands to wherever it ends."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from nightkiln.app import parts
from nightkiln.app.finishing import desk_of, finish_cancel, finish_now
from nightkiln.app.forecasting import trial_of
from nightkiln.app.reusing import reusing
from nightkiln.core.errors import (
    DiskError,
    IllegalMove,
    InputError,
    JobFailed,
    NightkilnError,
    NotFound,
    UsageError,
    WaitTimeout,
)
from nightkiln.core.events import Ended, Noticed, Opened, Opening, Progressed
from nightkiln.core.forecast import Trial
from nightkiln.core.ids import RunId
from nightkiln.core.job import Job, JobState, Live, Wanted
from nightkiln.core.usage import Totals
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.tally import Tally
from nightkiln.dispatch.turns import Turnstiles
from nightkiln.service import badrows, moves, summary, trials
from nightkiln.service.context import Context
from nightkiln.service.ingest import Stopped, ingest
from nightkiln.service.orders import Order
from nightkiln.service.outputs import STDOUT
from nightkiln.service.results import export
from nightkiln.service.sampling import choose_rows
from nightkiln.store import jobs
from nightkiln.worker import trial
from nightkiln.worker.base import Desk
from nightkiln.worker.heard import Heard
from nightkiln.worker.reusing import Reuse
from nightkiln.worker.runner import Ending, Runner, RunSettings

INTERRUPTED = "interrupted"
CAPPED = "raise the cap to go on"  # how the reason of a job ends that a cap has stopped
TRIED = "rows were tried"  # how the reason of a job ends that waits for a word
WATCH_S = 0.5
WORKABLE = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


class JobRun:
    """Carries a job to its end. The caller holds the job's lock for `work`."""

    def __init__(
        self,
        context: Context,
        order: Order,
        crew: parts.Crew,
        *,
        listen: "Callable[[Opened | Progressed | Noticed], None]",
        stop: asyncio.Event,
        turnstiles: Turnstiles,
    ) -> None:
        self.listen = listen
        self._context = context
        self._order = order
        self._crew = crew
        self._turnstiles = turnstiles  # before backends that other jobs here may share
        self._stop = stop
        self._started = asyncio.get_running_loop().time()
        self._tally: Tally | None = None  # of the answers, when this run asked for any
        self._capped = False
        self._told_of_deaths = False
        self._trial: Trial | None = None  # when this run only tried some rows
        self._heard: Heard | None = None  # of an endpoint, which may have models of its own choice

    @property
    def backends(self) -> int:
        """How many backends this run shares the rows out to."""
        return len(self._crew.names)

    # -- telling

    def opened(self, job: Job, how: Opening) -> None:
        """Tell what was found."""
        reused = job.totals.answered
        self.listen(Opened(job=job.id, how=how, state=job.state, rows=job.rows, reused=reused))

    def _phase(self, job: Job, phase: str, *, rows: int, totals: Totals) -> None:
        live = Live(at=self._context.clock(), totals=totals)
        self.listen(Progressed(job=job.id, phase=phase, rows=rows, live=live))

    async def told_to_stop(self, wait_s: float) -> bool:
        """Wait a moment; True when the stop came."""
        try:
            async with asyncio.timeout(wait_s):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def ended(self, job: Job) -> Ended:
        """The summary of a run that ends here."""
        elapsed = asyncio.get_running_loop().time() - self._started
        tally = self._tally or Tally(job.totals)
        if not job.state.is_terminal:  # what is journalled is kept, though no part has it yet
            totals = tally.totals()
            spent = job.spent.with_newer(job.totals, totals)
            job = msgspec.structs.replace(job, totals=totals, spent=spent)
        ended = await summary.summarise(
            self._context,
            job,
            summary.RunFigures(
                reused=max(0, job.totals.answered - tally.fresh_rows) + tally.fresh_reused,
                elapsed_s=elapsed,
                rows=tally.fresh_rows,
                tokens=tally.fresh_tokens,
                not_asked=tally.not_asked,
                backends=self.backends,
            ),
            output=self._order.output if job.state.is_terminal else None,
        )
        names = () if self._heard is None else self._heard.names
        return msgspec.structs.replace(
            ended,
            trial=self._trial,
            capped=self._capped,
            answered_by=names,
            model=self._crew.model,
            backend=", ".join(self._crew.names),
            why=self._crew.why,
            is_local=self._crew.model_file is not None,
            engine_deaths=self._crew.deaths().count,
            bad_rows=self._order.bad_rows,
        )

    async def already_over(self, job: Job, how: Opening) -> Ended:
        """Nothing is asked: the answers are there. The output is written again."""
        self.opened(job, how)
        await self._write_bad(job)
        return await self._exported(job)

    # -- working

    async def work(self, job: Job, how: Opening) -> Ended:
        """Go on from the job's state until it ends or this run does."""
        if how in (Opening.FINISHED, Opening.WITH_ERRORS):
            return await self.already_over(job, how)
        job = await self.prepare(job, how)
        if job.state in WORKABLE and job.wanted is not Wanted.PAUSE:
            job = await self._try(job) or await self._answer(job)
        if job.state is JobState.FINALIZING:
            self._phase(job, "finalizing", rows=job.rows, totals=job.totals)
            job = await finish_now(self._context, job.id)
        if not job.state.is_terminal:
            return await self.ended(job)
        return await self._exported(job)

    async def prepare(self, job: Job, how: Opening) -> Job:
        """Take the job to where its rows can be asked, or as far as it comes."""
        job = await self._resumed(job)
        self.opened(job, how)
        if job.state is JobState.VALIDATING:
            job = await self._validate(job)
            if job.state in WORKABLE and job.wanted is Wanted.PAUSE:
                job = await moves.pause(self._context, job.id)
        return job

    async def _resumed(self, job: Job) -> Job:
        """What was cancelled before goes on as the next generation; a pause is over."""
        if job.wanted is Wanted.PAUSE:
            await moves.want(self._context, job.id, Wanted.RUN)
            job = msgspec.structs.replace(job, wanted=Wanted.RUN)
        cancelled = job.state is JobState.CANCELLING or job.wanted is Wanted.CANCEL
        if cancelled and not job.state.is_terminal:
            job = await finish_cancel(self._context, job.id)
        if job.state in (JobState.CANCELLED, JobState.EXPIRED):
            job = await moves.retry(self._context, job.id)
        return job

    async def _validate(self, job: Job) -> Job:
        """Ingest the source. Raises JobFailed, DiskError."""
        loop = asyncio.get_running_loop()

        def on_rows(rows: int) -> None:
            loop.call_soon_threadsafe(
                lambda: self._phase(job, "validating", rows=rows, totals=Totals())
            )

        cancelled = threading.Event()
        watch = loop.create_task(self._watch_for_cancel(job, cancelled), name="watch for a cancel")
        try:
            ingested = await asyncio.to_thread(
                ingest,
                job,
                self._context.files(job.id),
                on_rows=on_rows,
                stop=lambda: self._stop.is_set() or cancelled.is_set(),
            )
        except Stopped:
            if cancelled.is_set():
                return await finish_cancel(self._context, job.id)
            return job
        except UsageError as error:
            await moves.fail(self._context, job.id, error.message)
            await self._write_bad(job)
            line = error.line if isinstance(error, InputError) else None
            name = job.spec.source.name
            said = "" if error.message.startswith(name) else f"{name}: "
            message = f"{said}{error.message}"
            if (written := self._order.bad_rows) is not None:
                message = message.replace(badrows.WRITES_ALL, badrows.written_in(written))
            raise InputError(message, line=line, hint=error.hint) from error
        finally:
            watch.cancel()
        job = await moves.validated(self._context, job.id, ingested)
        await self._write_bad(job)
        files = self._context.files(job.id)
        written = self._order.bad_rows
        for text in await asyncio.to_thread(badrows.shown, files, job.rows, written=written):
            self.listen(Noticed(text=text))
        return job

    async def _write_bad(self, job: Job) -> None:
        """Write the job's bad rows where the order wants them. Raises DiskError."""
        if (output := self._order.bad_rows) is not None:
            await asyncio.to_thread(badrows.write, self._context.files(job.id), output)

    async def _watch_for_cancel(self, job: Job, cancelled: threading.Event) -> None:
        """Tell the ingest, which reads in a thread, that somebody wants the job cancelled."""
        while not cancelled.is_set():
            await asyncio.sleep(WATCH_S)
            found = await self._context.store.read(lambda tx: jobs.find(tx, job.id))
            if found is None or found.wanted is Wanted.CANCEL:
                cancelled.set()

    async def _try(self, job: Job) -> Job | None:
        """Ask some rows first, where that is wanted and others would be left; else None."""
        if self._order.try_rows is None:
            return None
        chosen = await choose_rows(self._context, job, self._order.try_rows)
        if not chosen:
            return None
        run = self._context.new_run_id()
        job = await moves.begin_run(self._context, job.id, run)
        async with self._paused_by_errors(job), reusing(self._context, job, self._crew) as reuse:
            desk = self._desk(job, run, reuse)
            fleet = self._fleet(job, desk)
            asking = trial.Trial(desk, fleet=fleet, wait_s=self._order.wait_s, stop=self._stop)
            self._tally = asking.tally
            tried = await asking.run(chosen)
        if tried.ending is not Ending.DONE:
            return await self._after(job, tried.ending, tried.waiting)
        self._trial = trial_of(job, self._crew, tried)
        job = await self._pause(job, f"{len(tried.answers)} {TRIED}")
        # Kept last: whoever sees it need not try again, and the job waits already.
        await asyncio.to_thread(trials.keep, self._context.files(job.id), self._trial)
        return job

    async def _answer(self, job: Job) -> Job:
        """Run the job's open chunks and see where that leaves it."""
        run = self._context.new_run_id()
        job = await moves.begin_run(self._context, job.id, run)
        async with self._paused_by_errors(job), reusing(self._context, job, self._crew) as reuse:
            desk = self._desk(job, run, reuse)
            runner = Runner(
                desk,
                fleet=self._fleet(job, desk),
                settings=RunSettings(slots=self._crew.slots, wait_s=self._order.wait_s),
                on_live=lambda live: self._going(job, live),
                stop=self._stop,
                on_notice=lambda text: self.listen(Noticed(text=text)),
            )
            self._tally = runner.tally
            ending = await runner.run()
        return await self._after(job, ending, runner.waiting)

    def _going(self, job: Job, live: Live) -> None:
        """Tell how far it is, and once that an engine died."""
        deaths = self._crew.deaths()
        if deaths.count and not self._told_of_deaths:
            self._told_of_deaths = True
            text = (
                f"the engine died and was started again; its rows are asked again: {deaths.reason}"
            )
            self.listen(Noticed(text=text))
        self.listen(Progressed(job=job.id, phase="running", rows=job.rows, live=live))

    def _fleet(self, job: Job, desk: Desk) -> Fleet:
        fleet = parts.make_fleet(
            self._order, self._crew, desk.dice, job=job, turnstiles=self._turnstiles
        )

        def rows_left() -> int:
            answered = 0 if self._tally is None else self._tally.totals().answered
            return max(0, job.rows - answered)

        fleet.rows_left = rows_left
        return fleet

    def _desk(self, job: Job, run: RunId, reuse: Reuse | None) -> Desk:
        desk = desk_of(self._context, job, run)
        if self._crew.model_file is None and self._heard is None:
            self._heard = Heard(job.spec.model, tell=lambda text: self.listen(Noticed(text=text)))
        return msgspec.structs.replace(desk, reuse=reuse, heard=self._heard)

    async def _after(self, job: Job, ending: Ending, waiting: str) -> Job:
        match ending:
            case Ending.DONE:
                return await moves.move(self._context, job.id, JobState.FINALIZING)
            case Ending.CANCEL:
                return await finish_cancel(self._context, job.id)
            case Ending.PAUSE:
                return await self._pause(job, moves.ON_REQUEST)
            case Ending.CAPPED:
                self._capped = True
                return await self._pause(job, f"{waiting}; {CAPPED}")
            case Ending.WAITED:
                await self._pause(job, waiting)
                raise WaitTimeout(
                    f"job {job.id} waited long enough: {waiting}",
                    hint="run the same command again to go on; every answer so far is kept",
                )
            case Ending.GONE:
                return await self._pause(job, "")  # which says that it is gone
            case _:
                return await self._pause(job, INTERRUPTED)

    @asynccontextmanager
    async def _paused_by_errors(self, job: Job) -> AsyncIterator[None]:
        """Leave the job for the next run whatever ends this one, which then goes on up."""
        try:
            yield
        except Exception as error:
            why = error.message if isinstance(error, NightkilnError) else type(error).__name__
            await self._pause(job, f"the run ended early: {why}")
            raise

    async def _pause(self, job: Job, reason: str) -> Job:
        """Leave the job for the next run; a disk that takes no more leaves it as it is."""
        try:
            return await moves.move(self._context, job.id, JobState.PAUSED, reason=reason)
        except DiskError:
            return job
        except (IllegalMove, NotFound) as error:
            raise JobFailed(
                f"job {job.id} was deleted while it ran", hint="run again: a new job is made"
            ) from error

    async def _exported(self, job: Job) -> Ended:
        if job.state is JobState.FAILED:
            raise JobFailed(f"job {job.id} failed: {job.reason}", hint="mend the input, run again")
        if self._order.output is not None and job.rows:
            self._phase(job, "exporting", rows=job.rows, totals=job.totals)
            with _until_enough(self._order.output):
                await export(
                    self._context,
                    job,
                    self._order.output,
                    self._order.output_format,
                    excel_safe=self._order.excel_safe,
                    notice=lambda text: self.listen(Noticed(text=text)),
                )
        return await self.ended(job)


@contextmanager
def _until_enough(output: str) -> Iterator[None]:
    """Write to standard output until its reader has enough, as in `| head`: no error.

    How the rows went is told all the same, or `| head` would hide that some failed.
    """
    try:
        yield
    except BrokenPipeError:
        if output != STDOUT:
            raise
