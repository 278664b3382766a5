"""What jobs and batches of an earlier revision say of their keys is carried over."""

import json
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from nightkiln.core.access import KeyId
from nightkiln.store import keyuses, migrate
from nightkiln.store.database import Database
from nightkiln.store.keyuses import Used


def test_every_page_of_old_jobs_is_read(tmp_path: Path) -> None:
    path = made_at(tmp_path, "0003", jobs=1203)
    upgraded(path, "0004")
    connection = sqlite3.connect(path)
    [[jobs, of_keys]] = connection.execute("select count(*), count(key_id) from jobs").fetchall()
    [[uses, rows]] = connection.execute("select count(*), sum(rows) from key_uses").fetchall()
    callers = connection.execute("select distinct caller from batches").fetchall()
    connection.close()
    assert (jobs, of_keys, uses, rows) == (1203, 602, 602, 6020)
    assert callers == [("default/key_1",)]


async def test_what_was_used_before_counts_after(tmp_path: Path) -> None:
    path = made_at(tmp_path, "0003", jobs=3)
    database = await Database.open(path)
    found = await database.read(lambda tx: keyuses.used(tx, KeyId("key_1")))
    await database.aclose()
    assert found == Used(rows=20, tokens=14, cost_nanos=18)


def made_at(folder: Path, revision: str, *, jobs: int) -> Path:
    """A database of an earlier revision; every other job came with a key."""
    path = folder / "store.db"
    upgraded(path, revision)
    connection = sqlite3.connect(path)
    connection.execute("insert or ignore into projects (id, created_at) values ('default', 1)")
    for n in range(jobs):
        label = {} if n % 2 else {"label": {"key": "key_1"}}
        spent = {"input_tokens": 3, "output_tokens": 4, "cost_nanos": 9}
        connection.execute(
            "insert into jobs (id, project_id, idempotency_key, state, wanted, reason, generation,"
            " spec, created_at, rows, columns, totals, spent, commit_seq) values"
            " (?, 'default', ?, 'succeeded', 'run', '', 1, ?, 1, 10, '[]', '{}', ?, 0)",
            (f"job_{n:05}", f"k{n}", json.dumps(label), json.dumps(spent)),
        )
        said = json.dumps({"caller": "default/key_1", "expires_at": 2.0})
        connection.execute(
            "insert into batches (id, project_id, dialect, created_at, digest, batch)"
            " values (?, 'default', 'openai', 1, 'd', ?)",
            (f"batch_{n:05}", said),
        )
    connection.commit()
    connection.close()
    return path


def upgraded(path: Path, revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
