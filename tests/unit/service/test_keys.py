"""API keys: what is kept of them, how they end, and the key of the home."""

import asyncio
import hashlib
import stat
from collections.abc import Awaitable, Callable

import pytest

from nightkiln.core.access import ApiKey, KeyCaps, KeyId, Scope
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.ids import ProjectId
from nightkiln.service import keys
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish
from nightkiln.store import keyuses
from nightkiln.store.tx import Tx
from nightkiln.testing.clock import FakeClock


async def all_keys(context: Context) -> dict[KeyId, ApiKey]:
    return {key.id: key for key in await keys.list_keys(context, everyone=True)}


async def test_a_key_has_256_bits_and_only_its_hash_is_kept(context: Context) -> None:
    made = await keys.create(context, KeyWish(name="n"))
    assert made.text.startswith("nk_")
    assert len(made.text) == 3 + 43
    assert made.key.sha256 == hashlib.sha256(made.text.encode()).hexdigest()
    assert made.text.startswith(made.key.start)
    assert made.text[12:] not in repr(await all_keys(context))
    kept = b"".join(path.read_bytes() for path in context.home.root.glob("nightkiln.db*"))
    assert made.text.encode() not in kept


async def test_two_keys_are_never_the_same(context: Context) -> None:
    texts = {(await keys.create(context, KeyWish())).text for _ in range(20)}
    assert len(texts) == 20


@pytest.mark.parametrize(
    "wish",
    [
        KeyWish(project=ProjectId("")),
        KeyWish(project=ProjectId("Has Space")),
        KeyWish(project=ProjectId("../up")),
        KeyWish(project=ProjectId("x" * 65)),
        KeyWish(name="x" * 101),
        KeyWish(name="admin.key"),
        KeyWish(lives_s=0),
        KeyWish(caps=KeyCaps(rows=0)),
        KeyWish(caps=KeyCaps(requests_per_minute=-1)),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(context: Context, wish: KeyWish) -> None:
    with pytest.raises(UsageError):
        await keys.create(context, wish)


async def test_a_key_of_another_project_is_not_found(context: Context) -> None:
    theirs = await keys.create(context, KeyWish(project=ProjectId("theirs")))
    assert await keys.list_keys(context) == []
    with pytest.raises(NotFound):
        await keys.revoke(context, theirs.key.id)
    with pytest.raises(NotFound):
        await keys.rotate(context, theirs.key.id, overlap_s=1)


async def test_a_rotated_key_is_good_until_the_overlap_ends(context: Context) -> None:
    old = await keys.create(context, KeyWish(name="n", scope=Scope.READ, caps=KeyCaps(rows=5)))
    new = await keys.rotate(context, old.key.id, overlap_s=60)
    assert (new.key.name, new.key.scope, new.key.caps) == ("n", Scope.READ, KeyCaps(rows=5))
    assert new.text != old.text
    now, found = context.clock(), (await all_keys(context))[old.key.id]
    assert found.is_good(now + 59)
    assert not found.is_good(now + 60)


async def test_a_rotated_key_never_outlives_the_old_one(context: Context) -> None:
    old = await keys.create(context, KeyWish(lives_s=100))
    new = await keys.rotate(context, old.key.id, overlap_s=1000)
    assert new.key.expires_at == old.key.expires_at
    assert (await all_keys(context))[old.key.id].expires_at == old.key.expires_at


async def test_a_revoked_key_stays_revoked(context: Context) -> None:
    made = await keys.create(context, KeyWish())
    first = await keys.revoke(context, made.key.id)
    assert isinstance(context.clock, FakeClock)
    context.clock.advance(10)
    assert (await keys.revoke(context, made.key.id)).revoked_at == first.revoked_at
    with pytest.raises(UsageError):
        await keys.rotate(context, made.key.id, overlap_s=1)


async def test_a_home_has_an_admin_key_in_a_file_of_its_owner(context: Context) -> None:
    path = await keys.ensure_admin_key(context)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text().strip()
    [key] = (await all_keys(context)).values()
    assert (key.sha256, key.scope) == (keys.hash_of(text), Scope.ADMIN)
    assert await keys.ensure_admin_key(context) == path
    assert path.read_text().strip() == text


@pytest.mark.parametrize("content", [None, b"", b"nk_unknown\n", b"\xff\xfe"])
async def test_a_lost_key_of_the_home_is_replaced_and_the_old_one_ends(
    context: Context, content: bytes | None
) -> None:
    path = await keys.ensure_admin_key(context)
    [old] = await all_keys(context)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    await keys.ensure_admin_key(context)
    found = await all_keys(context)
    assert found.pop(old).revoked_at is not None
    [fresh] = found.values()
    assert fresh.is_good(context.clock())
    assert fresh.sha256 == keys.hash_of(path.read_text().strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_revoked_key_of_the_home_is_replaced(context: Context) -> None:
    path = await keys.ensure_admin_key(context)
    before = path.read_text()
    [old] = await all_keys(context)
    await keys.revoke(context, old)
    await keys.ensure_admin_key(context)
    assert path.read_text() != before


async def test_the_key_of_the_home_is_not_rotated_behind_its_files_back(context: Context) -> None:
    await keys.ensure_admin_key(context)
    [key] = await all_keys(context)
    with pytest.raises(UsageError, match="by the server itself"):
        await keys.rotate(context, key, overlap_s=1)


async def test_a_key_that_is_revoked_while_it_is_rotated_leaves_no_key(context: Context) -> None:
    """The revoke comes after the look at the old key and before the new one is recorded."""
    old = await keys.create(context, KeyWish())
    rotating = asyncio.create_task(keys.rotate(Late(context, old.key.id), old.key.id, overlap_s=9))
    with pytest.raises(UsageError, match="revoked"):
        await rotating
    assert list(await all_keys(context)) == [old.key.id]


async def test_a_rotated_key_has_used_what_the_old_one_has(context: Context) -> None:
    old = await keys.create(context, KeyWish(caps=KeyCaps(rows=10)))
    job = context.new_job_id()
    await context.store.write(lambda tx: keyuses.put_rows(tx, old.key.id, job, 1, rows=7))
    new = await keys.rotate(context, old.key.id, overlap_s=0)
    assert (await context.store.read(lambda tx: keyuses.used(tx, new.key.id))).rows == 7


class Late(Context):
    """A context in which a key is revoked just before the next transaction that writes."""

    def __init__(self, context: Context, key: KeyId) -> None:
        super().__init__(
            Revoking(context, key),  # type: ignore[arg-type]
            context.home,
            clock=context.clock,
            entropy=context.entropy,
        )


class Revoking:
    """A store that revokes a key before it writes."""

    def __init__(self, context: Context, key: KeyId) -> None:
        self._context = context
        self._key = key
        self.read = context.store.read

    async def write(self, use_case: Callable[[Tx], Awaitable[None]]) -> None:
        await keys.revoke(self._context, self._key)
        await self._context.store.write(use_case)
