"""A job in the hand: how it stands, its results, and what can be done with it.

`Job` blocks the calling thread and nothing else; `AsyncJob` awaits. Both only
name a job: it lives in its keeper, and another process may run it.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nightkiln.sdk.shaping import Results, RowError, Shape, errors_of
from nightkiln.sdk.showing import JobInfo, Progress, card_of, info_of, progress_of
from nightkiln.sdk.waiting import Wait
from nightkiln.service.manner import Changes

if TYPE_CHECKING:
    from nightkiln.sdk.desk import Desk


def changes_of(
    endpoint: str | None,
    key: str | None,
    headers: Mapping[str, str] | None,
    concurrency: int | None,
) -> Changes:
    """What is said anew when a job goes on."""
    return Changes(
        endpoint=endpoint,
        key=key,
        headers=tuple((headers or {}).items()),
        concurrency=concurrency,
        wait_s=600.0,
    )


class _Named:
    """What both kinds of job share."""

    def __init__(self, desk: "Desk", job_id: str) -> None:
        self._desk = desk
        self.id = job_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def _repr_html_(self) -> str:
        return card_of(info_of(self._desk.call(lambda kiln: kiln.view(self.id))))

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """Progress as it is told, to the end of the job. Raises as waiting does."""
        wait = Wait(self.id, None)
        over = False
        while not over:
            found = await self._desk.call_async(
                lambda kiln: kiln.follow(self.id, seen=wait.seen, wait_s=wait.wait_s)
            )
            told, over = wait.seen, wait.is_over(found)
            if over or told != wait.seen:
                yield progress_of(found.progress)


class Job(_Named):
    """A job. Made by `nightkiln.job(job_id)` or `Client.job`.

    >>> job = nk.job(job_id)                    # doctest: +SKIP
    >>> job.status()                            # doctest: +SKIP
    'running'
    >>> answers = job.results(timeout=3600)     # doctest: +SKIP
    """

    def info(self) -> JobInfo:
        """Everything there is to know at one look. Raises NotFound."""
        return info_of(self._desk.call(lambda kiln: kiln.view(self.id)))

    def status(self) -> str:
        """The state in a word: queued, running, paused, succeeded, completed_with_errors …"""
        return self.info().status

    def progress(self) -> Progress:
        """How far the job is."""
        found = self._desk.call(lambda kiln: kiln.follow(self.id, seen=None, wait_s=0.0))
        return progress_of(found.progress)

    def watch(self) -> Iterator[Progress]:
        """Progress as it is told, to the end of the job. Raises as `wait` does."""
        wait = Wait(self.id, None)
        over = False
        while not over:
            found = self._desk.call(
                lambda kiln: kiln.follow(self.id, seen=wait.seen, wait_s=wait.wait_s)
            )
            told, over = wait.seen, wait.is_over(found)
            if over or told != wait.seen:
                yield progress_of(found.progress)

    def wait(self, timeout: float | None = None) -> JobInfo:
        """Wait until the job is over, showing its progress in a notebook or a terminal.

        Raises JobTimeout (the job goes on), JobCancelled, JobExpired, JobFailed,
        JobStopped, and what ended the run here: AuthError, QuotaError and so on.
        """
        return info_of(self._desk.wait(self.id, timeout))

    def results(
        self,
        timeout: float | None = None,
        *,
        with_original_df: Any = None,
        output_column: str | None = None,
        unpack_json: bool = True,
        include_inputs: bool = True,
        partial: bool = False,
    ) -> Results:
        """Wait, then the results as what the rows came in. Raises as `wait` does.

        With `partial` nothing is waited for: a job that is not over gives the rows
        it has kept from the first one on; the others have None and the status `pending`.
        """
        if not partial:
            self.wait(timeout)
        return self._desk.results(
            self.id,
            Shape(
                output_column=output_column,
                unpack_json=unpack_json,
                include_inputs=include_inputs,
                original=with_original_df,
                partial=partial,
            ),
        )

    def errors(self) -> list[RowError]:
        """The rows that have no answer, and why. Raises NotFound before the job is over."""
        return errors_of(self._desk.call(lambda kiln: kiln.answered(self.id)))

    def cancel(self) -> JobInfo:
        """End the job early and wait until it has ended; its answers are kept."""
        return info_of(self._desk.call(lambda kiln: kiln.cancel(self.id)))

    def pause(self) -> JobInfo:
        """Let the job rest until `resume`; requests in flight still end."""
        return info_of(self._desk.call(lambda kiln: kiln.pause(self.id)))

    def resume(
        self,
        *,
        endpoint: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Work on a job that is not over, in this process, as it was run last.

        Headers are never kept, so they have to be given again.
        """
        changes = changes_of(endpoint, key, headers, concurrency)
        self._desk.call(lambda kiln: kiln.resume(self.id, changes))

    def retry(
        self,
        *error_codes: str,
        endpoint: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Ask the rows without an answer again, of these error codes or of all; returns at once."""
        changes = changes_of(endpoint, key, headers, concurrency)
        self._desk.call(lambda kiln: kiln.retry(self.id, classes=error_codes, changes=changes))


class AsyncJob(_Named):
    """A job for code that awaits. Made by `AsyncClient.job`.

    >>> async for progress in client.job(job_id):   # doctest: +SKIP
    ...     print(progress.answered, "of", progress.rows)
    """

    async def info(self) -> JobInfo:
        """Everything there is to know at one look. Raises NotFound."""
        return info_of(await self._desk.call_async(lambda kiln: kiln.view(self.id)))

    async def status(self) -> str:
        """The state in a word."""
        return (await self.info()).status

    async def progress(self) -> Progress:
        """How far the job is."""
        found = await self._desk.call_async(
            lambda kiln: kiln.follow(self.id, seen=None, wait_s=0.0)
        )
        return progress_of(found.progress)

    def watch(self) -> AsyncIterator[Progress]:
        """Progress as it is told, to the end of the job; the same as `async for` over the job."""
        return self.__aiter__()

    async def wait(self, timeout: float | None = None) -> JobInfo:
        """Wait until the job is over. Raises as `Job.wait` does."""
        return info_of(await self._desk.wait_async(self.id, timeout))

    async def over(self, timeout: float | None = None) -> JobInfo:
        """Wait until the job is over, however it ends. Raises JobTimeout and JobStopped."""
        return info_of(await self._desk.wait_async(self.id, timeout, complete=False))

    async def results(
        self,
        timeout: float | None = None,
        *,
        with_original_df: Any = None,
        output_column: str | None = None,
        unpack_json: bool = True,
        include_inputs: bool = True,
        partial: bool = False,
    ) -> Results:
        """Wait, then the results as what the rows came in. Raises as `wait` does.

        With `partial` nothing is waited for: a job that is not over gives the rows
        it has kept from the first one on; the others have None and the status `pending`.
        """
        if not partial:
            await self.wait(timeout)
        return await self._desk.results_async(
            self.id,
            Shape(
                output_column=output_column,
                unpack_json=unpack_json,
                include_inputs=include_inputs,
                original=with_original_df,
                partial=partial,
            ),
        )

    async def errors(self) -> list[RowError]:
        """The rows that have no answer, and why. Raises NotFound before the job is over."""
        return errors_of(await self._desk.call_async(lambda kiln: kiln.answered(self.id)))

    async def cancel(self) -> JobInfo:
        """End the job early and wait until it has ended; its answers are kept."""
        return info_of(await self._desk.call_async(lambda kiln: kiln.cancel(self.id)))

    async def pause(self) -> JobInfo:
        """Let the job rest until `resume`."""
        return info_of(await self._desk.call_async(lambda kiln: kiln.pause(self.id)))

    async def resume(
        self,
        *,
        endpoint: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Work on a job that is not over, in this process, as it was run last."""
        changes = changes_of(endpoint, key, headers, concurrency)
        await self._desk.call_async(lambda kiln: kiln.resume(self.id, changes))

    async def retry(
        self,
        *error_codes: str,
        endpoint: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Ask the rows without an answer again; returns at once."""
        changes = changes_of(endpoint, key, headers, concurrency)
        await self._desk.call_async(
            lambda kiln: kiln.retry(self.id, classes=error_codes, changes=changes)
        )
