"""Clients: a home's jobs from Python, blocking or awaited.

    import nightkiln as nk

    with nk.Client(home="./kiln") as client:
        job_id = client.infer(frame, column="text", model="m", endpoint="http://127.0.0.1:8000/v1")
        frame = client.await_job_results(job_id, timeout=3600)

Making a client opens and starts nothing. The functions of the package
(`nk.infer` and so on) are those of one client for the current home.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import msgspec

from nightkiln.app import load_settings
from nightkiln.config import Source
from nightkiln.core.errors import UsageError
from nightkiln.core.events import Planned
from nightkiln.sdk.base import Kiln
from nightkiln.sdk.defaults import settled
from nightkiln.sdk.desk import Desk
from nightkiln.sdk.job import Job
from nightkiln.sdk.notices import say
from nightkiln.sdk.shaping import Results, Shape
from nightkiln.sdk.showing import JobInfo, info_of, plan_line
from nightkiln.sdk.submission import Submission, submission, taking_submission
from nightkiln.service.manner import Changes

WAIT_S = 7200.0


class PerModel(TypedDict, total=False):
    """What `infer_per_model` takes besides data, models and names; as `infer` has it."""

    column: str | Sequence[str] | None
    output_column: str
    job_priority: int
    output_schema: type | Mapping[str, object] | str | bytes | None
    sampling_params: Mapping[str, object] | None
    system_prompt: str | None
    id_column: str | None
    template: str | Path | None
    on_bad_row: str | None
    prompt: str | None
    messages: str | None
    endpoint: str | None
    key: str | None
    task: str
    headers: Mapping[str, str] | None
    limit: int | None
    concurrency: int | None
    timeout_s: float | None
    wait_s: float | None
    force_new: bool


class Face:
    """What both kinds of client share."""

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        quiet: bool = False,
        url: str | None = None,
        api_key: str | None = None,
        kiln: Kiln | None = None,
    ) -> None:
        if home is not None and url is not None:
            raise UsageError("home and url exclude each other; give one of them")
        self._home = home
        self._url = url
        self._api_key = api_key
        self._quiet = quiet
        self._desk = Desk(
            self._make if kiln is None else lambda: kiln,
            lambda order: settled(order, os.environ, Path.cwd()),
            quiet=quiet,
        )

    def _make(self) -> Kiln:
        from nightkiln.sdk.finding import kiln_of

        flags = {"home": None if self._home is None else str(self._home)}
        settings = load_settings(os.environ, Path.cwd(), flags, source=Source.ARGUMENT)
        url = self._url or (settings.url if self._home is None else None)  # what is nearer wins
        key = self._api_key or settings.api_key
        return kiln_of(msgspec.structs.replace(settings, url=url, api_key=key), os.environ)

    def __repr__(self) -> str:
        where = self._url or ("the current home" if self._home is None else str(self._home))
        return f"<{type(self).__name__} of {where}>"


class Client(Face):
    """Jobs of a home, for code that blocks. Works inside a running event loop as well.

    `home` is a folder (default: NIGHTKILN_HOME, else the user's data folder); where a
    server owns it, that is asked. `url` is a server elsewhere (NIGHTKILN_URL), `api_key`
    the key for it (NIGHTKILN_API_KEY). Jobs of a server go on when this client leaves.
    `quiet` keeps what is said on standard error to itself. Leaving the `with`
    block stops this client's jobs as leaving the process does: answers are kept, and
    nothing can be asked of the client afterwards.
    """

    @taking_submission(submission)
    def infer(self, asked: Submission) -> str:
        """Answer every row of a table; the job's id, at once, once the job is durable.

        `data` (or `inputs`) is a list of str, of dicts or of message lists, an
        iterator of those, a dict of columns, a frame of pandas or polars, Arrow, a
        dataset, or the path or URL of a file. What is asked of each row: `column`
        (a name, or a list of names and texts between them), `prompt` (a text with
        {column} in it), `template` (Jinja text, or the `Path` of a file of it) or
        `messages` (a column of message lists); a table of one column needs none.

        The model: `model` at `endpoint` (with `key="env:NAME"`, never the key
        itself), or a model file; without both the pilot that ships with us.
        `output_schema` (a pydantic class, a dict or JSON text) is checked on every
        answer. `sampling_params` are max_tokens, temperature, seed, and any other
        field of the request. `job_priority` is 0 (now) or 1 (it has time)
        beside other jobs of this process at the same endpoint.

        A row that cannot be asked (an int among strings, a text with a NUL or half
        of a surrogate pair) is an error row with the code `bad_row` and None for an
        answer. `on_bad_row` is "error" (that), "fail" (one fails the job) or "skip"
        (none is an error of the job). Results have a row for every input either way.

        The same rows and questions are the same job while it is unfinished; a new
        one begins after it has succeeded, or with `force_new`. `dry_run` says the
        plan on standard error, sends nothing and returns "". `stay_attached` waits.

        Raises UsageError, InputError, AuthError and others before anything is
        asked; what happens later is raised by whoever waits.

        >>> job_id = nk.infer(["first", "second"], system_prompt="Be short.")  # doctest: +SKIP
        """
        if asked.dry_run:
            say(plan_line(self._desk.plan(asked)))
            return ""
        accepted = self._desk.submit(asked)
        if asked.stay_attached:
            self._desk.wait(accepted.job, None, complete=False)
        return accepted.job

    @taking_submission(submission)
    def plan(self, asked: Submission) -> Planned:
        """What `infer` would do with the same arguments; nothing is sent or kept."""
        return self._desk.plan(asked)

    def infer_per_model(
        self,
        data: object,
        models: Sequence[str],
        names: Sequence[str] | None = None,
        descriptions: Sequence[str] | None = None,
        **options: Unpack[PerModel],
    ) -> list[str]:
        """One job per model over the same rows; their ids, in order."""
        return [
            self.infer(rows, model, name, description, **options)
            for rows, model, name, description in per_model(data, models, names, descriptions)
        ]

    def job(self, job_id: str) -> Job:
        """A job by its id, the beginning of one, or `last`. Raises NotFound."""
        return Job(self._desk, self._desk.call(lambda kiln: kiln.view(job_id)).job.id)

    def list_jobs(self, limit: int = 50) -> list[JobInfo]:
        """The newest jobs, newest first."""
        return [info_of(view) for view in self._desk.call(lambda kiln: kiln.jobs(limit=limit))]

    def get_job_status(self, job_id: str) -> str:
        """The state in a word: queued, running, paused, succeeded, completed_with_errors …"""
        return self.job(job_id).status()

    def get_job_results(  # noqa: PLR0913 - Sutro's parameters, in its order
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
        """An ended job's results, also those of a job that was cancelled.

        The same kind, order and index as the input; `with_original_df` puts the
        answers beside a frame you hold. With a schema `unpack_json` gives its
        properties columns of their own. Raises NotFound while the job goes on.

        `include_cumulative_logprobs` is refused. `disable_cache` and `unwrap_reasoning`
        change nothing: nothing is cached, and an answer never has its reasoning in it.
        """
        refuse_logprobs(include_cumulative_logprobs)
        return self._desk.results(
            job_id,
            Shape(
                output_column=output_column,
                unpack_json=unpack_json,
                include_inputs=include_inputs,
                original=with_original_df,
            ),
        )

    def await_job_results(
        self,
        job_id: str,
        timeout: float | None = WAIT_S,
        *,
        with_original_df: Any = None,
        output_column: str | None = None,
        unpack_json: bool = True,
        include_inputs: bool = True,
    ) -> Results:
        """Wait for a job and return its results; an error when it ends without them.

        Raises JobTimeout (a TimeoutError; the job goes on), JobCancelled,
        JobExpired, JobFailed, JobStopped, and what ended the run here.
        """
        return self.job(job_id).results(
            timeout,
            with_original_df=with_original_df,
            output_column=output_column,
            unpack_json=unpack_json,
            include_inputs=include_inputs,
        )

    def await_job_completion(
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
            return self.await_job_results(job_id, timeout, output_column=output_column)
        return self.job(job_id).wait(timeout)

    def cancel_job(self, job_id: str) -> JobInfo:
        """End a job early and wait until it has ended; its answers are kept."""
        return self.job(job_id).cancel()

    def attach(self, job_id: str) -> JobInfo:
        """Follow a job to its end, showing its progress. One that nobody runs goes on here."""
        job = self.job(job_id)
        if job.status() in IDLE:
            self._desk.tell(self._desk.call(lambda kiln: kiln.resume(job.id, Changes(wait_s=600))))
        return info_of(self._desk.wait(job.id, None, complete=False))

    def close(self) -> None:
        """Stop this client's jobs, keeping every answer, and say how they go on."""
        self._desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def refuse_logprobs(wanted: bool) -> None:
    """Raise UsageError where log probabilities are wanted of a table's answers."""
    if wanted:
        raise UsageError(
            "include_cumulative_logprobs is not done here: answers are kept without them",
            hint="leave it out, or ask with a file of OpenAI's batch lines, with logprobs in them",
        )


def refuse_estimates(wanted: bool) -> None:
    """Raise UsageError for a job that would be an estimate."""
    if wanted:
        raise UsageError(
            "is_cost_estimate is not done here: no job is an estimate",
            hint="leave it out; `nightkiln estimate` tells what a table will cost",
        )


IDLE = ("queued", "paused", "interrupted", "finalizing", "cancelling")


def per_model(
    data: object,
    models: Sequence[str],
    names: Sequence[str] | None,
    descriptions: Sequence[str] | None,
) -> Iterator[tuple[object, str, str | None, str | None]]:
    """The submissions of `infer_per_model`. Raises UsageError."""
    if isinstance(models, str):
        raise UsageError("models is one str", hint="give a list of model names")
    for what, given in (("names", names), ("descriptions", descriptions)):
        if given is not None and len(given) != len(models):
            raise UsageError(f"there are {len(models)} models and {len(given)} {what}")
    rows = list(data) if isinstance(data, Iterator) else data
    for at, model in enumerate(models):
        name = None if names is None else names[at]
        yield rows, model, name, None if descriptions is None else descriptions[at]
