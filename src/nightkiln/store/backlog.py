"""What waits to be done about jobs of all projects, in SQL; without specs, and in pages.

Jobs are looked through by whoever works on them, again and again, so nothing here
reads a text that grows with what was submitted. Pages have bounds; what is behind a
bound is on the next page, and nothing is left out for being late in the list.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, and_, func, or_, select

from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import TERMINAL, JobState, Wanted
from nightkiln.store.schema import batches, jobs
from nightkiln.store.tx import Tx

PAGE: Final = 200
_S: Final = JobState
_TERMINAL: Final = tuple(sorted(state.value for state in TERMINAL))
_RUNNABLE: Final = (_S.VALIDATING.value, _S.QUEUED.value, _S.RUNNING.value, _S.PAUSED.value)
_LEFT: Final = (*_RUNNABLE, _S.CANCELLING.value, _S.FINALIZING.value)
_PAUSED: Final = (_S.PAUSED.value, _S.VALIDATING.value)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not over, as far as deciding what to do about it needs."""

    id: JobId
    project: ProjectId
    state: JobState
    wanted: Wanted
    reason: str
    priority: int
    created_at: float
    deadline: float | None = None  # when the batch over it expires


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one project and class that want to run; there is at least one."""

    project: ProjectId
    priority: int


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that has not ended though its job is over, or gone."""

    batch: str
    job: JobId
    project: ProjectId


async def queues(tx: Tx) -> list[Queue]:
    """Who wants jobs run: every project and class, each once."""
    rows = await tx.rows(
        select(jobs.c.project_id, jobs.c.priority)
        .where(*_runnable())
        .group_by(jobs.c.project_id, jobs.c.priority)
    )
    return [Queue(project=ProjectId(row["project_id"]), priority=row["priority"]) for row in rows]


async def queued(
    tx: Tx, queue: Queue, *, after: Waiting | None = None, limit: int = PAGE
) -> list[Waiting]:
    """A page of the jobs of a queue, the oldest first."""
    query = _waiting().where(
        *_runnable(), jobs.c.project_id == queue.project, jobs.c.priority == queue.priority
    )
    if after is not None:
        later = and_(jobs.c.created_at == after.created_at, jobs.c.id > after.id)
        query = query.where(or_(jobs.c.created_at > after.created_at, later))
    rows = await tx.rows(query.order_by(jobs.c.created_at, jobs.c.id).limit(limit))
    return [_of(row) for row in rows]


async def due(tx: Tx, *, now: float, after: str = "", limit: int = PAGE) -> list[Waiting]:
    """A page of the jobs about which something is due that asks no backend, by their ids.

    Cancelled ones, ones that are being published, ones whose batch has expired, and
    ones that should say that they are paused.
    """
    expired = select(batches.c.job_id).where(
        batches.c.ended_at.is_(None), batches.c.expires_at <= now, batches.c.job_id.is_not(None)
    )
    told = select(jobs.c.id).where(
        *_left(),
        or_(
            jobs.c.wanted == Wanted.CANCEL.value,
            jobs.c.state.in_((_S.CANCELLING.value, _S.FINALIZING.value)),
            and_(jobs.c.wanted == Wanted.PAUSE.value, jobs.c.state.not_in(_PAUSED)),
        ),
    )
    # Two lists, each from its index: one condition with both would look at every job.
    rows = await tx.rows(
        _waiting()
        .where(*_left(), jobs.c.id > after, jobs.c.id.in_(told.union(expired)))
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [_of(row) for row in rows]


async def unsettled(tx: Tx, *, after: str = "", limit: int = PAGE) -> list[Open]:
    """A page of the batches that are to be ended, by their ids."""
    rows = await tx.rows(
        select(batches.c.id, batches.c.job_id, batches.c.project_id)
        .outerjoin(jobs, jobs.c.id == batches.c.job_id)
        .where(batches.c.ended_at.is_(None), batches.c.job_id.is_not(None), batches.c.id > after)
        .where(or_(jobs.c.id.is_(None), jobs.c.state.in_(_TERMINAL)))
        .order_by(batches.c.id)
        .limit(limit)
    )
    return [
        Open(batch=row["id"], job=JobId(row["job_id"]), project=ProjectId(row["project_id"]))
        for row in rows
    ]


async def next_deadline(tx: Tx, *, now: float) -> float | None:
    """When the next batch expires."""
    row = await tx.row(
        select(func.min(batches.c.expires_at).label("at")).where(
            batches.c.ended_at.is_(None), batches.c.expires_at > now
        )
    )
    return None if row is None else row["at"]


async def remaining(tx: Tx, names: Iterable[JobId]) -> set[JobId]:
    """Of these jobs, the ones that are not over, or whose batch is not."""
    asked, found = sorted(names), set[JobId]()
    for start in range(0, len(asked), PAGE):
        some = asked[start : start + PAGE]
        mine = await tx.rows(select(jobs.c.id).where(*_left(), jobs.c.id.in_(some)))
        theirs = await tx.rows(
            select(batches.c.job_id.label("id")).where(
                batches.c.ended_at.is_(None), batches.c.job_id.in_(some)
            )
        )
        found |= {JobId(row["id"]) for row in (*mine, *theirs)}
    return found


def _left() -> tuple[ColumnElement[bool], ...]:
    # The first is what the index is of; the second leaves tombstones out.
    return jobs.c.ended_at.is_(None), jobs.c.state.in_(_LEFT)


def _runnable() -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.ended_at.is_(None),
        jobs.c.state.in_(_RUNNABLE),
        jobs.c.wanted == Wanted.RUN.value,
    )


def _waiting() -> Select[tuple[object, ...]]:
    return select(
        jobs.c.id,
        jobs.c.project_id,
        jobs.c.state,
        jobs.c.wanted,
        jobs.c.reason,
        jobs.c.priority,
        jobs.c.created_at,
        batches.c.expires_at,
    ).outerjoin(batches, and_(batches.c.job_id == jobs.c.id, batches.c.ended_at.is_(None)))


def _of(row: RowMapping) -> Waiting:
    return Waiting(
        id=JobId(row["id"]),
        project=ProjectId(row["project_id"]),
        state=JobState(row["state"]),
        wanted=Wanted(row["wanted"]),
        reason=row["reason"],
        priority=row["priority"],
        created_at=row["created_at"],
        deadline=row["expires_at"],
    )
