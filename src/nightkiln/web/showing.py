"""A job in the words of a page. Pure; of rows it knows numbers only."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.core.chunk import Chunk
from nightkiln.core.events import JobView
from nightkiln.core.job import Job, JobState
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.service.viewing import progress_of

_LONGEST: Final = 200  # letters of a name or a reason
_UNREADABLE: Final = "Its input could not be taken; `nightkiln jobs show` says what is wrong."


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A time for people and for machines, in UTC."""

    text: str
    iso: str


class JobLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows of a job."""

    id: str
    name: str
    state: str
    phase: str  # the state in a word, for styles
    rows: str
    done: str
    percent: int
    rate: str
    cost: str
    created: Moment


class Fact(msgspec.Struct, frozen=True):
    """A name and what is to be said of it."""

    name: str
    value: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A run of rows whose answers are there."""

    number: int
    rows: str
    ok: str
    failed: str


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of a job shows."""

    line: JobLine
    over: bool
    reason: str
    tables: tuple[Table, ...]
    commits: tuple[Commit, ...]
    updated: Moment


def line_of(view: JobView, *, now: float) -> JobLine:
    """A job in a line."""
    job = view.job
    live = progress_of(job, now=now).live
    answered, rate = live.totals.answered, live.rows_per_s
    return JobLine(
        id=job.id,
        name=clean(job.spec.label.name or job.spec.source.name),
        state=view.standing.replace("_", " "),
        phase=view.standing,
        rows=f"{job.rows:,}" if job.rows else "not counted yet",
        done=f"{answered:,}",
        percent=percent_of(job, answered),
        rate=f"{rate:,.1f} rows/s" if view.running and rate else "none",
        cost=cost_of(job.spent),
        created=moment(job.created_at),
    )


def page_of(view: JobView, commits: Sequence[Chunk], *, now: float) -> JobPage:
    """A job with all that its page shows."""
    job, line = view.job, line_of(view, now=now)
    tables = (_counts(job, now), _faults(job, now), _spent(job.spent), _backends(view, now))
    return JobPage(
        line=line,
        over=job.state.is_terminal,
        reason=_reason(job),
        tables=tuple(table for table in tables if table.facts),
        commits=tuple(_commit(chunk) for chunk in reversed(commits)),
        updated=moment(now),
    )


def percent_of(job: Job, answered: int) -> int:
    """How far a job is, in whole percent: 100 only when it is over."""
    if job.state is JobState.SUCCEEDED or job.state is JobState.COMPLETED_WITH_ERRORS:
        return 100
    return min(99, answered * 100 // job.rows) if job.rows else 0


def clean(text: str) -> str:
    """Somebody's text in one line, without letters that nobody can see; escaped later."""
    clipped = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in clipped)


def cost_of(totals: Totals) -> str:
    """What is known to be spent."""
    if totals.cost_nanos == 0 and totals.unpriced:
        return "unknown"
    return f"${totals.cost_nanos / NANOS_PER_USD:,.4f}"


def moment(at: float) -> Moment:
    """Epoch seconds as a time."""
    when = dt.datetime.fromtimestamp(at, dt.UTC)
    return Moment(text=when.strftime("%Y-%m-%d %H:%M:%S UTC"), iso=when.isoformat("T", "seconds"))


def _reason(job: Job) -> str:
    """Why it waits. Why an input is no good may name what is in it, and so is not said here."""
    if job.state is JobState.FAILED:
        return _UNREADABLE
    waiting = "" if job.live is None or job.state.is_terminal else job.live.waiting
    return clean(job.reason or waiting)


def _counts(job: Job, now: float) -> Table:
    totals = progress_of(job, now=now).live.totals
    facts = {
        "answered with a result": totals.ok,
        "of these cut short by the token limit": totals.truncated,
        "of these answered by an identical request": totals.reused,
        "with a fault": totals.failed,
        "still to be answered": max(0, job.rows - totals.answered),
        "attempts": totals.attempts,
    }
    return Table(title="Rows", facts=_numbers(facts))


def _faults(job: Job, now: float) -> Table:
    found = progress_of(job, now=now).live.totals.faults
    ordered = dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))
    return Table(title="Faults", facts=_numbers(ordered))


def _spent(spent: Totals) -> Table:
    facts = _numbers(
        {
            "tokens in": spent.input_tokens,
            "of these from a provider's cache": spent.cached_tokens,
            "tokens out": spent.output_tokens,
            "attempts that may have been billed": spent.maybe_billed,
            "answers without a known price": spent.unpriced,
        }
    )
    return Table(title="Spent, all passes", facts=(Fact("cost", cost_of(spent)), *facts))


def _backends(view: JobView, now: float) -> Table:
    live = progress_of(view.job, now=now).live
    facts = [Fact("model", clean(view.job.spec.model))]
    if view.running:
        facts.append(Fact("requests in flight", f"{live.in_flight:,} of {live.slots:,} slots"))
        facts.append(Fact("backends", f"{live.backends:,}, of which down: {live.down:,}"))
        facts.append(Fact("tokens a second", f"{live.tokens_per_s:,.0f}"))
    for share in view.shares:
        cost = "unknown" if share.cost_usd is None else f"${share.cost_usd:,.4f}"
        facts.append(Fact(clean(share.backend), f"{share.rows:,} rows, cost {cost}"))
    return Table(title="Backends", facts=tuple(facts))


def _commit(chunk: Chunk) -> Commit:
    last = chunk.first_row + chunk.rows - 1
    return Commit(
        number=chunk.commit_seq or 0,
        rows=f"{chunk.first_row:,} to {last:,}",
        ok=f"{chunk.totals.ok:,}",
        failed=f"{chunk.totals.failed:,}",
    )


def _numbers(facts: dict[str, int]) -> tuple[Fact, ...]:
    return tuple(Fact(name, f"{count:,}") for name, count in facts.items())
