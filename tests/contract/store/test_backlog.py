"""What waits to be done about jobs: in pages, in the order of turns, and by indexes alone."""

from collections.abc import Callable
from functools import partial

import msgspec
from sqlalchemy import text

from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, ProjectId
from nightkiln.core.job import Job, JobState, Label, Wanted
from nightkiln.store import backlog, batches, jobs
from nightkiln.store.backlog import Queue
from nightkiln.store.base import ControlPlane
from nightkiln.store.keys import ensure_project
from nightkiln.store.tx import Tx

OTHER = ProjectId("other")
Make = Callable[..., Job]


def of_class(job: Job, priority: int) -> Job:
    spec = msgspec.structs.replace(job.spec, label=Label(priority=priority))
    return msgspec.structs.replace(job, spec=spec)


def batch_over(job: Job, *, expires_at: float, ended_at: float | None = None) -> Batch:
    return Batch(
        id=BatchId(job.id.replace("job_", "batch_")),
        project=job.project,
        dialect=Dialect.OPENAI,
        job=job.id,
        endpoint="/v1/chat/completions",
        created_at=1.0,
        expires_at=expires_at,
        ended_at=ended_at,
    )


async def recorded(database: ControlPlane, *made: Job | Batch) -> None:
    async def record(tx: Tx) -> None:
        await ensure_project(tx, OTHER, now=1.0)
        for one in made:
            if isinstance(one, Job):
                await jobs.insert(tx, one)
            else:
                await batches.insert_batch(tx, one)

    await database.write(record)


async def test_queues_are_projects_and_classes_that_want_jobs_run(
    database: ControlPlane, job: Make
) -> None:
    elsewhere = msgspec.structs.replace(job("job_4"), project=OTHER)
    await recorded(
        database,
        of_class(job("job_1", state=JobState.QUEUED), 1),
        of_class(job("job_2", state=JobState.PAUSED), 1),
        job("job_3"),
        elsewhere,
        msgspec.structs.replace(of_class(job("job_5"), 1), project=OTHER, wanted=Wanted.PAUSE),
        msgspec.structs.replace(of_class(job("job_6", state=JobState.SUCCEEDED), 1), project=OTHER),
        msgspec.structs.replace(of_class(job("job_7", state=JobState.DELETING), 1), project=OTHER),
    )
    found = await database.read(backlog.queues)
    assert sorted((one.project, one.priority) for one in found) == [
        (DEFAULT_PROJECT, 0),
        (DEFAULT_PROJECT, 1),
        (OTHER, 0),
    ]


async def test_a_queue_is_read_in_pages_the_oldest_first(database: ControlPlane, job: Make) -> None:
    made = [job(f"job_{n}", state=JobState.QUEUED, at=float(9 - n // 2)) for n in range(7)]
    await recorded(database, *made)
    queue, seen = Queue(project=DEFAULT_PROJECT, priority=0), list[JobId]()
    after = None
    while page := await database.read(partial(backlog.queued, queue=queue, after=after, limit=2)):
        seen += [one.id for one in page]
        after = page[-1]
    assert seen == [one.id for one in sorted(made, key=lambda one: (one.created_at, one.id))]


async def test_what_asks_no_backend_is_found_however_far_behind_it_is(
    database: ControlPlane, job: Make
) -> None:
    waiting = [job(f"job_a{n}", state=JobState.QUEUED) for n in range(5)]
    late, early = job("job_late", state=JobState.QUEUED), job("job_early", state=JobState.QUEUED)
    await recorded(
        database,
        *waiting,
        late,
        batch_over(late, expires_at=5.0),
        early,
        batch_over(early, expires_at=50.0),
        msgspec.structs.replace(job("job_cancel"), wanted=Wanted.CANCEL),
        msgspec.structs.replace(job("job_pause"), wanted=Wanted.PAUSE),
        msgspec.structs.replace(job("job_rests", state=JobState.PAUSED), wanted=Wanted.PAUSE),
        job("job_publish", state=JobState.FINALIZING),
    )
    seen, after = dict[str, float | None](), ""
    while page := await database.read(partial(backlog.due, now=9.0, after=after, limit=1)):
        seen |= {one.id: one.deadline for one in page}
        after = page[-1].id
    assert seen == {
        "job_cancel": None,
        "job_late": 5.0,
        "job_pause": None,
        "job_publish": None,
    }
    assert await database.read(partial(backlog.next_deadline, now=9.0)) == 50.0
    assert await database.read(partial(backlog.next_deadline, now=50.0)) is None


async def test_batches_whose_job_is_over_or_gone_are_to_be_ended(
    database: ControlPlane, job: Make
) -> None:
    over, gone, running = job("job_o", state=JobState.CANCELLED), job("job_g"), job("job_r")
    ended = job("job_e", state=JobState.CANCELLED)
    await recorded(
        database,
        over,
        running,
        ended,
        *(batch_over(one, expires_at=5.0) for one in (over, gone, running)),
        batch_over(ended, expires_at=5.0, ended_at=4.0),
    )
    found = await database.read(partial(backlog.unsettled, limit=9))
    assert [one.job for one in found] == ["job_g", "job_o"]
    left = await database.read(
        partial(backlog.remaining, names=[one.id for one in (over, gone, running, ended)])
    )
    assert left == {"job_g", "job_o", "job_r"}


async def test_a_look_at_the_queues_reads_an_index_and_no_job(database: ControlPlane) -> None:
    said = list[str]()

    async def plan(tx: Tx) -> None:
        rows = await tx.rows(
            text(
                "explain query plan select project_id, priority from jobs where ended_at is null"
                " and state in ('validating','queued','running','paused') and wanted = 'run'"
                " group by project_id, priority"
            )
        )
        said.extend(row["detail"] for row in rows)

    await database.read(plan)
    assert said == ["SCAN jobs USING COVERING INDEX jobs_left"]
