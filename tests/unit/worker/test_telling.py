"""What a run shows of its progress: only what the store knows, and that soon."""

import asyncio
import itertools
from collections.abc import Callable

from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, Live
from nightkiln.core.usage import Totals
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.service.leases import LocalLeases
from nightkiln.testing.backends import ScriptedBackend
from nightkiln.worker.base import Desk
from nightkiln.worker.runner import Ending, Runner, RunSettings
from nightkiln.worker.telling import FIRST_S, REPORT_S, Told

from .conftest import MakeJob

ROWS = 120


class Listening(LocalLeases):
    """The real leases, which remember how many rows the store was told of."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.told = [0]

    async def report(self, job: JobId, live: Live) -> None:
        """As ever; what is committed is remembered."""
        await super().report(job, live)
        self.told.append(live.totals.answered)


def told_at(told: Told, *, until: float) -> list[float]:
    """When a run that looks ten times a second reports."""
    times = []
    for tenth in range(round(until * 10) + 1):
        if told.is_due(tenth / 10):
            told.reports(tenth / 10)
            times.append(tenth / 10)
    return times


async def test_reports_are_quick_at_first_and_a_second_apart_later(job_of: MakeJob) -> None:
    times = told_at(Told(await job_of(1)), until=100.0)
    assert times[:2] == [0.0, FIRST_S]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert max(pauses) <= REPORT_S + 0.1
    assert len(times) <= 100 + 8


async def test_what_an_earlier_run_told_of_is_not_taken_back(job_of: MakeJob) -> None:
    told = Told(await job_of(1))
    told.heard(Totals(ok=7))
    assert told.at_least(Totals(ok=5)) == Totals(ok=7)
    assert told.at_least(Totals(ok=9)) == Totals(ok=9)


async def test_a_run_shows_no_more_than_the_store_knows_and_shows_it_soon(
    context: Context, job_of: MakeJob
) -> None:
    leases, shown, stop = Listening(context), [0], asyncio.Event()
    ahead: list[int] = []

    def look(live: Live) -> None:
        shown.append(live.totals.answered)
        if live.totals.answered > leases.told[-1]:
            ahead.append(live.totals.answered)

    runner = await _runner(context, await job_of(ROWS), leases, look, stop)
    async with asyncio.timeout(60):
        assert await runner.run() is Ending.DONE
    assert not ahead
    assert shown == sorted(shown)
    assert shown[-1] == ROWS
    # The job takes about a second and a half: it is seen moving long before it is over.
    assert len({count for count in shown if 0 < count < ROWS}) >= 3


async def _runner(
    context: Context, job: Job, leases: Listening, look: Callable[[Live], None], stop: asyncio.Event
) -> Runner:
    run = context.new_run_id()
    desk = Desk(
        job=await moves.begin_run(context, job.id, run),
        run=run,
        leases=leases,
        files=context.files(job.id),
        dice=Dice(clock=context.clock, roll=lambda: 0.0),
    )
    member = Member(
        backend=ScriptedBackend(latency_s=0.1),
        settings=LaneSettings(slots=8),
        price=lambda _: 0.0,
    )
    fleet = Fleet([member], dice=desk.dice)
    return Runner(desk, fleet=fleet, settings=RunSettings(slots=8), on_live=look, stop=stop)
