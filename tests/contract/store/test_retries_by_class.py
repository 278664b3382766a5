"""A retry of some fault classes: which chunks open, what leaves the sums, what is remembered."""

from collections.abc import Callable
from functools import partial

import msgspec

from nightkiln.core.chunk import ChunkState
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.job import Job, JobState
from nightkiln.core.usage import Totals
from nightkiln.store import chunks, jobs
from nightkiln.store.base import ControlPlane

from .test_chunks import finish, look, sealed


async def test_only_rows_with_these_faults_leave_the_sums(
    database: ControlPlane, running: Job
) -> None:
    parts = [sealed(ok=6, timeout=3, invalid=1), sealed(ok=9, invalid=1)] + [sealed()] * 3
    await finish(database, running, parts)
    opened = await database.write(
        lambda tx: chunks.reopen(tx, running.id, classes=frozenset({"timeout"}), generation=2)
    )
    job, known = await look(database, running)
    assert opened == 1
    assert [chunk.state for chunk in known[:2]] == [ChunkState.OPEN, ChunkState.COMMITTED]
    assert known[0].totals == Totals(ok=6, failed=1, faults={"invalid": 1})
    assert job.totals == Totals(ok=45, failed=2, faults={"invalid": 2})


async def test_the_classes_of_a_generation_are_remembered_with_the_job(
    database: ControlPlane, running: Job
) -> None:
    changed = msgspec.structs.replace(running, retry_classes=("overload", "transient"))
    await database.write(lambda tx: jobs.save(tx, changed))
    found, _ = await look(database, running)
    assert found.retry_classes == ("overload", "transient")
    await database.write(lambda tx: jobs.save(tx, running))
    assert (await look(database, running))[0].retry_classes == ()


async def test_how_a_job_is_run_is_kept_beside_it(database: ControlPlane, running: Job) -> None:
    assert await database.read(lambda tx: jobs.manner_of(tx, running.id)) is None
    for text in ('{"endpoint":"a"}', '{"endpoint":"b"}'):
        await database.write(partial(jobs.set_manner, job=running.id, manner=text))
        assert await database.read(lambda tx: jobs.manner_of(tx, running.id)) == text
    await database.write(lambda tx: jobs.save(tx, running))
    assert await database.read(lambda tx: jobs.manner_of(tx, running.id)) == text


async def test_jobs_are_found_by_when_and_how_they_ended(
    database: ControlPlane, job: Callable[..., Job]
) -> None:
    for number, state in enumerate([JobState.SUCCEEDED, JobState.CANCELLED, JobState.RUNNING]):
        made = job(f"job_{number}", state=state, key=str(number))
        ended = None if state is JobState.RUNNING else float(number)
        made = msgspec.structs.replace(made, ended_at=ended)
        await database.write(partial(jobs.insert, job=made))

    async def old(before: float, *states: JobState) -> list[str]:
        found = await database.read(
            lambda tx: jobs.ended_before(
                tx, project=DEFAULT_PROJECT, states=set(states), before=before
            )
        )
        return [one.id for one in found]

    assert await old(9.0, JobState.SUCCEEDED, JobState.CANCELLED) == ["job_0", "job_1"]
    assert await old(1.0, JobState.SUCCEEDED, JobState.CANCELLED) == ["job_0"]
    assert await old(9.0, JobState.CANCELLED) == ["job_1"]
