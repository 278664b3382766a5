"""Use cases share transactions and stay independent; callers come and go."""

import asyncio
from collections.abc import Callable

import pytest

from nightkiln.core.errors import HomeBusy
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.job import Job
from nightkiln.store import jobs
from nightkiln.store.base import ControlPlane
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx

MakeJob = Callable[..., Job]


class RefusedError(Exception):
    """What a use case of these tests raises."""


ALL = Page(limit=100)


async def names(database: ControlPlane) -> set[str]:
    listed, _ = await database.read(lambda tx: jobs.list_jobs(tx, ALL, project=DEFAULT_PROJECT))
    return {job.id for job in listed}


async def test_one_bad_use_case_among_five_takes_back_only_its_own_work(
    database: ControlPlane, job: MakeJob
) -> None:
    async def put(tx: Tx, name: str) -> str:
        await jobs.insert(tx, job(name))
        if name == "job_2":
            raise RefusedError(name)
        return name

    done = await asyncio.gather(
        *[database.write(lambda tx, n=f"job_{i}": put(tx, n)) for i in range(5)],  # type: ignore[misc]
        return_exceptions=True,
    )
    assert isinstance(done.pop(2), RefusedError)
    assert done == ["job_0", "job_1", "job_3", "job_4"]
    assert await names(database) == set(done)


async def test_a_broken_constraint_reaches_only_its_caller(
    database: ControlPlane, job: MakeJob
) -> None:
    done = await asyncio.gather(
        *[database.write(lambda tx: jobs.insert(tx, job())) for _ in range(2)],
        database.write(lambda tx: jobs.insert(tx, job("job_2"))),
        return_exceptions=True,
    )
    assert [one is None for one in done] == [True, False, True]
    assert await names(database) == {"job_1", "job_2"}


async def test_a_caller_that_goes_away_never_stops_the_writer(
    database: ControlPlane, job: MakeJob
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await jobs.insert(tx, job("job_slow"))
        begun.set()
        await go_on.wait()

    leaver = asyncio.create_task(database.write(slow))
    await begun.wait()
    in_line = asyncio.create_task(database.write(lambda tx: jobs.insert(tx, job("job_line"))))
    await asyncio.sleep(0)
    for task in (leaver, in_line):
        task.cancel()
    await asyncio.gather(leaver, in_line, return_exceptions=True)
    go_on.set()
    await database.write(lambda tx: jobs.insert(tx, job("job_last")))
    assert await names(database) == {"job_slow", "job_last"}


async def test_a_use_case_that_overruns_its_deadline_costs_its_neighbours_nothing(
    database: ControlPlane, job: MakeJob
) -> None:
    async def endless(tx: Tx) -> None:
        await jobs.insert(tx, job("job_endless"))
        await asyncio.Event().wait()

    done = await asyncio.gather(
        database.write(lambda tx: jobs.insert(tx, job("job_1"))),
        database.write(endless, deadline_s=0.2),
        database.write(lambda tx: jobs.insert(tx, job("job_2"))),
        return_exceptions=True,
    )
    assert isinstance(done[1], HomeBusy)
    assert "deadline" not in str(done[1])
    await database.write(lambda tx: jobs.insert(tx, job("job_3")))
    assert await names(database) == {"job_1", "job_2", "job_3"}


async def test_closing_finishes_what_was_in_line(database: ControlPlane, job: MakeJob) -> None:
    waiting = [
        asyncio.create_task(database.write(lambda tx, n=n: jobs.insert(tx, job(f"job_{n}"))))  # type: ignore[misc]
        for n in range(3)
    ]
    await asyncio.sleep(0)
    await database.aclose()
    await asyncio.gather(*waiting)
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(lambda tx: jobs.insert(tx, job("job_4")))


async def test_a_reader_cannot_write(database: ControlPlane, job: MakeJob) -> None:
    with pytest.raises(Exception, match="readonly"):
        await database.read(lambda tx: jobs.insert(tx, job()))
    assert await names(database) == set()


async def test_a_query_that_overruns_its_deadline_is_given_up(database: ControlPlane) -> None:
    async def endless(tx: Tx) -> None:
        await jobs.list_jobs(tx, ALL, project=DEFAULT_PROJECT)
        await asyncio.Event().wait()

    for _ in range(6):
        with pytest.raises(HomeBusy):
            await database.read(endless, deadline_s=0.02)
    assert await names(database) == set()


async def test_a_use_cases_own_timeout_is_its_own(database: ControlPlane) -> None:
    async def late(tx: Tx) -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await database.write(late)
    with pytest.raises(TimeoutError, match="mine"):
        await database.read(late)
