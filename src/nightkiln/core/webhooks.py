"""Webhooks: where a project wants to hear of its batches' ends, and what is on its way there."""

from typing import NewType

import msgspec

from nightkiln.core.batches import ENDS
from nightkiln.core.ids import ProjectId

WebhookId = NewType("WebhookId", str)
DeliveryId = NewType("DeliveryId", str)

EVENTS = tuple(f"batch.{status}" for status in ENDS)
"""Everything that a webhook can be told of."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told of events. Its secret signs them and is never shown again."""

    id: WebhookId
    project: ProjectId
    url: str
    events: tuple[str, ...]
    secret: str
    created_at: float  # epoch seconds


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event for one webhook. Its id is the event's, and the same at every try."""

    id: DeliveryId
    project: ProjectId
    webhook: WebhookId
    event: str
    about: str  # the id of the batch
    body: str
    created_at: float  # epoch seconds
    due_at: float | None  # the next try; None: there is none any more
    tries: int = 0
    status: int | None = None  # of the last answer; None: there was none
    trouble: str = ""  # why the last try did not succeed
    delivered_at: float | None = None

    @property
    def state(self) -> str:
        """How it stands: pending, delivered or given_up."""
        if self.delivered_at is not None:
            return "delivered"
        return "given_up" if self.due_at is None else "pending"
