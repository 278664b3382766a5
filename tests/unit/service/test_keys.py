"""API keys: what is kept of them, how they end, what they may use, and the key of the home."""

import hashlib
import stat
from contextlib import nullcontext

import msgspec
import pytest
from tests.unit.service.conftest import Kilnful

from nightkiln.core.access import ApiKey, KeyCaps, KeyId, Scope
from nightkiln.core.errors import NotFound, QuotaError, UsageError
from nightkiln.core.ids import ProjectId
from nightkiln.core.job import Label
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.service import keys
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish
from nightkiln.store import jobs
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


async def test_rows_are_capped_over_all_jobs_of_a_key(kiln: Kilnful) -> None:
    context = kiln.context
    made = (await keys.create(context, KeyWish(caps=KeyCaps(rows=30)))).key
    await keys.check_caps(context, made, rows=30)
    with pytest.raises(QuotaError, match="rows"):
        await keys.check_caps(context, made, rows=31)
    await kiln.ended(kiln.order(rows=20, label=Label(key=made.id)))
    await kiln.ended(kiln.order(rows=25, name="other.txt"))
    await keys.check_caps(context, made, rows=10)
    with pytest.raises(QuotaError, match="rows"):
        await keys.check_caps(context, made, rows=11)


async def test_tokens_and_money_are_capped(kiln: Kilnful) -> None:
    context = kiln.context
    made = (await keys.create(context, KeyWish())).key
    job = await kiln.accepted(kiln.order(label=Label(key=made.id)))
    spent = Totals(input_tokens=70, output_tokens=30, cost_nanos=2 * NANOS_PER_USD)
    other = msgspec.structs.replace(job, id=context.new_job_id(), spent=spent)
    await context.store.write(lambda tx: jobs.insert(tx, other))
    for caps, what in (
        (KeyCaps(tokens=101), None),
        (KeyCaps(tokens=100), "tokens"),
        (KeyCaps(cost_usd=2.01), None),
        (KeyCaps(cost_usd=2.0), "money"),
    ):
        key = msgspec.structs.replace(made, caps=caps)
        with nullcontext() if what is None else pytest.raises(QuotaError, match=what):
            await keys.check_caps(context, key, rows=1)
