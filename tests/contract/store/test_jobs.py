"""What every store keeps about jobs, generations and the ledger."""

from collections.abc import Callable

import msgspec
import pytest

from nightkiln.core.errors import IllegalMove, NotFound
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, ProjectId
from nightkiln.core.job import Job, JobState, Live, Sampling, Wanted
from nightkiln.core.usage import Totals
from nightkiln.store import chunks, generations, jobs, ledger
from nightkiln.store.base import ControlPlane
from nightkiln.store.generations import Generation
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx

MakeJob = Callable[..., Job]
HERE = DEFAULT_PROJECT


async def put(database: ControlPlane, *made: Job) -> None:
    async def insert(tx: Tx) -> None:
        for job in made:
            await jobs.insert(tx, job)

    await database.write(insert)


async def test_a_job_comes_back_as_it_went_in(database: ControlPlane, job: MakeJob) -> None:
    sampling = Sampling(temperature=0.5, extra={"top_k": msgspec.Raw(b"40")})
    spec = msgspec.structs.replace(job().spec, sampling=sampling)
    live = Live(at=3.5, totals=Totals(ok=2, faults={"throttled": 1}), waiting="for a key")
    made = msgspec.structs.replace(
        job(), spec=spec, live=live, columns=("a", "b"), rows=7, reason="é", started_at=2.0
    )
    await put(database, made)
    assert await database.read(lambda tx: jobs.get(tx, made.id, project=HERE)) == made
    assert await database.read(lambda tx: jobs.find(tx, made.id)) == made


async def test_another_projects_job_is_not_found(database: ControlPlane, job: MakeJob) -> None:
    await put(database, job())
    for name, project in (("job_1", "other"), ("job_2", "default")):
        with pytest.raises(NotFound):
            await database.read(
                lambda tx, n=name, p=project: jobs.get(tx, JobId(n), project=ProjectId(p))  # type: ignore[misc]
            )


async def test_a_key_finds_the_newest_job_to_attach_to(
    database: ControlPlane, job: MakeJob
) -> None:
    await put(
        database,
        job("job_a", at=1.0, state=JobState.SUCCEEDED),
        job("job_b", at=2.0, state=JobState.QUEUED),
        job("job_c", at=3.0, state=JobState.FAILED),
        job("job_d", at=4.0, state=JobState.DELETING),
        job("job_e", at=5.0, key="other"),
    )
    found = await database.read(lambda tx: jobs.find_by_key(tx, "k", project=HERE))
    assert found is not None
    assert found.id == "job_b"
    assert await database.read(lambda tx: jobs.find_by_key(tx, "no", project=HERE)) is None


async def test_pages_list_every_job_once_newest_first(database: ControlPlane, job: MakeJob) -> None:
    await put(database, *[job(f"job_{n}", at=float(n // 2)) for n in range(7)])
    await put(database, job("job_x", state=JobState.DELETING))
    seen: list[str] = []
    after, more = None, True
    while more:
        page = Page(limit=3, after=after)
        found, more = await database.read(
            lambda tx, p=page: jobs.list_jobs(tx, p, project=HERE)  # type: ignore[misc]
        )
        seen += [listed.id for listed in found]
        after = found[-1].id
    assert seen == [f"job_{n}" for n in (6, 5, 4, 3, 2, 1, 0)]


async def test_jobs_in_a_state_are_found_over_all_projects(
    database: ControlPlane, job: MakeJob
) -> None:
    await put(database, job("job_a", state=JobState.DELETING), job("job_b"), job("job_c", at=0.5))
    found = await database.read(lambda tx: jobs.in_states(tx, {JobState.RUNNING}))
    assert [one.id for one in found] == ["job_c", "job_b"]


async def test_a_job_moves_only_where_the_table_says(database: ControlPlane, job: MakeJob) -> None:
    await put(database, job(state=JobState.RUNNING))
    paused = job().moved(JobState.PAUSED)
    await database.write(lambda tx: jobs.save(tx, paused))
    await database.write(lambda tx: jobs.save(tx, paused))
    with pytest.raises(IllegalMove, match="is paused and may not go to succeeded"):
        await database.write(lambda tx: jobs.save(tx, job(state=JobState.SUCCEEDED)))
    with pytest.raises(NotFound):
        await database.write(lambda tx: jobs.save(tx, job("job_2")))


async def test_a_stale_save_undoes_no_cancel_no_count_and_no_last_word(
    database: ControlPlane, running: Job
) -> None:
    live = Live(at=1.0, totals=Totals(ok=1))

    async def meanwhile(tx: Tx) -> None:
        await jobs.want(tx, running.id, Wanted.CANCEL, project=HERE)
        await jobs.set_live(tx, running.id, live)

    await database.write(meanwhile)
    stale = msgspec.structs.replace(running, totals=Totals(ok=99), reason="new")
    await database.write(lambda tx: jobs.save(tx, stale))
    found = await database.read(lambda tx: jobs.get(tx, running.id, project=HERE))
    assert (found.wanted, found.live, found.totals) == (Wanted.CANCEL, live, Totals())
    assert found.reason == "new"


async def test_nobody_wants_anything_of_another_projects_job(
    database: ControlPlane, running: Job
) -> None:
    with pytest.raises(NotFound):
        await database.write(
            lambda tx: jobs.want(tx, running.id, Wanted.CANCEL, project=ProjectId("other"))
        )


async def test_only_a_tombstone_is_removed_and_takes_its_chunks_along(
    database: ControlPlane, running: Job
) -> None:
    await database.write(lambda tx: generations.begin(tx, running.id, 1, now=1.0))
    with pytest.raises(IllegalMove):
        await database.write(lambda tx: jobs.remove(tx, running.id))
    await database.write(lambda tx: jobs.save(tx, running.moved(JobState.DELETING)))
    await database.write(lambda tx: jobs.remove(tx, running.id))
    await database.write(lambda tx: jobs.remove(tx, running.id))
    assert await database.read(lambda tx: chunks.all_chunks(tx, running.id)) == []
    assert await database.read(lambda tx: generations.of_job(tx, running.id)) == []


async def test_a_generation_begins_once_and_keeps_how_it_ended(
    database: ControlPlane, running: Job
) -> None:
    ended = Generation(
        job=running.id,
        number=1,
        opened_at=1.0,
        ended_at=9.0,
        state=JobState.SUCCEEDED,
        totals=Totals(ok=50),
        manifest_sha256="ab",
    )
    await database.write(lambda tx: generations.begin(tx, running.id, 1, now=1.0))
    await database.write(lambda tx: generations.begin(tx, running.id, 1, now=5.0))
    await database.write(lambda tx: generations.end(tx, ended))
    await database.write(lambda tx: generations.begin(tx, running.id, 2, now=10.0))
    assert await database.read(lambda tx: generations.get(tx, running.id, 1)) == ended
    listed = await database.read(lambda tx: generations.of_job(tx, running.id))
    assert [(one.number, one.state) for one in listed] == [(1, JobState.SUCCEEDED), (2, None)]
    with pytest.raises(NotFound):
        await database.read(lambda tx: generations.get(tx, running.id, 3))
    with pytest.raises(NotFound):
        await database.write(
            lambda tx: generations.end(tx, msgspec.structs.replace(ended, number=3))
        )


async def test_the_ledger_sums_by_day_backend_and_model(database: ControlPlane) -> None:
    def entry(day: str, backend: str, cost: int) -> ledger.Entry:
        return ledger.Entry(
            project=HERE, day=day, backend=backend, model="m", totals=Totals(cost_nanos=cost)
        )

    async def book(tx: Tx) -> None:
        for one in (entry("2026-12-01", "b", 1), entry("2026-12-01", "b", 2)):
            await ledger.add(tx, one)
        await ledger.add(tx, entry("2026-12-01", "a", 0))
        await ledger.add(tx, entry("2026-12-02", "a", 4))
        await ledger.add(tx, entry("2026-12-03", "a", 8))

    await database.write(book)
    found = await database.read(
        lambda tx: ledger.by_day(tx, project=HERE, first="2026-12-01", last="2026-12-02")
    )
    assert found == [entry("2026-12-01", "b", 3), entry("2026-12-02", "a", 4)]


def test_the_ledgers_day_is_in_utc() -> None:
    assert ledger.day_of(86_399.9) == "1970-01-01"
    assert ledger.day_of(86_400.0) == "1970-01-02"
