"""Credentials by reference: `env:NAME` or `file:PATH`, never the secret itself.

The reference may be stored and shown; the secret is looked up when a backend
is made and goes nowhere else. The environment comes in as an argument: nothing
here reads the process's own.
"""

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import AuthError, UsageError

_LARGEST_FILE: Final = 64 * 1024
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HINT: Final = "put it in an environment variable and give --key env:NAME, or file:PATH"


class CredentialSource(enum.StrEnum):
    """Where a secret lives."""

    ENV = "env"
    FILE = "file"


class CredentialRef(msgspec.Struct, frozen=True):
    """A reference to a secret. Safe to store, compare and show."""

    source: CredentialSource
    place: str  # the variable's name, or the file's path

    def __str__(self) -> str:
        return f"{self.source}:{self.place}"


def parse_credential(text: str) -> CredentialRef:
    """The reference written as `text`. Raises UsageError, which never repeats the text."""
    kind, colon, place = text.strip().partition(":")
    if not colon or kind not in set(CredentialSource):
        raise UsageError(
            "--key takes a reference to a secret, not the secret itself; nothing was stored",
            hint=_HINT,
        )
    if kind == CredentialSource.ENV and (not _ENV_NAME.fullmatch(place) or _looks_secret(place)):
        raise UsageError("--key env: takes the name of an environment variable", hint=_HINT)
    if not place:
        raise UsageError("--key file: takes the path of a file", hint=_HINT)
    return CredentialRef(CredentialSource(kind), place)


def resolve(reference: CredentialRef, environ: Mapping[str, str]) -> str:
    """The secret. Raises AuthError naming the reference."""
    if reference.source is CredentialSource.ENV:
        secret = environ.get(reference.place, "")
    else:
        secret = _from_file(reference)
    secret = secret.strip()
    if not secret:
        raise AuthError(f"{reference} is not set or empty", hint=_missing_hint(reference))
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise AuthError(f"{reference} does not hold a key: it is not one plain ASCII word")
    return secret


def _from_file(reference: CredentialRef) -> str:
    try:
        with Path(reference.place).expanduser().open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as problem:
        raise AuthError(f"{reference} cannot be read: {problem.strerror}") from problem
    if len(content) > _LARGEST_FILE:
        raise AuthError(f"{reference} is too large to be a key")
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        raise AuthError(f"{reference} does not hold a key: it is no text") from problem


def _looks_secret(name: str) -> bool:
    return len(name) > 64 or name.startswith(("sk_", "sk-", "AIza", "hf_", "gsk_"))


def _missing_hint(reference: CredentialRef) -> str:
    if reference.source is CredentialSource.ENV:
        return f"export {reference.place}=… and run the same command again"
    return "write the key into the file and run the same command again"
