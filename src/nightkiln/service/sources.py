"""Where the rows of an order are, and what tells one content from another.

A file stays where it is and is hashed; a folder or a pattern of Parquet files
counts as one source, its hash made of theirs in order; a URL is fetched into the
home. Nothing here reads rows.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from nightkiln.core.errors import InputError, UsageError
from nightkiln.tables.formats import format_of
from nightkiln.tables.parquet_in import files_of, is_pattern
from nightkiln.vault.durable import sha256_of

_HINT: Final = "check the path"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_TAKEN: Final = (
    "an input is a file, a folder or a pattern of .parquet files, an http:// or https:// URL,"
    " or - for standard input"
)


def kind_of(name: str, explicit: str | None) -> str:
    """The format of an input; a folder holds Parquet. Raises UsageError."""
    if scheme := _SCHEME.match(name):
        raise UsageError(
            f"{scheme[0]} is not fetched; {_TAKEN}", hint="copy the file to this machine first"
        )
    if explicit is None and Path(name).expanduser().is_dir():
        return "parquet"
    return format_of(name, explicit)


def located(name: str, kind: str) -> Path:
    """The absolute path of a file, or of a folder or pattern of Parquet. Raises InputError."""
    path = Path(name).expanduser()
    if kind == "parquet" and (path.is_dir() or is_pattern(str(path))):
        path = path.absolute()
        for file in files_of(str(path)):
            _check_readable(file, str(file))
        return path
    if is_pattern(str(path)):
        raise InputError(
            f"{name} is a pattern, and {kind} files are taken one at a time; {_TAKEN}",
            hint="name one file, or put their rows into one",
        )
    if path.is_dir():
        raise InputError(f"{name} is a folder", hint="name one file, or a folder of .parquet files")
    _check_readable(path, name)
    return path.resolve()


def _check_readable(path: Path, name: str) -> None:
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise InputError(f"there is no file {name}", hint=_HINT) from None
    except PermissionError:
        raise InputError(f"{name} may not be read", hint="check its permissions") from None


def fingerprint(path: Path, kind: str) -> tuple[str, int]:
    """The sha256 and the size of a source; of several files, of their hashes in order."""
    if kind != "parquet" or path.is_file():
        return sha256_of(path)
    total, size = hashlib.sha256(), 0
    for file in files_of(str(path)):
        found, count = sha256_of(file)
        total.update(bytes.fromhex(found))
        size += count
    return total.hexdigest(), size


def size_of(path: Path, kind: str) -> int:
    """The size of a source in bytes. Raises FileNotFoundError."""
    if kind != "parquet" or path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in files_of(str(path)))
