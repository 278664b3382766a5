"""What may be set from outside, parsed once from mappings that the composition root passes.

Flags win over the environment, the environment over what is built in. Nothing
here reads the process's own environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nightkiln.core.errors import UsageError

HOME_VARIABLE: Final = "NIGHTKILN_HOME"
CRASH_VARIABLE: Final = "NIGHTKILN_CRASH_AT"  # tests only: `point` or `point:nth`


def home_of(flag: str | None, environ: Mapping[str, str]) -> Path:
    """The home folder: the flag, else NIGHTKILN_HOME, else the user's data folder."""
    if named := flag or environ.get(HOME_VARIABLE):
        return Path(named).expanduser().absolute()
    data = environ.get("XDG_DATA_HOME")
    base = Path(data) if data else Path(environ.get("HOME", "~")).expanduser() / ".local/share"
    return base.absolute() / "nightkiln"


def crash_point(environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Where a test wants this process to die, and at which passing. Raises UsageError."""
    said = environ.get(CRASH_VARIABLE)
    if not said:
        return None
    name, _, nth = said.partition(":")
    if nth and not nth.isdecimal():
        raise UsageError(f"{CRASH_VARIABLE} is {said!r}; it reads POINT or POINT:NTH")
    return name, int(nth or 1)
