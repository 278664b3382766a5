"""Webhooks: registered, told of the ends of batches, and held to what a try came to.

An event is recorded in the transaction that ends its batch (`announce`), so there is
one if and only if the batch ended, whatever dies when. Whoever sends events takes
them from there and records each try; an event is sent again until somebody takes it
or three days are over. So receivers hear of it at least once, under the same id.
"""

from typing import Final

import msgspec

from nightkiln.core.batches import Batch
from nightkiln.core.errors import UnreachableError, UsageError
from nightkiln.core.ids import JobId, new_id
from nightkiln.core.webhooks import EVENTS, Delivery, DeliveryId, Webhook, WebhookId
from nightkiln.service.context import Context
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import Reaching, checked_addresses, parsed, port_of
from nightkiln.store import webhooks
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx
from nightkiln.wire.openai.webhooks import SECRET_BYTES, event_body, event_type, new_secret

MOST: Final = 20  # of a project
_LONGEST: Final = 2000  # letters of a URL
_ENTROPY_BYTES: Final = 8
LIVES_S: Final = 3 * 86_400.0  # for so long an event is tried
KEPT_S: Final = 30 * 86_400.0  # so long it can be looked up
_FIRST_S: Final = 5.0
_SLOWEST_S: Final = 6 * 3600.0
_TROUBLE: Final = 300  # letters of what is kept of a failure


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new webhook is to be."""

    url: str
    events: tuple[str, ...] = EVENTS


async def register(context: Context, new: NewWebhook, rules: Reaching, outward: Outward) -> Webhook:
    """Make a webhook. Its secret is nowhere else to be read. Raises UsageError, DiskError."""
    _check(new, rules)
    await _check_address(context, new.url, rules, outward)
    now = context.clock()
    made = Webhook(
        id=WebhookId(new_id("wh_", now=now, entropy=context.entropy(_ENTROPY_BYTES))),
        project=context.project,
        url=new.url,
        events=tuple(dict.fromkeys(new.events)),
        secret=new_secret(context.entropy(SECRET_BYTES)),
        created_at=now,
    )

    async def use_case(tx: Tx) -> None:
        if len(await webhooks.of_project(tx, context.project)) >= MOST:
            raise UsageError(
                f"a project has {MOST} webhooks at most", hint="delete one that is not needed"
            )
        await webhooks.insert_webhook(tx, made)

    await context.store.write(use_case)
    return made


def _check(new: NewWebhook, rules: Reaching) -> None:
    if len(new.url) > _LONGEST:
        raise UsageError(f"the URL of a webhook has {_LONGEST} letters at most")
    parsed(new.url, rules)
    if not new.events:
        raise UsageError("a webhook wants at least one event", hint=f"one of {', '.join(EVENTS)}")
    if unknown := [one for one in new.events if one not in EVENTS]:
        raise UsageError(
            f"there is no event {unknown[0][:100]!r}", hint=f"there are {', '.join(EVENTS)}"
        )


async def _check_address(context: Context, url: str, rules: Reaching, outward: Outward) -> None:
    """Refuse now what would be refused at every try; it is asked again at each."""
    parts = parsed(url, rules)
    host = parts.hostname or ""
    try:
        await outward.run(
            context.project,
            lambda: checked_addresses(host, port_of(parts), rules),
            deadline_s=rules.deadline_s,
            what=f"looking up {host}",
        )
    except UnreachableError as error:
        raise UsageError(error.message, hint=error.hint) from error


async def list_webhooks(context: Context) -> list[Webhook]:
    """The project's webhooks, newest first."""
    return await context.store.read(lambda tx: webhooks.of_project(tx, context.project))


async def get(context: Context, webhook: WebhookId) -> Webhook:
    """A webhook. Raises NotFound."""
    return await context.store.read(lambda tx: webhooks.get(tx, webhook, project=context.project))


async def remove(context: Context, webhook: WebhookId) -> None:
    """Forget a webhook and what was on its way there. Raises NotFound."""
    await context.store.write(lambda tx: webhooks.remove(tx, webhook, project=context.project))


async def deliveries(
    context: Context, webhook: WebhookId, page: Page
) -> tuple[list[Delivery], bool]:
    """What was sent to a webhook or is on its way, and whether there is more. Raises NotFound."""
    return await context.store.read(
        lambda tx: webhooks.pages(tx, page, webhook=webhook, project=context.project)
    )


async def of_job(context: Context, job: JobId) -> list[Delivery]:
    """What webhooks were or are to be told of the batch over a job; none before its end."""
    return await context.store.read(lambda tx: webhooks.about_job(tx, job, project=context.project))


# -- events


async def announce(tx: Tx, context: Context, batch: Batch) -> None:
    """Record the end of a batch for every webhook that wants to know, in its own transaction."""
    status = batch.moments.end
    if batch.ended_at is None or status is None:
        return
    kind = event_type(status)
    for webhook in await webhooks.of_project(tx, batch.project):
        if kind is None or kind not in webhook.events:
            continue
        at = batch.ended_at
        name = new_id("evt_", now=at, entropy=context.entropy(_ENTROPY_BYTES))
        body = event_body(event_id=name, status=status, batch_id=batch.id, at=at)
        delivery = Delivery(
            id=DeliveryId(name),
            project=batch.project,
            webhook=webhook.id,
            event=kind,
            about=batch.id,
            body=body.decode(),
            created_at=at,
            due_at=at,
        )
        await webhooks.insert_delivery(tx, delivery)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When an event that was not taken is sent again: later every time, up to a bound."""

    first_s: float = _FIRST_S
    slowest_s: float = _SLOWEST_S
    lives_s: float = LIVES_S

    def after(self, delivery: Delivery, *, now: float) -> float | None:
        """When the next try is due after so many; None when its time would be over."""
        wait_s = min(self.slowest_s, self.first_s * 2.0 ** min(delivery.tries - 1, 30))
        return now + wait_s if now + wait_s <= delivery.created_at + self.lives_s else None


def tried(
    delivery: Delivery, *, status: int | None, trouble: str, pace: Pace, now: float
) -> Delivery:
    """A delivery after one more try. Pure."""
    done = msgspec.structs.replace(
        delivery, tries=delivery.tries + 1, status=status, trouble=trouble[:_TROUBLE]
    )
    if not trouble:
        return msgspec.structs.replace(done, due_at=None, delivered_at=now)
    return msgspec.structs.replace(done, due_at=pace.after(done, now=now))
