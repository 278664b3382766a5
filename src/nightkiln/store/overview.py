"""What all jobs of a project, or of all projects, add up to. Reads only."""

import msgspec
from sqlalchemy import func, select

from nightkiln.core.ids import ProjectId
from nightkiln.core.job import JobState
from nightkiln.core.usage import Totals, summed
from nightkiln.store import codec
from nightkiln.store.schema import jobs, ledger
from nightkiln.store.tx import Tx


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand."""

    states: dict[str, int]  # jobs by state; states without a job are 0
    in_flight: int
    slots: int
    totals: Totals  # of the ledger: it only grows, whatever is deleted


async def overview(tx: Tx, *, project: ProjectId | None) -> Overview:
    """How things stand in a project; None: in all."""
    ours = [] if project is None else [jobs.c.project_id == project]
    counted = await tx.rows(
        select(jobs.c.state, func.count().label("jobs")).where(*ours).group_by(jobs.c.state)
    )
    running = await tx.rows(
        select(jobs.c.live).where(jobs.c.state == JobState.RUNNING.value, *ours)
    )
    lives = [live for row in running if (live := codec.live_of(row["live"])) is not None]
    booked = select(ledger.c.totals)
    if project is not None:
        booked = booked.where(ledger.c.project_id == project)
    return Overview(
        states={state.value: 0 for state in JobState}
        | {row["state"]: row["jobs"] for row in counted},
        in_flight=sum(live.in_flight for live in lives),
        slots=sum(live.slots for live in lives),
        totals=summed(codec.totals_of(row["totals"]) for row in await tx.rows(booked)),
    )
