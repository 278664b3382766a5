"""What is on disk, read from the outside: journals frame by frame, parts, the store, manifests."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from nightkiln.app import open_reading
from nightkiln.core.errors import NotFound
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.job import Job
from nightkiln.core.usage import Totals, summed
from nightkiln.store import ledger
from nightkiln.store.database import Database
from nightkiln.vault.frames import Answered, Sent, decode
from nightkiln.vault.home import Home
from nightkiln.vault.publish import read_manifest


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows a home has answers for, and which it knows to have been sent without an end."""

    answered: frozenset[int] = frozenset()
    unended: frozenset[int] = frozenset()

    def after(self, earlier: "Records") -> "Records":
        """These, with what an earlier crash left without an end and no journal tells any more."""
        unended = (self.unended | earlier.unended) - self.answered
        return Records(answered=self.answered, unended=unended)


def records_of(home: Path) -> Records:
    """Read every journal and every part that stands under its final name.

    A journal may go while we look: then its chunk's part is there, and is read after it.
    """
    answered: set[int] = set()
    sent: set[int] = set()
    for journal in home.glob("jobs/*/journal/*.log"):
        try:
            data = journal.read_bytes()
        except FileNotFoundError:
            continue
        for frame in decode(data):
            if isinstance(frame, Answered):
                answered.add(frame.row)
            elif isinstance(frame, Sent):
                sent.update(row for row, _ in frame.tries)
    for part in home.glob("jobs/*/parts/[!.]*.parquet"):
        answered.update(pq.read_table(part, columns=["row"]).column("row").to_pylist())
    return Records(answered=frozenset(answered), unended=frozenset(sent - answered))


async def jobs_of(home: Path) -> list[Job]:
    """The jobs of a home, newest first; none where there is no store yet."""
    try:
        async with open_reading(home) as app:
            return [view.job for view in await app.jobs()]
    except NotFound:
        return []


async def ledger_of(home: Path) -> Totals:
    """Everything a home has ever spent."""
    store = await Database.open(Home(home).database, read_only=True)
    try:
        entries = await store.read(
            lambda tx: ledger.by_day(tx, project=DEFAULT_PROJECT, first="0000", last="9999")
        )
    finally:
        await store.aclose()
    return summed(entry.totals for entry in entries)


def published_rows(home: Path, job: Job) -> list[int]:
    """The rows of the published dataset of the job's generation, read by its manifest."""
    files = Home(home).job(job.id)
    manifest = read_manifest(files, job.generation)
    assert manifest is not None, f"{job.id} is {job.state} and has no manifest"
    folder = files.published(job.generation)
    return [
        row
        for file in manifest.files
        for row in pq.read_table(folder / file.name).column("row").to_pylist()
    ]
