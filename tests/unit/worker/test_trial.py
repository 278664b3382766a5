"""A trial of some rows: it waits no longer than a run would, whatever is in the way."""

import asyncio

from nightkiln.core.chunk import Lease
from nightkiln.core.errors import DiskError
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, Live
from nightkiln.core.usage import Totals
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.plan.budget import unseen_of
from nightkiln.plan.retry import RetryPolicy
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.service.leases import LocalLeases
from nightkiln.testing.backends import ScriptedBackend, fault
from nightkiln.worker.base import Desk
from nightkiln.worker.runner import Ending
from nightkiln.worker.trial import Trial

from .conftest import MakeJob

TRIED = {0: frozenset({1, 3, 5})}


class FullDisk(LocalLeases):
    """No chunk gets a new epoch, as when the disk takes nothing."""

    async def raise_epoch(self, lease: Lease) -> Lease:
        """Never."""
        raise DiskError(f"no room for chunk {lease.chunk.number}: the disk is full")


async def trial_of(
    context: Context, job: Job, backend: ScriptedBackend, *, leases: LocalLeases | None = None
) -> Trial:
    run = context.new_run_id()
    desk = Desk(
        job=await moves.begin_run(context, job.id, run),
        run=run,
        leases=leases or LocalLeases(context),
        files=context.files(job.id),
        dice=Dice(clock=context.clock, roll=lambda: 0.0),
    )
    settings = LaneSettings(slots=8, policy=RetryPolicy(base_s=0.0))
    member = Member(backend=backend, settings=settings, price=lambda _: 0.0)
    fleet = Fleet([member], dice=desk.dice)
    return Trial(desk, fleet=fleet, wait_s=0.5, stop=asyncio.Event())


async def test_a_trial_that_is_only_refused_ends_its_wait(
    context: Context, job_of: MakeJob
) -> None:
    backend = ScriptedBackend(latency_s=0.0)
    backend.fail_until(asyncio.get_running_loop().time() + 600, fault(FaultClass.THROTTLE))
    trial = await trial_of(context, await job_of(40), backend)
    async with asyncio.timeout(20):
        tried = await trial.run(TRIED)
    assert (tried.ending, tried.answers) == (Ending.WAITED, ())
    assert tried.waiting


async def test_a_trial_on_a_full_disk_ends_its_wait_and_says_so(
    context: Context, job_of: MakeJob
) -> None:
    backend = ScriptedBackend(latency_s=0.0)
    trial = await trial_of(context, await job_of(40), backend, leases=FullDisk(context))
    backend.shut()
    backend.when_asked = lambda _: trial._window._broken(0, OSError(28, "no space left"))
    loop = asyncio.get_running_loop()
    loop.call_later(2.0, backend.open)  # so that the slots are free to go
    async with asyncio.timeout(20):
        tried = await trial.run(TRIED)
    assert tried.ending is Ending.WAITED
    assert "disk is full" in tried.waiting


async def test_what_a_trial_spent_is_known_to_the_run_that_follows(
    context: Context, job_of: MakeJob
) -> None:
    trial = await trial_of(context, await job_of(40), ScriptedBackend(latency_s=0.0))
    async with asyncio.timeout(20):
        tried = await trial.run(TRIED)
    job = await LocalLeases(context).job(trial._desk.job.id)
    unseen = unseen_of(job.totals, job.live)
    assert (tried.ending, len(tried.answers)) == (Ending.DONE, 3)
    assert unseen.input_tokens + unseen.output_tokens == tried.fresh_tokens > 0


async def test_a_trial_takes_back_nothing_that_an_earlier_run_told_of(
    context: Context, job_of: MakeJob
) -> None:
    job = await job_of(40)
    await LocalLeases(context).report(job.id, Live(at=1.0, totals=Totals(ok=30)))
    job = await LocalLeases(context).job(job.id)
    trial = await trial_of(context, job, ScriptedBackend(latency_s=0.0))
    async with asyncio.timeout(20):
        await trial.run(TRIED)
    job = await LocalLeases(context).job(job.id)
    assert job.live is not None
    assert job.live.totals.answered == 30


async def test_only_the_rows_of_a_trial_are_left_to_it(context: Context, job_of: MakeJob) -> None:
    backend = ScriptedBackend(latency_s=0.0)
    trial = await trial_of(context, await job_of(40), backend)
    left: list[int] = []
    backend.when_asked = lambda _: left.append(trial._fleet.rows_left())
    async with asyncio.timeout(20):
        await trial.run({0: frozenset({1, 3}), 1: frozenset({20})})
    assert left[0] == 3
    assert trial._fleet.rows_left() == 0
