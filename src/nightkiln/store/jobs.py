"""Jobs in SQL. Every function is one step of a use case and runs in its transaction.

Each field has one writer: `save` moves the state and what goes with it, `want`
the request of a user, `set_manner` how it is run, `set_live` the runner's last
word, and only `chunks.commit` the sums. So a job that was read a while ago and saved now
cannot undo a cancel that came between, nor lose a count.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy import insert as insert_into

from nightkiln.core.access import KeyId
from nightkiln.core.errors import IllegalMove, NotFound
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import MOVES, TERMINAL, Job, JobState, Live, Wanted
from nightkiln.store import codec, keyuses
from nightkiln.store.paging import Page, rows_of
from nightkiln.store.schema import jobs
from nightkiln.store.tx import Tx

_OVER: Final = TERMINAL | {JobState.DELETING}
_NEVER_ATTACHED: Final = (JobState.DELETING.value, JobState.FAILED.value)


async def insert(tx: Tx, job: Job) -> None:
    """Record a new job. The caller has its id once the transaction is durable."""
    await tx.change(
        insert_into(jobs).values(
            id=job.id,
            project_id=job.project,
            idempotency_key=job.idempotency_key,
            wanted=job.wanted.value,
            spec=codec.text_of(job.spec),
            created_at=job.created_at,
            totals=codec.text_of(job.totals),
            spent=codec.text_of(job.spent),
            live=None if job.live is None else codec.text_of(job.live),
            commit_seq=0,
            key_id=job.spec.label.key or None,
            priority=job.spec.label.priority,
            **_moving(job),
        )
    )


async def get(tx: Tx, job: JobId, *, project: ProjectId) -> Job:
    """A project's job, tombstones included. Raises NotFound, also for another project's."""
    found = await find(tx, job)
    if found is None or found.project != project:
        raise _no_such(job)
    return found


async def by_prefix(tx: Tx, prefix: str, *, project: ProjectId, limit: int = 2) -> list[Job]:
    """A project's jobs whose id begins so, oldest first; at most `limit`."""
    rows = await tx.rows(
        select(jobs)
        .where(jobs.c.project_id == project, jobs.c.id.startswith(prefix, autoescape=True))
        .where(jobs.c.state != JobState.DELETING.value)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [_job(row) for row in rows]


async def find(tx: Tx, job: JobId) -> Job | None:
    """A job of any project, or None: for runners, who were handed the job by its owner."""
    row = await tx.row(select(jobs).where(jobs.c.id == job))
    return None if row is None else _job(row)


async def find_by_key(tx: Tx, key: str, *, project: ProjectId) -> Job | None:
    """The newest job with this idempotency key that somebody may attach to."""
    row = await tx.row(
        select(jobs)
        .where(jobs.c.project_id == project, jobs.c.idempotency_key == key)
        .where(jobs.c.state.not_in(_NEVER_ATTACHED))
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(1)
    )
    return None if row is None else _job(row)


async def list_jobs(
    tx: Tx,
    page: Page,
    *,
    project: ProjectId,
    states: AbstractSet[JobState] = frozenset(),
    name: str | None = None,
) -> tuple[list[Job], bool]:
    """A page of a project's jobs, newest first; of some states, and of one name.

    Without tombstones. Raises NotFound when the job the page begins at is gone.
    """
    where = [jobs.c.state != JobState.DELETING.value]
    if states:
        where.append(jobs.c.state.in_(sorted(state.value for state in states)))
    if name is not None:  # a label begins with its name; quotes inside of texts are escaped
        where.append(jobs.c.spec.contains(codec.named(name), autoescape=True))
    rows, more = await rows_of(tx, jobs, page, project=project, where=where)
    return [_job(row) for row in rows], more


async def in_states(tx: Tx, states: AbstractSet[JobState], *, limit: int = 1000) -> list[Job]:
    """Jobs of every project in these states, oldest first: for recovery and collection."""
    rows = await tx.rows(
        select(jobs)
        .where(jobs.c.state.in_(sorted(state.value for state in states)))
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(limit)
    )
    return [_job(row) for row in rows]


async def key_of(tx: Tx, job: JobId) -> KeyId | None:
    """The API key whose use a job counts as; None: nobody's. Held until the commit."""
    row = await tx.row(select(jobs.c.key_id).where(jobs.c.id == job).with_for_update())
    return None if row is None or row["key_id"] is None else KeyId(row["key_id"])


async def set_key(tx: Tx, job: JobId, key: KeyId | None) -> None:
    """From here on a job counts as use of this key. A job that is gone is ignored."""
    await tx.change(update(jobs).where(jobs.c.id == job).values(key_id=key))


async def save(tx: Tx, job: Job) -> None:
    """Record a job's state, reason, generation, times, rows and columns.

    The state must be the stored one or a legal move from it. `wanted`, `live`
    and the sums are left as stored: they have writers of their own. Raises
    IllegalMove and NotFound.
    """
    row = await tx.row(
        select(jobs.c.state, jobs.c.key_id).where(jobs.c.id == job.id).with_for_update()
    )
    if row is None:
        raise _no_such(job.id)
    stored = JobState(row["state"])
    if job.state is not stored and job.state not in MOVES[stored]:
        raise IllegalMove(job.id, stored.value, job.state.value)
    await tx.change(update(jobs).where(jobs.c.id == job.id).values(**_moving(job)))
    if row["key_id"] is not None and not job.rows and job.state in _OVER:
        # It ended before its rows were read: what was set aside for them is free again.
        await keyuses.put_rows(tx, row["key_id"], job.id, job.generation, rows=0)


async def want(tx: Tx, job: JobId, wanted: Wanted, *, project: ProjectId) -> None:
    """Record what a user asks of the runner. Raises NotFound."""
    changed = await tx.change(
        update(jobs)
        .where(jobs.c.id == job, jobs.c.project_id == project)
        .values(wanted=wanted.value)
    )
    if not changed:
        raise _no_such(job)


async def set_manner(tx: Tx, job: JobId, manner: str) -> None:
    """Record how a job is run from here on, as JSON text. A job that is gone is ignored."""
    await tx.change(update(jobs).where(jobs.c.id == job).values(manner=manner))


async def manner_of(tx: Tx, job: JobId) -> str | None:
    """How a job was last run, or None where nobody ever ran it."""
    row = await tx.row(select(jobs.c.manner).where(jobs.c.id == job))
    return None if row is None else row["manner"]


async def ended_before(
    tx: Tx, *, project: ProjectId, states: AbstractSet[JobState], before: float, limit: int = 1000
) -> list[Job]:
    """A project's jobs in these states that ended before a moment, oldest first."""
    rows = await tx.rows(
        select(jobs)
        .where(jobs.c.project_id == project, jobs.c.ended_at < before)
        .where(jobs.c.state.in_(sorted(state.value for state in states)))
        .order_by(jobs.c.ended_at, jobs.c.id)
        .limit(limit)
    )
    return [_job(row) for row in rows]


async def ended_with(tx: Tx, *, project: ProjectId, model: str, limit: int) -> list[Job]:
    """The newest jobs of a model that have results, newest first; of the last hundred at most."""
    rows = await tx.rows(
        select(jobs)
        .where(jobs.c.project_id == project, jobs.c.ended_at.is_not(None), jobs.c.rows > 0)
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(100)
    )
    found = [job for job in map(_job, rows) if job.spec.model == model and job.totals.ok]
    return found[:limit]


async def set_live(tx: Tx, job: JobId, live: Live) -> None:
    """Record the runner's last word. A job that is gone is ignored."""
    await tx.change(update(jobs).where(jobs.c.id == job).values(live=codec.text_of(live)))


async def remove(tx: Tx, job: JobId) -> None:
    """Forget a tombstone with its chunks and generations; the ledger keeps its sums.

    Gone already is fine. Raises IllegalMove when the job is not `deleting`.
    """
    row = await tx.row(select(jobs.c.state).where(jobs.c.id == job).with_for_update())
    if row is None:
        return
    if row["state"] != JobState.DELETING.value:
        raise IllegalMove(job, row["state"], "removed")
    await tx.change(delete(jobs).where(jobs.c.id == job))


def _moving(job: Job) -> dict[str, object]:
    """The columns that `save` writes."""
    return {
        "state": job.state.value,
        "reason": job.reason,
        "generation": job.generation,
        "retry_classes": codec.text_of(job.retry_classes) if job.retry_classes else None,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "rows": job.rows,
        "columns": codec.text_of(job.columns),
    }


def _job(row: RowMapping) -> Job:
    return Job(
        id=JobId(row["id"]),
        project=ProjectId(row["project_id"]),
        spec=codec.spec_of(row["spec"]),
        idempotency_key=row["idempotency_key"],
        state=JobState(row["state"]),
        wanted=Wanted(row["wanted"]),
        reason=row["reason"],
        generation=row["generation"],
        retry_classes=codec.names_of(row["retry_classes"] or "[]"),
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        rows=row["rows"],
        columns=codec.names_of(row["columns"]),
        totals=codec.totals_of(row["totals"]),
        spent=codec.totals_of(row["spent"]),
        live=codec.live_of(row["live"]),
    )


def _no_such(job: JobId) -> NotFound:
    return NotFound(f"there is no job {job}", hint="`nightkiln jobs list` shows the jobs")
