"""Publishing what a generation has, then saying so: terminal means downloadable."""

import asyncio
import hashlib
from typing import Final

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState
from nightkiln.service import badrows, moves
from nightkiln.service.context import Context
from nightkiln.store import chunks, generations, jobs
from nightkiln.store.tx import Tx
from nightkiln.vault.publish import Manifest, publish

_ENDS: Final = {
    JobState.FINALIZING: None,  # succeeded or completed_with_errors: the counts decide
    JobState.CANCELLING: JobState.CANCELLED,
}


async def finalize(context: Context, job: JobId) -> Job:
    """Publish the committed parts and end the job. Safe to repeat. Raises DiskError.

    The job is `cancelling` already, or moves to `finalizing` here.
    """
    found = await context.store.read(lambda tx: jobs.find(tx, job))
    if found is None or found.state not in _ENDS:
        found = await moves.move(context, job, JobState.FINALIZING)
    done = await context.store.read(lambda tx: chunks.committed(tx, job))
    outcome = _ENDS[found.state] or await _outcome(context, found)
    manifest = Manifest(
        job=job,
        generation=found.generation,
        outcome=str(outcome),
        rows=found.rows,
        totals=found.totals,
        files=(),
    )
    whole = await asyncio.to_thread(publish, context.files(job), done, manifest)
    ended = await _end(context, found, whole, outcome)
    crashpoints.reach("job.ended")
    return ended


async def _outcome(context: Context, job: Job) -> JobState:
    """How a job ends that nobody cancelled; rows to be skipped are no errors.

    Only a deadline lets a job come here before every row has an answer.
    """
    if job.totals.answered < job.rows:
        return JobState.EXPIRED
    skipped = 0
    if job.totals.ok < job.rows and job.spec.source.on_bad_row == "skip":
        skipped = await asyncio.to_thread(badrows.count, context.files(job.id))
    if job.totals.ok + skipped == job.rows:
        return JobState.SUCCEEDED
    return JobState.COMPLETED_WITH_ERRORS


async def _end(context: Context, job: Job, manifest: Manifest, outcome: JobState) -> Job:
    now = context.clock()
    sha256 = hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()

    async def use_case(tx: Tx) -> Job:
        found = await jobs.find(tx, job.id)
        assert found is not None
        ended = msgspec.structs.replace(found.moved(outcome), ended_at=now, reason="")
        await jobs.save(tx, ended)
        await generations.end(
            tx,
            generations.Generation(
                job=job.id,
                number=job.generation,
                opened_at=job.created_at,
                ended_at=now,
                state=outcome,
                totals=found.totals,
                manifest_sha256=sha256,
            ),
        )
        return ended

    return await context.store.write(use_case)
