"""Webhooks in SQL, and the events on their way to them: an outbox, written with what they tell."""

from collections.abc import Collection

from sqlalchemy import delete, func, insert, select, update

from nightkiln.core.errors import NotFound
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.webhooks import Delivery, Webhook, WebhookId
from nightkiln.store import batches, codec
from nightkiln.store.paging import Page, rows_of
from nightkiln.store.schema import deliveries, webhooks
from nightkiln.store.tx import Tx


async def insert_webhook(tx: Tx, webhook: Webhook) -> None:
    """Record a new webhook."""
    await tx.change(
        insert(webhooks).values(
            id=webhook.id,
            project_id=webhook.project,
            created_at=webhook.created_at,
            webhook=codec.text_of(webhook),
        )
    )


async def get(tx: Tx, webhook: WebhookId, *, project: ProjectId) -> Webhook:
    """A project's webhook. Raises NotFound, also for another project's."""
    row = await tx.row(
        select(webhooks.c.webhook).where(webhooks.c.id == webhook, webhooks.c.project_id == project)
    )
    if row is None:
        raise _no_such(webhook)
    return codec.webhook_of(row["webhook"])


async def of_project(tx: Tx, project: ProjectId) -> list[Webhook]:
    """The webhooks of a project, newest first; `service` bounds how many there are."""
    rows = await tx.rows(
        select(webhooks.c.webhook)
        .where(webhooks.c.project_id == project)
        .order_by(webhooks.c.created_at.desc(), webhooks.c.id.desc())
    )
    return [codec.webhook_of(row["webhook"]) for row in rows]


async def remove(tx: Tx, webhook: WebhookId, *, project: ProjectId) -> None:
    """Forget a webhook and all that was or is on its way there. Raises NotFound."""
    await get(tx, webhook, project=project)
    await tx.change(delete(deliveries).where(deliveries.c.webhook_id == webhook))
    await tx.change(delete(webhooks).where(webhooks.c.id == webhook))


# -- on their way


async def insert_delivery(tx: Tx, delivery: Delivery) -> None:
    """Record an event that is to be sent."""
    await tx.change(
        insert(deliveries).values(
            id=delivery.id,
            project_id=delivery.project,
            webhook_id=delivery.webhook,
            created_at=delivery.created_at,
            due_at=delivery.due_at,
            delivery=codec.text_of(delivery),
        )
    )


async def save(tx: Tx, delivery: Delivery) -> None:
    """Record how a try went. One that is gone with its webhook stays gone."""
    await tx.change(
        update(deliveries)
        .where(deliveries.c.id == delivery.id)
        .values(due_at=delivery.due_at, delivery=codec.text_of(delivery))
    )


async def pages(
    tx: Tx, page: Page, *, webhook: WebhookId, project: ProjectId
) -> tuple[list[Delivery], bool]:
    """A page of what was sent to a webhook, and whether there is more. Raises NotFound."""
    await get(tx, webhook, project=project)
    where = (deliveries.c.webhook_id == webhook,)
    found, more = await rows_of(tx, deliveries, page, project=project, where=where)
    return [codec.delivery_of(row["delivery"]) for row in found], more


async def about_job(tx: Tx, job: JobId, *, project: ProjectId) -> list[Delivery]:
    """What a project's webhooks were or are to be told of the batch over a job.

    A share of a batch has the events of the whole. An event is as old as the end of its
    batch, so this looks for one moment of each webhook and not through all that was sent.
    """
    batch = await batches.of_job(tx, job)
    if batch is not None and batch.whole is not None:
        batch = await batches.of_whole(tx, batch.whole)
    if batch is None or batch.ended_at is None or batch.project != project:
        return []
    rows = await tx.rows(
        select(deliveries.c.delivery)
        .join_from(deliveries, webhooks, deliveries.c.webhook_id == webhooks.c.id)
        .where(webhooks.c.project_id == project, deliveries.c.created_at == batch.ended_at)
        .order_by(deliveries.c.id)
    )
    found = [codec.delivery_of(row["delivery"]) for row in rows]
    return [one for one in found if one.about == batch.id]


async def due(
    tx: Tx, *, now: float, but: Collection[WebhookId], limit: int
) -> list[tuple[Webhook, Delivery]]:
    """What is to be sent now, one for each webhook but these, the longest due first."""
    first = (
        select(deliveries.c.webhook_id, func.min(deliveries.c.due_at).label("due_at"))
        .where(deliveries.c.due_at <= now, deliveries.c.webhook_id.not_in(but))
        .group_by(deliveries.c.webhook_id)
        .order_by(func.min(deliveries.c.due_at))
        .limit(limit)
        .subquery()
    )
    rows = await tx.rows(
        select(webhooks.c.webhook, deliveries.c.delivery)
        .join_from(deliveries, webhooks, deliveries.c.webhook_id == webhooks.c.id)
        .join(
            first,
            (first.c.webhook_id == deliveries.c.webhook_id)
            & (first.c.due_at == deliveries.c.due_at),
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
    )
    found: dict[WebhookId, tuple[Webhook, Delivery]] = {}
    for row in rows:
        webhook = codec.webhook_of(row["webhook"])
        found.setdefault(webhook.id, (webhook, codec.delivery_of(row["delivery"])))
    return list(found.values())


async def next_due(tx: Tx) -> float | None:
    """When the next try is due; None while nothing is on its way."""
    row = await tx.row(select(func.min(deliveries.c.due_at).label("due_at")))
    return None if row is None else row["due_at"]


async def forget(tx: Tx, *, before: float) -> None:
    """Remove what is no longer on its way and was recorded before a time."""
    await tx.change(
        delete(deliveries).where(deliveries.c.due_at.is_(None), deliveries.c.created_at < before)
    )


def _no_such(webhook: WebhookId) -> NotFound:
    return NotFound(f"no webhook {webhook}")
