"""The schema comes from migrations alone, is made once, and is never taken backwards."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from nightkiln.core.errors import HomeBusy, NotFound
from nightkiln.store import migrate, sqlite
from nightkiln.store.database import Database
from nightkiln.store.schema import metadata

OPEN = """
import asyncio, pathlib, sys
from nightkiln.store.database import Database
async def main():
    await (await Database.open(pathlib.Path(sys.argv[1]))).aclose()
asyncio.run(main())
print("alembic" in sys.modules)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a home?mode=#ro%" / "store.db"


@pytest.fixture
def made(path: Path) -> Path:
    path.parent.mkdir()
    sqlite.prepare(path, read_only=False)
    return path


def schema_of(path: Path) -> dict[str, object]:
    """Indexes by their SQL; tables by their columns and keys, whenever each was added."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute(
            "select name, type, sql from sqlite_master"
            " where sql is not null and name not like 'alembic%'"
        ).fetchall()
        return {
            name: re.sub(r"\s+", " ", sql)
            if kind == "index"
            else [
                connection.execute(f"pragma {pragma}({name})").fetchall()
                for pragma in ("table_info", "foreign_key_list")
            ]
            for name, kind, sql in found
        }
    finally:
        connection.close()


def test_alembics_head_is_ours() -> None:
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_migrations_lead_to_the_schema(made: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}", poolclass=NullPool)
    metadata.create_all(engine)
    assert schema_of(made) == schema_of(tmp_path / "fresh.db")
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(made), poolclass=NullPool)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_keeps_others_out_and_its_log_ahead(made: Path) -> None:
    assert made.stat().st_mode & 0o077 == 0
    connection = sqlite3.connect(made)
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert connection.execute("select id from projects").fetchall() == [("default",)]
    connection.close()


def test_alembic_is_not_imported_when_the_revision_matches(tmp_path: Path) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", OPEN, str(tmp_path / "store.db")],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


def test_two_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, str(tmp_path / "store.db")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ends = [opener.communicate(timeout=60) for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0], ends


async def test_many_openers_in_one_process_agree(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    opened = await asyncio.gather(*[Database.open(path) for _ in range(4)])
    for database in opened:
        await database.aclose()


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_database_of_a_newer_nightkiln_is_refused(made: Path, read_only: bool) -> None:
    connection = sqlite3.connect(made, isolation_level=None)
    connection.execute("update alembic_version set version_num = '0999'")
    connection.close()
    with pytest.raises(HomeBusy, match=f"0999.*{migrate.HEAD}") as refused:
        await Database.open(made, read_only=read_only)
    assert "upgrade" in refused.value.hint


async def test_reading_an_older_database_asks_for_a_command_that_writes(made: Path) -> None:
    connection = sqlite3.connect(made, isolation_level=None)
    connection.execute("update alembic_version set version_num = '0000'")
    connection.close()
    with pytest.raises(HomeBusy, match="older"):
        await Database.open(made, read_only=True)


async def test_there_is_nothing_to_read_where_nobody_wrote(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with pytest.raises(NotFound):
        await Database.open(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(NotFound):
        await Database.open(path, read_only=True)
