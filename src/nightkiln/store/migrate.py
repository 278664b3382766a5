"""Brings a database to the revision this code knows, and refuses one that is ahead of it.

The revision is read with plain SQL. Only when it is behind is alembic imported,
so opening an existing home does not pay for it. Nothing here locks: the caller
makes sure that one process migrates at a time.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from nightkiln.core.errors import HomeBusy

HEAD: Final = "0005"  # alembic's head; a test compares them
_VERSIONS: Final = "alembic_version"


def revision(connection: Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def refuse_newer(found: str | None, *, where: Path) -> None:
    """Raise HomeBusy when a newer nightkiln has been here. Revisions sort as text."""
    if found is not None and found > HEAD:
        raise HomeBusy(
            f"{where} is at schema revision {found}; this nightkiln knows up to {HEAD}",
            hint="a newer nightkiln uses this home: upgrade this one, or name another --home",
        )


def upgrade(connection: Connection) -> None:
    """Run every missing revision inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", _escaped(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")  # the option is interpolated by configparser
