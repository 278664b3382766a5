"""What a checkup asks of SQLite: whether it works in a folder, and how old a database is.

Writes to a database of its own only; never to a job's.
"""

import sqlite3
from pathlib import Path

import msgspec

from nightkiln.store import migrate


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What SQLite can do in a folder."""

    version: str
    journal_mode: str  # "wal" where readers and a writer can work at once
    error: str = ""


def probe(folder: Path) -> Probed:
    """Write to a scratch database in `folder`, as the store would. Raises nothing."""
    mode = "none"
    try:
        connection = sqlite3.connect(folder / "probe.db", isolation_level=None, timeout=5)
        try:
            mode = str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE probe (number INTEGER)")
            connection.execute("INSERT INTO probe VALUES (1)")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Probed(version=sqlite3.sqlite_version, journal_mode=mode, error=str(error))
    return Probed(version=sqlite3.sqlite_version, journal_mode=mode)


def head() -> str:
    """The schema revision this nightkiln writes."""
    return migrate.HEAD


def revision_at(database: Path) -> str | None:
    """The schema revision of a database; None when it is empty. Raises ValueError."""
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise ValueError(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise ValueError(str(error)) from error
    return None if found is None else str(found[0])
