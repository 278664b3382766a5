"""Events of batches, sent to a real receiver: signed, again until taken, over a restart."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.batchmaking import created, settings_for
from tests.receiver import receiving

from nightkiln.app.deliverer import Posting
from nightkiln.app.serving import ServedHome, open_server
from nightkiln.core.batches import Batch
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.webhooks import Delivery, DeliveryId, Webhook, WebhookId
from nightkiln.service import webhooks
from nightkiln.service.context import Context
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import Reaching, is_inside
from nightkiln.service.webhooks import NewWebhook, Pace
from nightkiln.store.paging import Page

DEADLINE_S = 60.0
INSIDE = Reaching(allowed=is_inside, deadline_s=5.0)
QUICK = Posting(rules=INSIDE, pace=Pace(first_s=0.01, slowest_s=0.02))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.02)


async def the_delivery(context: Context, webhook: Webhook) -> Delivery:
    found, _ = await webhooks.deliveries(context, webhook.id, Page(limit=10))
    assert len(found) == 1
    return found[0]


async def over(context: Context, webhook: Webhook) -> Delivery:
    """The one delivery once it is no longer on its way."""
    async with asyncio.timeout(DEADLINE_S):
        while (found := await the_delivery(context, webhook)).due_at is not None:
            await asyncio.sleep(0.02)
    return found


async def failing(context: Context) -> Batch:
    """A batch that ends at once, because there is no such file."""
    return await created(context, "file-none")


def opened(home: Path, how: Posting = QUICK) -> AbstractAsyncContextManager[ServedHome]:
    return open_server(
        home, environ={}, settings=settings_for("http://127.0.0.1:9/v1"), work=False, posting=how
    )


async def registered(served: ServedHome, url: str, *events: str) -> tuple[Context, Webhook]:
    context = served.context(DEFAULT_PROJECT)
    new = NewWebhook(url=url, events=events or ("batch.failed",))
    return context, await webhooks.register(context, new, INSIDE, Outward())


async def test_a_receiver_that_fails_twice_hears_of_it_three_times_under_one_id(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        receiver.answers = [500, 503]
        async with opened(tmp_path / "home") as served:
            context, webhook = await registered(served, receiver.url)
            batch = await failing(context)
            done = await over(context, webhook)
    assert (done.tries, done.status, done.trouble, done.about) == (3, 200, "", batch.id)
    assert done.delivered_at is not None
    assert {one.headers["webhook-id"] for one in receiver.heard} == {done.id}
    assert len({one.body for one in receiver.heard}) == 1


async def test_events_that_nobody_asked_for_are_not_sent(tmp_path: Path) -> None:
    with receiving() as receiver:
        async with opened(tmp_path / "home") as served:
            context, other = await registered(served, receiver.url, "batch.completed")
            _, wanted = await registered(served, receiver.url)
            await failing(context)
            await over(context, wanted)
            found, more = await webhooks.deliveries(context, other.id, Page(limit=10))
    assert (found, more, len(receiver.heard)) == ([], False, 1)


async def test_an_event_on_its_way_when_the_server_ends_is_sent_by_the_next(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        receiver.hold.clear()
        async with opened(tmp_path / "home") as served:
            context, webhook = await registered(served, receiver.url)
            await failing(context)
            await until(lambda: len(receiver.heard) == 1)
        receiver.hold.set()
        async with opened(tmp_path / "home") as served:
            done = await over(served.context(DEFAULT_PROJECT), webhook)
    assert done.delivered_at is not None
    assert len(receiver.heard) == 2
    assert len({one.headers["webhook-id"] for one in receiver.heard}) == 1


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with receiving() as elsewhere, receiving() as receiver:
        receiver.answers, receiver.moved_to = [307], elsewhere.url
        async with opened(tmp_path / "home") as served:
            context, webhook = await registered(served, receiver.url)
            await failing(context)
            await until(lambda: len(receiver.heard) == 2)
            done = await over(context, webhook)
    assert (done.status, elsewhere.heard) == (200, [])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1"]
)
async def test_addresses_that_are_not_public_are_refused_at_once(tmp_path: Path, host: str) -> None:
    async with opened(tmp_path / "home") as served:
        context = served.context(DEFAULT_PROJECT)
        with pytest.raises(UsageError, match="no public address"):
            await webhooks.register(
                context, NewWebhook(url=f"http://{host}/"), Reaching(), Outward()
            )
        assert await webhooks.list_webhooks(context) == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0"])
async def test_where_clouds_keep_credentials_is_refused_in_any_case(
    tmp_path: Path, host: str
) -> None:
    async with opened(tmp_path / "home") as served:
        with pytest.raises(UsageError, match="no public address"):
            await registered(served, f"http://{host}/")


async def test_an_address_is_checked_again_at_every_try(tmp_path: Path) -> None:
    """A name may mean another address by then; here the rules are what changes."""
    with receiving() as receiver:
        strict = Posting(pace=Pace(first_s=0.01, slowest_s=0.02, lives_s=1.0))
        async with opened(tmp_path / "home", strict) as served:
            context, webhook = await registered(served, receiver.url)
            await failing(context)
            done = await over(context, webhook)
    assert receiver.heard == []
    assert (done.delivered_at, done.status) == (None, None)
    assert "no public address" in done.trouble


async def test_a_webhook_that_is_deleted_is_told_no_more(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.answers = [500]
        how = Posting(rules=INSIDE, pace=Pace(first_s=3600.0))
        async with opened(tmp_path / "home", how) as served:
            context, webhook = await registered(served, receiver.url)
            await failing(context)
            await until(lambda: len(receiver.heard) == 1)
            await webhooks.remove(context, webhook.id)
            with pytest.raises(NotFound):
                await the_delivery(context, webhook)
            with pytest.raises(NotFound):
                await webhooks.remove(context.of(webhook.project), webhook.id)


def test_tries_come_later_every_time_and_end_after_three_days() -> None:
    event = delivery()
    now, waits, pace = 0.0, list[float](), Pace()
    while event.due_at is not None:
        now = event.due_at
        event = webhooks.tried(event, status=500, trouble="no", pace=pace, now=now)
        waits.append((event.due_at or now) - now)
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0]
    assert max(waits) == 6 * 3600
    assert now <= 3 * 86400
    assert event.tries == len(waits) < 30


def delivery() -> Delivery:
    return Delivery(
        id=DeliveryId("evt_1"),
        project=DEFAULT_PROJECT,
        webhook=WebhookId("wh_1"),
        event="batch.failed",
        about="batch_1",
        body="{}",
        created_at=0.0,
        due_at=0.0,
    )
