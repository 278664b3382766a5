"""One database of every kind, fresh for each test, and a job to put into it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from nightkiln.core.chunk import Chunk
from nightkiln.core.ids import DEFAULT_PROJECT, JobId
from nightkiln.core.job import Job, JobSpec, JobState, PromptSpec, SourceSpec
from nightkiln.store import chunks, jobs
from nightkiln.store.base import ControlPlane
from nightkiln.store.database import Database
from nightkiln.store.tx import Tx

KINDS = ("sqlite",)  # PostgreSQL joins here
SPEC = JobSpec(
    source=SourceSpec(kind="csv", path="/in.csv", name="in.csv", size_bytes=9, sha256="00"),
    prompt=PromptSpec(columns=("text",)),
    model="sim",
)


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    database = await Database.open(tmp_path / "store.db")
    yield database
    await database.aclose()


@pytest.fixture
def job() -> Callable[..., Job]:
    def make(
        name: str = "job_1",
        *,
        state: JobState = JobState.RUNNING,
        at: float = 1.0,
        key: str = "k",
    ) -> Job:
        return Job(
            id=JobId(name),
            project=DEFAULT_PROJECT,
            spec=SPEC,
            idempotency_key=key,
            state=state,
            created_at=at,
        )

    return make


@pytest.fixture
async def running(database: ControlPlane, job: Callable[..., Job]) -> Job:
    """A running job of five chunks of ten rows."""
    made = job()

    async def record(tx: Tx) -> None:
        await jobs.insert(tx, made)
        await chunks.insert_many(
            tx,
            [
                Chunk(job=made.id, number=n, first_row=10 * n, rows=10, segment=0, row_group=n)
                for n in range(5)
            ],
        )

    await database.write(record)
    return made
