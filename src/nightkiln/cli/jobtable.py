"""Jobs as tables, pages and JSON. Pure, apart from looking which result folder is there."""

from pathlib import Path
from typing import Final

import msgspec

from nightkiln.cli.numbers import (
    bytes_of,
    count,
    dollars_of,
    iso,
    local_time,
    money,
    saved_usd,
    saved_words,
    share_words,
)
from nightkiln.core.events import BackendShare, JobView
from nightkiln.core.explain import fix_for
from nightkiln.core.job import JobState
from nightkiln.core.usage import Totals
from nightkiln.vault.home import Home

_NAME_WIDTH: Final = 28
_LABEL: Final = 14
_EXIT_CODES: Final = {
    JobState.SUCCEEDED: 0,
    JobState.COMPLETED_WITH_ERRORS: 3,
    JobState.CANCELLED: 4,
    JobState.EXPIRED: 4,
    JobState.FAILED: 4,
}
_STOPPED: Final = 9  # nobody runs it, and it has not ended


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job in `jobs list --json`."""

    job: str
    state: str
    standing: str  # as `state`, or `interrupted` when nobody runs it
    reason: str
    running: bool
    rows: int
    ok: int
    failed: int
    truncated: int
    cost_usd: float | None  # over all generations
    model: str
    input: str
    generation: int
    created_at: str | None
    started_at: str | None
    ended_at: str | None


class JobList(msgspec.Struct, frozen=True):
    """The one object of `jobs list --json`."""

    jobs: tuple[JobRow, ...]


class FaultCount(msgspec.Struct, frozen=True, kw_only=True):
    """One class of row errors of a job."""

    fault: str
    count: int
    fix: str


class JobPage(JobRow, frozen=True, kw_only=True):
    """A job in `jobs show`: all that a person may want to know."""

    attempts: int
    maybe_billed: int
    unpriced: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reused: int  # rows answered by the answer to an identical request
    saved_tokens: int
    saved_usd: float | None  # None: no price is known
    backends: tuple[BackendShare, ...] = ()  # where the rows went to several
    faults: tuple[FaultCount, ...]
    columns: tuple[str, ...]
    input_path: str
    input_bytes: int
    results: str | None  # the folder of published Parquet files
    files: str | None  # the folder of the job; None: it is on another machine


def row_report(view: JobView) -> JobRow:
    """One job for the list."""
    job, totals = view.job, totals_of(view)
    return JobRow(
        job=job.id,
        state=str(job.state),
        standing=view.standing,
        reason=job.reason or _waits_for(view),
        running=view.running,
        rows=job.rows,
        ok=totals.ok,
        failed=totals.failed,
        truncated=totals.truncated,
        cost_usd=dollars_of(_spent(view)),
        model=job.spec.model,
        input=job.spec.source.name,
        generation=job.generation,
        created_at=iso(job.created_at),
        started_at=iso(job.started_at),
        ended_at=iso(job.ended_at),
    )


def _waits_for(view: JobView) -> str:
    """Why a job that runs does not move, as its runner last told it."""
    live = view.job.live
    return "" if live is None or not view.running else live.waiting


def full_report(view: JobView, home: Path) -> JobPage:
    """One job with everything."""
    job, totals, spent = view.job, totals_of(view), _spent(view)
    files = Home(home).job(job.id)
    published = files.published(job.generation)
    row = row_report(view)
    source = job.spec.source
    return JobPage(
        **{name: getattr(row, name) for name in row.__struct_fields__},
        attempts=spent.attempts,
        maybe_billed=spent.maybe_billed,
        unpriced=spent.unpriced,
        input_tokens=spent.input_tokens,
        cached_tokens=spent.cached_tokens,
        output_tokens=spent.output_tokens,
        reused=totals.reused,
        saved_tokens=totals.saved_tokens,
        saved_usd=saved_usd(totals),
        backends=view.shares,
        faults=tuple(
            FaultCount(fault=name, count=number, fix=fix_for(name))
            for name, number in sorted(totals.faults.items(), key=lambda item: -item[1])
        ),
        columns=job.columns,
        input_path=source.path,
        input_bytes=source.size_bytes,
        results=str(published) if (published / "_manifest.json").exists() else None,
        files=str(files.root) if files.root.exists() else None,
    )


def totals_of(view: JobView) -> Totals:
    """The newest counts: the runner's last word while the job has not ended."""
    job = view.job
    live = None if job.state.is_terminal else job.live
    if live is None or live.totals.answered < job.totals.answered:
        return job.totals
    return live.totals


def table_of(views: list[JobView]) -> str:
    """The jobs as aligned columns of plain text, without an end of line."""
    heads = ("JOB", "STATE", "DONE", "ROWS", "FAILED", "COST", "MODEL", "INPUT", "CREATED")
    right = {"DONE", "ROWS", "FAILED", "COST"}
    rows = [heads, *(_cells(view) for view in views)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if head in right else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        ).rstrip()
        for row in rows
    )


def _unseen(page: JobPage) -> str:
    """What requests whose answer was never seen are called; here nobody can have charged any."""
    from nightkiln.app.choice import is_model_file

    return "asked again" if is_model_file(page.model) else "maybe billed"


def page_of(page: JobPage) -> str:
    """Everything about one job, in lines."""
    state = page.standing.replace("_", " ") + (f" ({page.reason})" if page.reason else "")
    done = page.ok + page.failed
    answered = f"{count(done)} of {count(page.rows)} answered: {count(page.ok)} ok"
    cost = "unknown: no price is known" if page.cost_usd is None else money(page.cost_usd)
    pairs = [
        ("state", state),
        ("rows", f"{answered}, {count(page.failed)} failed" if page.rows else "not yet counted"),
        ("truncated", count(page.truncated) if page.truncated else ""),
        *((f"  {one.fault}", f"{count(one.count)}; fix: {one.fix}") for one in page.faults),
        ("generation", str(page.generation)),
        ("model", page.model),
        ("attempts", count(page.attempts)),
        ("tokens", _tokens(page)),
        ("cost", cost),
        *(("backend", share_words(share)) for share in page.backends),
        ("identical", _saved(page)),
        (_unseen(page), count(page.maybe_billed) if page.maybe_billed else ""),
        ("input", f"{page.input} ({bytes_of(page.input_bytes)})"),
        ("columns", ", ".join(page.columns)),
        *_times(page),
        ("results", page.results or ""),
        ("files", page.files or ""),
        ("next", _next(page)),
    ]
    lines = [f"job {page.job}"]
    return "\n".join(lines + [f"  {name:<{_LABEL}}{text}" for name, text in pairs if text])


def headline(view: JobView) -> str:
    """How a job stands, in a line."""
    totals = totals_of(view)
    why = f" ({view.job.reason})" if view.job.reason else ""
    return (
        f"job {view.job.id} is {view.standing.replace('_', ' ')}{why}: {count(totals.ok)} ok,"
        f" {count(totals.failed)} failed of {count(view.job.rows)} rows"
    )


def cancelled_line(view: JobView) -> str:
    """What cancelling led to."""
    if view.job.state is not JobState.CANCELLED:
        return headline(view)
    kept = totals_of(view).answered
    return (
        f"job {view.job.id} is cancelled; {count(kept)} answers are kept"
        f"\n  next: nightkiln jobs results {view.job.id} -o answers.csv"
    )


def watched_exit_code(view: JobView) -> int:
    """The exit code of a watch that came to its own end."""
    return _EXIT_CODES.get(view.job.state, _STOPPED)


def _spent(view: JobView) -> Totals:
    """Over all generations, with what a run that goes on or was stopped has not committed."""
    return view.job.spent.with_newer(view.job.totals, totals_of(view))


def _cells(view: JobView) -> tuple[str, ...]:
    row, totals = row_report(view), totals_of(view)
    return (
        row.job,
        row.standing,
        count(totals.answered),
        count(row.rows) if row.rows else "?",
        count(row.failed),
        "?" if row.cost_usd is None else money(row.cost_usd),
        _clipped(row.model),
        _clipped(row.input),
        local_time(view.job.created_at),
    )


def _clipped(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else "..." + text[3 - _NAME_WIDTH :]


def _tokens(page: JobPage) -> str:
    if not page.input_tokens and not page.output_tokens:
        return ""
    cached = f" ({count(page.cached_tokens)} cached)" if page.cached_tokens else ""
    return f"{count(page.input_tokens)} in{cached}, {count(page.output_tokens)} out"


def _saved(page: JobPage) -> str:
    if not page.reused:
        return ""
    return saved_words(page.reused, page.saved_tokens, page.saved_usd)


def _times(page: JobPage) -> list[tuple[str, str]]:
    return [
        ("created", page.created_at or ""),
        ("started", page.started_at or ""),
        ("ended", page.ended_at or ""),
    ]


def _next(page: JobPage) -> str:
    if page.running:
        return f"nightkiln jobs watch {page.job}"
    if page.state == JobState.FAILED:
        return f"nightkiln jobs delete {page.job}"
    if JobState(page.state).is_terminal:
        return f"nightkiln jobs results {page.job} -o answers.csv"
    return f"nightkiln jobs resume {page.job}"
