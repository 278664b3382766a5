"""What keys have had asked, in every store: added once with each commit, kept past the job."""

import msgspec

from nightkiln.core.access import KeyId
from nightkiln.core.chunk import Sealed
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.job import Job, JobState
from nightkiln.core.usage import Totals
from nightkiln.store import chunks, jobs, keyuses
from nightkiln.store.base import ControlPlane
from nightkiln.store.keyuses import Used

KEY, OTHER = KeyId("key_1"), KeyId("key_2")
SPENT = Totals(attempts=10, input_tokens=30, output_tokens=12, cost_nanos=5)


async def used(database: ControlPlane, key: KeyId) -> Used:
    return await database.read(lambda tx: keyuses.used(tx, key))


async def commit(database: ControlPlane, job: Job, name: str) -> None:
    run = RunId("run_me")
    leases = await database.write(
        lambda tx: chunks.lease(tx, job.id, run=run, want=1, request_id=name)
    )
    part = Sealed(sha256=name, size_bytes=1, totals=Totals(ok=10), spent=SPENT)
    for _ in range(2):  # again, as after an answer that was lost
        await database.write(lambda tx: chunks.commit(tx, leases[0], part, now=1.0, backend="b"))


async def test_a_commit_is_spent_once_by_the_key_that_the_job_counts_for(
    database: ControlPlane, running: Job
) -> None:
    await commit(database, running, "nobody")
    await database.write(lambda tx: jobs.set_key(tx, running.id, KEY))
    await commit(database, running, "first")
    await database.write(lambda tx: jobs.set_key(tx, running.id, OTHER))
    await commit(database, running, "second")
    assert await used(database, KEY) == Used(tokens=42, cost_nanos=5)
    assert await used(database, OTHER) == Used(tokens=42, cost_nanos=5)


async def test_uses_are_kept_when_their_job_is_gone(database: ControlPlane, running: Job) -> None:
    await database.write(lambda tx: keyuses.put_rows(tx, KEY, running.id, 1, rows=50))
    gone = msgspec.structs.replace(running, state=JobState.DELETING, rows=50)
    await database.write(lambda tx: jobs.save(tx, gone))
    await database.write(lambda tx: jobs.remove(tx, running.id))
    assert await used(database, KEY) == Used(rows=50)


async def test_rows_are_put_in_place_of_what_was_counted(database: ControlPlane) -> None:
    await database.write(lambda tx: keyuses.put_rows(tx, KEY, JobId("a"), 1, rows=10))
    await database.write(lambda tx: keyuses.put_rows(tx, KEY, JobId("a"), 1, rows=7))
    await database.write(lambda tx: keyuses.put_rows(tx, KEY, JobId("a"), 2, rows=3))
    await database.write(lambda tx: keyuses.carry_over(tx, KEY, OTHER))
    assert (await used(database, KEY)).rows == (await used(database, OTHER)).rows == 10
