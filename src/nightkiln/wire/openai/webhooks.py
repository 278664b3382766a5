"""The events that OpenAI posts when a batch ends, and how they are signed. Pure.

The signature is that of Standard Webhooks: an HMAC over id, time and body. The id
of an event is the same at every try to deliver it, the time is that of the try,
because receivers refuse old ones.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from nightkiln.core.batches import BatchStatus
from nightkiln.wire.openai.objects import encode

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32  # of a new secret
LEAST_SECRET_BYTES: Final = 16


class EventData(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is about."""

    id: str  # of the batch


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is posted."""

    id: str  # evt_…
    object: Literal["event"] = "event"
    created_at: int  # when the batch ended
    type: str
    data: EventData


def event_type(status: BatchStatus) -> str | None:
    """The type of the event that a status brings; None for one that nobody is told of."""
    return f"batch.{status}" if status.is_terminal else None


def event_body(*, event_id: str, status: BatchStatus, batch_id: str, at: float) -> bytes:
    """The body of the event that a batch ended. Raises ValueError for a batch that has not."""
    kind = event_type(status)
    if kind is None:
        raise ValueError(f"a batch that is {status} has no event")
    data = EventData(id=batch_id)
    return encode(Event(id=event_id, created_at=int(at), type=kind, data=data))


def signed_headers(
    *, event_id: str, body: bytes, secrets: Sequence[str], now: float
) -> tuple[tuple[str, str], ...]:
    """The headers of one try to deliver, signed with each secret: while one is being replaced
    there are two. Raises ValueError for a secret that is none.
    """
    sent = str(int(now))
    signed = b"%b.%b.%b" % (event_id.encode(), sent.encode(), body)
    signatures = [_signature(signed, secret) for secret in secrets]
    if not signatures:
        raise ValueError("an event has to be signed with at least one secret")
    return (
        ("content-type", "application/json"),
        ("webhook-id", event_id),
        ("webhook-timestamp", sent),
        ("webhook-signature", " ".join(signatures)),
    )


def new_secret(entropy: bytes) -> str:
    """A secret made from random bytes; clients take it as it is."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} random bytes, got {len(entropy)}")
    return PREFIX + base64.b64encode(entropy).decode()


def secret_bytes(secret: str) -> bytes:
    """The key that a secret means. Raises ValueError, without the secret in it."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {PREFIX} and base64") from None
    if len(key) < LEAST_SECRET_BYTES:
        raise ValueError(f"a webhook secret has at least {LEAST_SECRET_BYTES} bytes")
    return key


def _signature(signed: bytes, secret: str) -> str:
    code = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(code).decode()
