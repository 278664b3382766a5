"""The client for code that awaits. Nothing of it blocks the caller's event loop.

async with nk.AsyncClient() as client:
    job_id = await client.infer(rows, column="text")
    async for progress in client.job(job_id):
        print(progress.share)
    answers = await client.await_job_results(job_id, timeout=3600)
"""

from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from nightkiln.core.events import Planned
from nightkiln.sdk.client import (
    IDLE,
    WAIT_S,
    Face,
    PerModel,
    per_model,
    refuse_estimates,
    refuse_logprobs,
)
from nightkiln.sdk.job import AsyncJob
from nightkiln.sdk.notices import say
from nightkiln.sdk.shaping import Results, Shape
from nightkiln.sdk.showing import JobInfo, info_of, plan_line
from nightkiln.sdk.submission import Submission, submission, taking_submission
from nightkiln.service.manner import Changes


class AsyncClient(Face):
    """Jobs of a home, awaited. Takes and gives what `Client` does.

    Jobs run on a thread of their own, so they go on whatever the caller's loop
    does. Rows are taken from iterators in a thread, not on the loop.
    """

    @taking_submission(submission)
    def infer(self, asked: Submission) -> Coroutine[Any, Any, str]:
        """Answer every row of a table; the job's id, once it is durable. See `Client.infer`."""
        return self._infer(asked)

    async def _infer(self, asked: Submission) -> str:
        if asked.dry_run:
            say(plan_line(await self._desk.plan_async(asked)))
            return ""
        accepted = await self._desk.submit_async(asked)
        if asked.stay_attached:
            await AsyncJob(self._desk, accepted.job).over(None)
        return accepted.job

    @taking_submission(submission)
    def plan(self, asked: Submission) -> Coroutine[Any, Any, Planned]:
        """What `infer` would do with the same arguments; nothing is sent or kept."""
        return self._desk.plan_async(asked)

    async def infer_per_model(
        self,
        data: object,
        models: Sequence[str],
        names: Sequence[str] | None = None,
        descriptions: Sequence[str] | None = None,
        **options: Unpack[PerModel],
    ) -> list[str]:
        """One job per model over the same rows; their ids, in order."""
        return [
            await self.infer(rows, model, name, description, **options)
            for rows, model, name, description in per_model(data, models, names, descriptions)
        ]

    def job(self, job_id: str) -> AsyncJob:
        """A job by its id. Whether there is one is seen when something is asked of it."""
        return AsyncJob(self._desk, job_id)

    async def list_jobs(self, limit: int = 50) -> list[JobInfo]:
        """The newest jobs, newest first."""
        views = await self._desk.call_async(lambda kiln: kiln.jobs(limit=limit))
        return [info_of(view) for view in views]

    async def get_job_status(self, job_id: str) -> str:
        """The state in a word."""
        return await self.job(job_id).status()

    async def get_job_results(  # noqa: PLR0913 - Sutro's parameters, in its order
        self,
        job_id: str,
        include_inputs: bool = True,
        include_cumulative_logprobs: bool = False,
        with_original_df: Any = None,
        output_column: str | None = None,
        disable_cache: bool = False,  # noqa: ARG002 - nothing is cached
        unpack_json: bool = True,
        unwrap_reasoning: bool = False,  # noqa: ARG002 - answers hold none
    ) -> Results:
        """An ended job's results. See `Client.get_job_results`."""
        refuse_logprobs(include_cumulative_logprobs)
        return await self._desk.results_async(
            job_id,
            Shape(
                output_column=output_column,
                unpack_json=unpack_json,
                include_inputs=include_inputs,
                original=with_original_df,
            ),
        )

    async def await_job_results(
        self,
        job_id: str,
        timeout: float | None = WAIT_S,
        *,
        with_original_df: Any = None,
        output_column: str | None = None,
        unpack_json: bool = True,
        include_inputs: bool = True,
    ) -> Results:
        """Wait for a job and return its results; an error when it ends without them."""
        return await self.job(job_id).results(
            timeout,
            with_original_df=with_original_df,
            output_column=output_column,
            unpack_json=unpack_json,
            include_inputs=include_inputs,
        )

    async def await_job_completion(
        self,
        job_id: str,
        timeout: float | None = WAIT_S,
        obtain_results: bool = True,
        output_column: str | None = None,
        is_cost_estimate: bool = False,
        unwrap_reasoning: bool = False,  # noqa: ARG002 - answers hold none
    ) -> Results:
        """As `await_job_results`; without `obtain_results` the job's `JobInfo` instead."""
        refuse_estimates(is_cost_estimate)
        if obtain_results:
            return await self.await_job_results(job_id, timeout, output_column=output_column)
        return await self.job(job_id).wait(timeout)

    async def cancel_job(self, job_id: str) -> JobInfo:
        """End a job early and wait until it has ended; its answers are kept."""
        return await self.job(job_id).cancel()

    async def attach(self, job_id: str) -> JobInfo:
        """Follow a job to its end. One that nobody runs goes on here."""
        job = self.job(job_id)
        if await job.status() in IDLE:
            accepted = await self._desk.call_async(
                lambda kiln: kiln.resume(job_id, Changes(wait_s=600))
            )
            self._desk.tell(accepted)
        return await job.over(None)

    async def aclose(self) -> None:
        """Stop this client's jobs, keeping every answer, and say how they go on."""
        await self._desk.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()
