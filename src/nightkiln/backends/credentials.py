"""Credentials by reference: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`, never the secret.

The reference may be stored and shown; the secret is looked up when a backend
is made and goes nowhere else. The environment comes in as an argument: nothing
here reads the process's own. The package that reads the keyring of the system is
an extra, imported when a reference needs it.
"""

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import AuthError, UsageError
from nightkiln.core.extras import Extra

_LARGEST_FILE: Final = 64 * 1024
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HINT: Final = (
    "put it in an environment variable and give --key env:NAME, or file:PATH,"
    " or keyring:SERVICE/USER"
)
_needed: Final = Extra(name="keyring", purpose="a key in the system's keyring").module


class CredentialSource(enum.StrEnum):
    """Where a secret lives."""

    ENV = "env"
    FILE = "file"
    KEYRING = "keyring"  # of the system, or whatever the package `keyring` is set to read


class CredentialRef(msgspec.Struct, frozen=True):
    """A reference to a secret. Safe to store, compare and show."""

    source: CredentialSource
    place: str  # the variable's name, the file's path, or SERVICE/USER

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
    if kind == CredentialSource.KEYRING and not _is_entry(place):
        raise UsageError("--key keyring: takes SERVICE/USER, as `keyring set` has them", hint=_HINT)
    if not place:
        raise UsageError("--key file: takes the path of a file", hint=_HINT)
    return CredentialRef(CredentialSource(kind), place)


def resolve(reference: CredentialRef, environ: Mapping[str, str]) -> str:
    """The secret. Raises AuthError naming the reference, MissingExtra. A keyring may block."""
    if reference.source is CredentialSource.ENV:
        secret = environ.get(reference.place, "")
    elif reference.source is CredentialSource.KEYRING:
        secret = _from_keyring(reference)
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


def _from_keyring(reference: CredentialRef) -> str:
    service, _, user = reference.place.rpartition("/")
    keyring, errors = _needed("keyring"), _needed("keyring.errors")
    try:
        return keyring.get_password(service, user) or ""
    except errors.KeyringError:  # its words are not ours to show
        raise AuthError(
            f"{reference} cannot be read: the keyring is locked, or there is none here",
            hint="unlock it and run the same command again; `keyring diagnose` says which is used",
        ) from None


def _is_entry(place: str) -> bool:
    """True for SERVICE/USER. A service may have slashes in its name, a user has none."""
    service, _, user = place.rpartition("/")
    return bool(service and user) and not _looks_secret(service) and not _looks_secret(user)


def _looks_secret(name: str) -> bool:
    return len(name) > 64 or name.startswith(("sk_", "sk-", "AIza", "hf_", "gsk_"))


def _missing_hint(reference: CredentialRef) -> str:
    if reference.source is CredentialSource.ENV:
        return f"export {reference.place}=… and run the same command again"
    if reference.source is CredentialSource.KEYRING:
        service, _, user = reference.place.rpartition("/")
        return f"put it there with `keyring set {service} {user}` and run the same command again"
    return "write the key into the file and run the same command again"
