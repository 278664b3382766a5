"""Where the server of a home can be asked, for commands and clients on the same machine.

The server writes its address beside the home's lock when it is ready. Only while it
holds that lock does the address mean anything: a file that a crash left is ignored.
"""

from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import HomeBusy
from nightkiln.service.keys import ADMIN_FILE
from nightkiln.vault.durable import disk_errors, replacing
from nightkiln.vault.home import Home, is_held

_FILE: Final = "server.json"


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself."""

    url: str


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The server of a home, and a key that is good there."""

    url: str
    key: str


def announce(root: Path, url: str) -> None:
    """Say where the server of a home is. Raises DiskError."""
    with disk_errors("writing where the server is"), replacing(root / _FILE) as out:
        out.write(msgspec.json.encode(Announced(url=url)))


def withdraw(root: Path) -> None:
    """Say it no longer."""
    (root / _FILE).unlink(missing_ok=True)


def owner_of(root: Path) -> Owner | None:
    """The server that owns a home now, or None. Raises HomeBusy where it cannot be asked."""
    if not is_held(Home(root).lock):
        return None
    try:
        said = msgspec.json.decode((root / _FILE).read_bytes(), type=Announced)
        key = (root / ADMIN_FILE).read_text(encoding="ascii").strip()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HomeBusy(
            f"the home {root} is owned by a server that does not say where it is",
            hint="wait until it is ready, or set NIGHTKILN_URL and NIGHTKILN_API_KEY",
        ) from error
    return Owner(url=said.url, key=key)
