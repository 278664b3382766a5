"""/api/v1/webhooks: where the project wants to hear of its batches' ends, and what was sent."""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nightkiln.core.errors import MissingExtra
from nightkiln.core.webhooks import Delivery, Webhook, WebhookId
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.native.bodies import body_of
from nightkiln.http.native.described import gives, takes
from nightkiln.http.native.jobs import Limit
from nightkiln.service import webhooks
from nightkiln.service.api import Deleted, Page
from nightkiln.service.webhooks import NewWebhook
from nightkiln.store import paging

router: Final = APIRouter(tags=["webhooks"])


class WebhookObject(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook; its secret is shown once, when it is made."""

    id: str
    url: str
    events: tuple[str, ...]
    created_at: float
    secret: str | None = None


class DeliveryObject(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was sent, or is on its way."""

    id: str  # the `webhook-id` of every try
    event: str
    about: str  # the id of the batch
    created_at: float
    state: str  # pending, delivered, given_up
    tries: int
    status: int | None  # of the last answer
    trouble: str  # why the last try did not succeed
    due_at: float | None  # of the next try
    delivered_at: float | None


@router.post(
    "/webhooks",
    status_code=201,
    openapi_extra=takes(NewWebhook),
    **gives(WebhookObject, status=201),
)
async def create_webhook(request: Request, caller: Writer, parts: Serving) -> Response:
    """Register a URL that is told when a batch ends. The secret is shown here and never again."""
    new = await body_of(request, NewWebhook)
    if parts.reaching is None or parts.outward is None:
        raise MissingExtra("this server sends no events")
    made = await webhooks.register(caller.context, new, parts.reaching, parts.outward)
    return json_answer(_shown(made, secret=made.secret), status=201)


@router.get("/webhooks", **gives(Page[WebhookObject]))
async def list_webhooks(caller: Reader) -> Response:
    """List webhooks, the newest first."""
    found = await webhooks.list_webhooks(caller.context)
    return json_answer(Page(data=tuple(map(_shown, found)), has_more=False))


@router.get("/webhooks/{webhook_id}", **gives(WebhookObject))
async def get_webhook(webhook_id: str, caller: Reader) -> Response:
    """Show a webhook."""
    return json_answer(_shown(await webhooks.get(caller.context, WebhookId(webhook_id))))


@router.delete("/webhooks/{webhook_id}", **gives(Deleted))
async def delete_webhook(webhook_id: str, caller: Writer) -> Response:
    """Forget a webhook. What was on its way there is not sent any more."""
    await webhooks.remove(caller.context, WebhookId(webhook_id))
    return json_answer(Deleted(id=webhook_id))


@router.get("/webhooks/{webhook_id}/deliveries", **gives(Page[DeliveryObject]))
async def list_deliveries(
    webhook_id: str,
    caller: Reader,
    limit: Limit = 50,
    after: Annotated[str | None, Query(description="the last one of the page before")] = None,
) -> Response:
    """List what was sent in the last 30 days or is on its way, the newest first."""
    page = paging.Page(limit=limit, after=after)
    found, more = await webhooks.deliveries(caller.context, WebhookId(webhook_id), page)
    shown = tuple(map(_delivery, found))
    return json_answer(
        Page(data=shown, has_more=more, after=shown[-1].id if more and shown else None)
    )


def _shown(webhook: Webhook, secret: str | None = None) -> WebhookObject:
    """A webhook as it is shown: without its secret, but where it is new."""
    return WebhookObject(
        id=webhook.id,
        url=webhook.url,
        events=webhook.events,
        created_at=webhook.created_at,
        secret=secret,
    )


def _delivery(one: Delivery) -> DeliveryObject:
    return DeliveryObject(
        id=one.id,
        event=one.event,
        about=one.about,
        created_at=one.created_at,
        state=one.state,
        tries=one.tries,
        status=one.status,
        trouble=one.trouble,
        due_at=one.due_at,
        delivered_at=one.delivered_at,
    )
