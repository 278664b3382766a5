"""Caps of keys: no way of having rows asked goes past them, not even several at once."""

import asyncio

import pytest
from tests.unit.service.conftest import Kilnful

from nightkiln.core.access import ApiKey, KeyCaps, KeyId
from nightkiln.core.errors import QuotaError
from nightkiln.core.job import Job, JobState, Label, Wanted
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.service import deletion, keys, moves, submit
from nightkiln.service.finalize import finalize
from nightkiln.service.keys import KeyWish
from nightkiln.service.orders import Order
from nightkiln.store import keyuses
from nightkiln.store.keyuses import Used

FIRST = frozenset({0, 1, 2, 3, 4})


async def made(kiln: Kilnful, **caps: float) -> ApiKey:
    wish = KeyWish(caps=KeyCaps(**caps))  # type: ignore[arg-type]
    return (await keys.create(kiln.context, wish)).key


async def used(kiln: Kilnful, key: KeyId) -> Used:
    return await kiln.context.store.read(lambda tx: keyuses.used(tx, key))


async def submitted(kiln: Kilnful, order: Order, *, rows: int) -> Job:
    source = await submit.source_of(kiln.context, order)
    spec = submit.spec_of(order, source, model="m")
    return (await submit.accept(kiln.context, spec, new=True, rows=rows))[0]


async def test_rows_of_a_file_count_once_they_are_read(kiln: Kilnful) -> None:
    key = await made(kiln, rows=30)
    await kiln.ended(kiln.order(rows=20, label=Label(key=key.id)))
    await kiln.ended(kiln.order(rows=25, name="of-nobody.txt"))
    assert (await used(kiln, key.id)).rows == 20
    fits = await kiln.queued(kiln.order(rows=10, name="b.txt", label=Label(key=key.id)))
    assert fits.state is JobState.QUEUED
    with pytest.raises(QuotaError, match="cap of 30 rows"):
        await kiln.accepted(kiln.order(rows=1, name="c.txt", label=Label(key=key.id)))


async def test_files_that_are_taken_in_together_do_not_pass_the_cap_together(kiln: Kilnful) -> None:
    key = await made(kiln, rows=30)
    orders = [kiln.order(20 + n, name=f"{n}.txt", label=Label(key=key.id)) for n in range(3)]
    taken = [await kiln.accepted(order) for order in orders]
    read = await asyncio.gather(
        *(moves.validated(kiln.context, job.id, kiln.taken(job)) for job in taken)
    )
    states = sorted(job.state for job in read)
    assert states == [JobState.FAILED, JobState.FAILED, JobState.QUEUED]
    [queued] = [job for job in read if job.state is JobState.QUEUED]
    assert all("cap of 30 rows" in job.reason for job in read if job.state is JobState.FAILED)
    assert (await used(kiln, key.id)).rows == queued.rows


async def test_submissions_at_once_of_known_rows_do_not_pass_the_cap(kiln: Kilnful) -> None:
    key = await made(kiln, rows=30)
    orders = [kiln.order(20 + n, name=f"{n}.txt", label=Label(key=key.id)) for n in range(3)]
    found = await asyncio.gather(
        *(submitted(kiln, order, rows=20) for order in orders), return_exceptions=True
    )
    assert sum(isinstance(one, QuotaError) for one in found) == 2
    assert [one for one in found if isinstance(one, Job)]
    left = [path for path in (kiln.context.home.root / "jobs").iterdir() if path.is_dir()]
    assert len(left) == 1


async def test_a_job_that_is_never_read_gives_its_rows_back(kiln: Kilnful) -> None:
    key = await made(kiln, rows=20)
    job = await submitted(kiln, kiln.order(20, label=Label(key=key.id)), rows=20)
    assert (await used(kiln, key.id)).rows == 20
    await moves.fail(kiln.context, job.id, "the file cannot be read")
    assert (await used(kiln, key.id)).rows == 0


async def test_deleting_a_job_gives_nothing_back(kiln: Kilnful) -> None:
    key = await made(kiln, rows=20)
    job = await kiln.ended(kiln.order(20, label=Label(key=key.id)))
    await deletion.delete(kiln.context, job.id)
    with pytest.raises(QuotaError):
        await kiln.accepted(kiln.order(1, name="b.txt", label=Label(key=key.id)))


async def test_answered_rows_that_a_retry_opens_count_again(kiln: Kilnful) -> None:
    key = await made(kiln, rows=25)
    job = await kiln.ended(kiln.order(20, label=Label(key=key.id)), failing=FIRST)
    await moves.retry(kiln.context, job.id, by=key.id)
    assert (await used(kiln, key.id)).rows == 25


async def test_a_retry_past_the_cap_is_refused_and_changes_nothing(kiln: Kilnful) -> None:
    key = await made(kiln, rows=24)
    job = await kiln.ended(kiln.order(20, label=Label(key=key.id)), failing=FIRST)
    with pytest.raises(QuotaError):
        await moves.retry(kiln.context, job.id, by=key.id)
    assert (await kiln.job(job)).state is JobState.COMPLETED_WITH_ERRORS
    again = await moves.retry(kiln.context, job.id)  # by the owner of the home
    assert again.state is JobState.QUEUED
    assert (await used(kiln, key.id)).rows == 20


async def test_rows_that_never_had_an_answer_are_not_paid_twice(kiln: Kilnful) -> None:
    key = await made(kiln, rows=32)
    job = await kiln.queued(kiln.order(32, label=Label(key=key.id)))
    await kiln.answered(job, rows=16)
    await moves.move(kiln.context, job.id, JobState.CANCELLING)
    await finalize(kiln.context, job.id)
    await moves.retry(kiln.context, job.id, by=key.id)
    assert (await used(kiln, key.id)).rows == 32


async def test_who_lets_somebody_elses_job_go_on_has_its_open_rows_asked(kiln: Kilnful) -> None:
    small, large = await made(kiln, rows=10), await made(kiln, rows=100)
    job = await kiln.queued(kiln.order(20))
    await moves.want(kiln.context, job.id, Wanted.PAUSE)
    with pytest.raises(QuotaError):
        await moves.resume(kiln.context, job.id, by=small.id)
    assert (await kiln.job(job)).wanted is Wanted.PAUSE
    await moves.resume(kiln.context, job.id, by=large.id)
    assert ((await used(kiln, small.id)).rows, (await used(kiln, large.id)).rows) == (0, 20)


async def test_an_unread_job_that_somebody_else_lets_go_on_is_theirs(kiln: Kilnful) -> None:
    first, second = await made(kiln, rows=100), await made(kiln, rows=10)
    job = await submitted(kiln, kiln.order(20, label=Label(key=first.id)), rows=20)
    await moves.want(kiln.context, job.id, Wanted.PAUSE)
    await moves.resume(kiln.context, job.id, by=second.id)
    read = await moves.validated(kiln.context, job.id, kiln.taken(job))
    assert read.state is JobState.FAILED
    assert ((await used(kiln, first.id)).rows, (await used(kiln, second.id)).rows) == (0, 0)


async def test_the_own_job_goes_on_at_the_cap(kiln: Kilnful) -> None:
    key = await made(kiln, rows=20)
    job = await kiln.queued(kiln.order(20, label=Label(key=key.id)))
    await moves.want(kiln.context, job.id, Wanted.PAUSE)
    await moves.resume(kiln.context, job.id, by=key.id)
    assert (await used(kiln, key.id)).rows == 20


@pytest.mark.parametrize(
    ("caps", "what"),
    [
        ({"tokens": 101}, None),
        ({"tokens": 100}, "tokens"),
        ({"cost_usd": 2.01}, None),
        ({"cost_usd": 2.0}, "money"),
    ],
)
async def test_tokens_and_money_stop_what_is_new(
    kiln: Kilnful, caps: dict[str, float], what: str | None
) -> None:
    key = await made(kiln, **caps)
    job = await kiln.queued(kiln.order(20, label=Label(key=key.id)))
    spent = Totals(input_tokens=70, output_tokens=30, cost_nanos=2 * NANOS_PER_USD)
    await kiln.context.store.write(lambda tx: keyuses.spend(tx, key.id, job.id, 1, spent))
    await moves.want(kiln.context, job.id, Wanted.PAUSE)
    if what is None:
        await moves.resume(kiln.context, job.id, by=key.id)
        await kiln.accepted(kiln.order(1, name="b.txt", label=Label(key=key.id)))
        return
    with pytest.raises(QuotaError, match=what):
        await moves.resume(kiln.context, job.id, by=key.id)
    with pytest.raises(QuotaError, match=what):
        await kiln.accepted(kiln.order(1, name="b.txt", label=Label(key=key.id)))
