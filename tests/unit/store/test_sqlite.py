"""What is true of SQLite: several processes, a full disk, kill -9."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import SQLAlchemyError

from nightkiln.core.errors import DiskError, HomeBusy
from nightkiln.core.ids import JobId
from nightkiln.store import chunks, sqlite
from nightkiln.store.database import Database
from nightkiln.store.schema import projects
from nightkiln.store.tx import Tx

# Writes rows one acknowledged transaction after another, and says so.
WRITER = """
import asyncio, pathlib, sys
from sqlalchemy import insert
from nightkiln.store.database import Database
from nightkiln.store.schema import projects
async def main(path, name, count):
    database = await Database.open(pathlib.Path(path))
    for n in range(count):
        row = {"id": f"{name}{n}", "created_at": 0.0}
        await database.write(lambda tx: tx.change(insert(projects), row))
        print(row["id"], flush=True)
    await database.aclose()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def names(tx: Tx) -> set[str]:
    return {row["id"] for row in await tx.rows(select(projects.c.id))} - {"default"}


async def add(tx: Tx, name: str, *, filler: int = 0) -> None:
    await tx.change(insert_into(projects), {"id": name + "x" * filler, "created_at": 0.0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_every_write_is_synchronous_and_foreign_keys_hold(path: Path) -> None:
    async def settings(tx: Tx) -> list[object]:
        names = ("synchronous", "foreign_keys", "journal_mode", "query_only")
        return [dict((await tx.row(text(f"PRAGMA {n}"))) or {})[n] for n in names]

    database = await Database.open(path)
    assert await database.write(settings) == [2, 1, "wal", 0]
    assert (await database.read(settings))[1:] == [1, "wal", 1]
    await database.aclose()


async def test_two_processes_write_to_one_file(path: Path) -> None:
    writers = [writer(path, name, 25) for name in ("a", "b")]
    ends = [await asyncio.to_thread(one.communicate, timeout=60) for one in writers]
    assert [one.returncode for one in writers] == [0, 0], ends
    database = await Database.open(path, read_only=True)
    assert await database.read(names) == {f"{w}{n}" for w in "ab" for n in range(25)}
    await database.aclose()


async def test_kill_nine_keeps_every_acknowledged_write(path: Path) -> None:
    process = writer(path, "w", 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.communicate(timeout=60)[0].split()
    assert process.returncode == -signal.SIGKILL
    whole = {name for name in said if name}
    database = await Database.open(path)
    kept = await database.read(names)
    assert whole <= kept
    assert len(kept) <= len(whole) + 1
    await database.write(lambda tx: add(tx, "after"))
    await database.aclose()


async def test_reading_works_while_another_process_writes(path: Path) -> None:
    process = writer(path, "w", 100_000)
    assert process.stdout is not None
    try:
        for _ in range(3):
            name = process.stdout.readline().strip()
            database = await Database.open(path, read_only=True)
            assert name in await database.read(names)
            with pytest.raises(RuntimeError, match="reading only"):
                await database.write(names)
            await database.aclose()
    finally:
        process.kill()
        process.communicate(timeout=60)


async def test_a_read_is_one_snapshot(path: Path) -> None:
    database = await Database.open(path)

    async def twice(tx: Tx) -> tuple[int, int]:
        count = select(func.count().label("n")).select_from(projects)
        first = await tx.row(count)
        await database.write(lambda inner: add(inner, "between"))
        second = await tx.row(count)
        assert first is not None
        assert second is not None
        return first["n"], second["n"]

    assert await database.read(twice) == (1, 1)
    assert await database.read(names) == {"between"}
    await database.aclose()


async def test_a_full_disk_refuses_the_whole_group_and_breaks_nothing(path: Path) -> None:
    database = await Database.open(path)
    await database.write(lambda tx: add(tx, "before"))

    async def limit_pages(tx: Tx) -> None:
        await tx.row(text("PRAGMA max_page_count=1"))

    await database.write(limit_pages)
    done = await asyncio.gather(
        database.write(lambda tx: add(tx, "small")),
        database.write(lambda tx: add(tx, "big", filler=100_000)),
        database.write(lambda tx: add(tx, "later")),
        return_exceptions=True,
    )
    assert [type(one) for one in done] == [DiskError] * 3
    assert all(isinstance(one, DiskError) and "doctor" in one.hint for one in done)
    assert await database.read(names) == {"before"}
    await database.write(lambda tx: add(tx, "after"))
    assert await database.read(names) == {"before", "after"}
    await database.aclose()


async def test_a_lock_that_another_process_keeps_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await Database.open(path)).aclose()
    impatient = tuple(one.replace("15000", "50") for one in sqlite._WRITER_PRAGMAS)
    monkeypatch.setattr(sqlite, "_WRITER_PRAGMAS", impatient)
    database = await Database.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = await asyncio.gather(
        *[database.write(lambda tx, n=n: add(tx, n)) for n in "ab"],  # type: ignore[misc]
        return_exceptions=True,
    )
    assert [type(one) for one in done] == [HomeBusy, HomeBusy]
    other.execute("ROLLBACK")
    other.close()
    await database.write(lambda tx: add(tx, "c"))
    assert await database.read(names) == {"c"}
    await database.aclose()


@pytest.mark.parametrize("pragma", ["PRAGMA journal_mode=DELETE", "SELECT nonsense"])
async def test_a_connection_that_cannot_be_set_up_is_closed_and_nothing_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str
) -> None:
    await (await Database.open(path)).aclose()
    right = sqlite._WRITER_PRAGMAS
    monkeypatch.setattr(sqlite, "_WRITER_PRAGMAS", (*right[:2], pragma))
    database = await Database.open(path)
    with pytest.raises((DiskError, SQLAlchemyError)):
        await database.write(lambda tx: add(tx, "a"))
    assert await database.read(names) == set()
    await database.aclose()


async def test_leasing_reads_only_the_work_that_is_left(path: Path) -> None:
    database = await Database.open(path)
    query = chunks._of(JobId("j")).where(chunks._LEFT)
    words = str(query.compile(compile_kwargs={"literal_binds": True}))
    plan = await database.read(lambda tx: tx.rows(text(f"EXPLAIN QUERY PLAN {words}")))
    assert "chunks_left" in str(plan)
    assert "SCAN" not in str(plan)
    await database.aclose()


async def test_a_file_that_is_no_database_is_a_disk_error(path: Path) -> None:
    path.write_bytes(b"this is not a database, but it is long enough to be looked at" * 20)
    with pytest.raises(DiskError):
        await Database.open(path)


async def test_writes_that_wait_together_share_one_transaction(path: Path) -> None:
    database = await Database.open(path)
    seen: list[int] = []

    async def note(tx: Tx, n: int) -> None:
        await add(tx, f"p{n}")
        seen.append(len(await database.read(names)))

    await database.write(lambda tx: add(tx, "first"))
    await asyncio.gather(
        *[database.write(lambda tx, n=n: note(tx, n)) for n in range(20)]  # type: ignore[misc]
    )
    assert seen == [1] * 20
    await database.aclose()
