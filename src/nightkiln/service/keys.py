"""API keys: made, listed, replaced, revoked, and held to what they may use.

A key's text leaves here once, when it is made. What a key may use is the affair of
`service.charging`.
"""

import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.access import ApiKey, KeyCaps, KeyId, Scope
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.ids import DEFAULT_PROJECT, ProjectId, new_id
from nightkiln.service.context import Context
from nightkiln.store import keys, keyuses
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx
from nightkiln.vault.durable import disk_errors, replacing

ADMIN_FILE: Final = "admin.key"
_ADMIN_NAME: Final = "admin.key"
_SECRET_BYTES: Final = 32  # 256 bits
_ENTROPY_BYTES: Final = 8
_START: Final = 9  # letters of a text that may be shown
_NAME_LENGTH: Final = 100
_PROJECT_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_PROJECT_LENGTH: Final = 64
_MODELS: Final = 100  # of one key's list
_MODEL_LENGTH: Final = 200


class KeyWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key is to be."""

    name: str = ""
    scope: Scope = Scope.WRITE
    project: ProjectId = DEFAULT_PROJECT
    lives_s: float | None = None  # None: until it is revoked
    caps: KeyCaps = KeyCaps()


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its text, which is nowhere else."""

    key: ApiKey
    text: str


async def create(context: Context, wish: KeyWish) -> NewKey:
    """Make a key, and its project if that is new. Raises UsageError, DiskError.

    Not idempotent: who repeats it has two keys.
    """
    _check(wish)
    made = _made(context, wish)
    await context.store.write(lambda tx: keys.insert_key(tx, made.key))
    return made


async def list_keys(context: Context, *, everyone: bool = False) -> list[ApiKey]:
    """The keys of the context's project or of all, newest first, revoked ones too."""
    project = None if everyone else context.project
    return await context.store.read(lambda tx: keys.list_keys(tx, project=project))


async def pages(
    context: Context, page: Page, *, everyone: bool = False
) -> tuple[list[ApiKey], bool]:
    """A page of what `list_keys` gives, and whether there are more. Raises NotFound."""
    project = None if everyone else context.project
    return await context.store.read(lambda tx: keys.pages(tx, page, project=project))


async def rotate(context: Context, key: KeyId, *, overlap_s: float) -> NewKey:
    """A new key like this one; the old one is good for `overlap_s` more.

    Raises NotFound, also for another project's, and UsageError for one that is over.
    """
    if overlap_s < 0:
        raise UsageError("the overlap is at least 0 seconds")
    now = context.clock()
    old = await _own(context, key)
    if not old.is_good(now):
        raise _over(key)
    if old.name == _ADMIN_NAME:
        raise UsageError(
            "the key of the home is replaced by the server itself",
            hint=f"delete {ADMIN_FILE} in the home and start the server again",
        )
    lives_s = None if old.expires_at is None else old.expires_at - now
    made = _made(
        context,
        KeyWish(
            name=old.name, scope=old.scope, project=old.project, lives_s=lives_s, caps=old.caps
        ),
    )

    async def use_case(tx: Tx) -> None:
        # Whoever revoked it meanwhile wants nobody to have a key in its place.
        if not await keys.expire(tx, key, at=now + overlap_s, now=now):
            raise _over(key)
        await keys.insert_key(tx, made.key)
        await keyuses.carry_over(tx, key, made.key.id)

    await context.store.write(use_case)
    return made


async def revoke(context: Context, key: KeyId) -> ApiKey:
    """End a key now; one that is over stays so. Raises NotFound, also for another project's."""
    await _own(context, key)
    now = context.clock()
    await context.store.write(lambda tx: keys.revoke(tx, key, now=now))
    return await _own(context, key)


async def ensure_admin_key(context: Context) -> Path:
    """The file with an admin key of this home, made if it is not there. Raises DiskError.

    A home whose file was deleted, or whose key is no longer good, gets a new key,
    and the one that the file held before is revoked. The file is there before the
    key is good: a crash between the two leaves a file that the next start replaces.
    """
    path = context.home.root / ADMIN_FILE
    text = await asyncio.to_thread(_read, path)
    now = context.clock()
    if text is not None:
        known = await context.store.read(lambda tx: keys.by_sha256(tx, hash_of(text)))
        if known is not None and known.is_good(now) and known.may(Scope.ADMIN):
            return path
    made = _made(context, KeyWish(name=_ADMIN_NAME, scope=Scope.ADMIN))

    async def use_case(tx: Tx) -> None:
        for old in await keys.list_keys(tx):
            if old.name == _ADMIN_NAME and old.scope is Scope.ADMIN:
                await keys.revoke(tx, old.id, now=now)
        await keys.insert_key(tx, made.key)

    await asyncio.to_thread(_write, path, made.text)
    await context.store.write(use_case)
    return path


def hash_of(text: str) -> str:
    """What is kept of a key's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _made(context: Context, wish: KeyWish) -> NewKey:
    now = context.clock()
    secret = base64.urlsafe_b64encode(context.entropy(_SECRET_BYTES)).rstrip(b"=")
    text = f"nk_{secret.decode()}"
    key = ApiKey(
        id=KeyId(new_id("key_", now=now, entropy=context.entropy(_ENTROPY_BYTES))),
        project=wish.project,
        name=wish.name,
        start=text[:_START],
        sha256=hash_of(text),
        scope=wish.scope,
        created_at=now,
        expires_at=None if wish.lives_s is None else now + wish.lives_s,
        caps=wish.caps,
    )
    return NewKey(key=key, text=text)


def _check(wish: KeyWish) -> None:
    if not wish.project or not set(wish.project) <= _PROJECT_LETTERS:
        raise UsageError("a project's name has small letters, digits, '-', '_' and '.' only")
    if len(wish.project) > _PROJECT_LENGTH or len(wish.name) > _NAME_LENGTH:
        raise UsageError(
            f"a project's name has at most {_PROJECT_LENGTH} letters, a key's {_NAME_LENGTH}"
        )
    if wish.name == _ADMIN_NAME:
        raise UsageError(f"the name {_ADMIN_NAME} is for the key in the home")
    if wish.lives_s is not None and wish.lives_s <= 0:
        raise UsageError("a key has to live longer than 0 seconds")
    caps = (wish.caps.rows, wish.caps.tokens, wish.caps.cost_usd, wish.caps.requests_per_minute)
    if any(cap is not None and cap <= 0 for cap in caps):
        raise UsageError("a cap has to be more than 0", hint="revoke a key that may do nothing")
    _check_models(wish.caps.models)


def _check_models(models: tuple[str, ...] | None) -> None:
    """Refuse a list that means nothing; whether there are such models is not known here."""
    if models is None:
        return
    if not 0 < len(models) <= _MODELS or not all(0 < len(one) <= _MODEL_LENGTH for one in models):
        raise UsageError(
            f"a key's list has 1 to {_MODELS} models, names of {_MODEL_LENGTH} letters at most",
            hint="leave it out, and the key may ask every model of the server",
        )


def _over(key: KeyId) -> UsageError:
    return UsageError(f"key {key} is revoked or has expired", hint="make a new one")


async def _own(context: Context, key: KeyId) -> ApiKey:
    found = await context.store.read(lambda tx: keys.get(tx, key))
    if found.project != context.project:
        raise NotFound(f"no key {key}", hint="nightkiln keys list shows them")
    return found


def _read(path: Path) -> str | None:
    with disk_errors(f"reading {path}"):
        try:
            return path.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None


def _write(path: Path, text: str) -> None:
    with disk_errors(f"writing {path}"), replacing(path) as out:
        os.fchmod(out.fileno(), 0o600)  # before there is anything in it
        out.write(text.encode() + b"\n")
