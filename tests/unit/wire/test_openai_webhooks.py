"""Events that the official client unwraps, and those that it must not."""

import json
import time

import openai
import pytest
from openai.types.webhooks import (
    BatchCancelledWebhookEvent,
    BatchCompletedWebhookEvent,
    BatchExpiredWebhookEvent,
    BatchFailedWebhookEvent,
)
from pydantic import BaseModel

from nightkiln.core.batches import BatchStatus
from nightkiln.wire.openai.webhooks import (
    event_body,
    event_type,
    new_secret,
    secret_bytes,
    signed_headers,
)

SECRET = new_secret(bytes(range(32)))
OTHER = new_secret(bytes(32))
ENDS: list[tuple[BatchStatus, type[BaseModel]]] = [
    (BatchStatus.COMPLETED, BatchCompletedWebhookEvent),
    (BatchStatus.FAILED, BatchFailedWebhookEvent),
    (BatchStatus.EXPIRED, BatchExpiredWebhookEvent),
    (BatchStatus.CANCELLED, BatchCancelledWebhookEvent),
]


def body(status: BatchStatus = BatchStatus.COMPLETED) -> bytes:
    return event_body(event_id="evt_1", status=status, batch_id="batch_1", at=12.7)


def headers(*secrets: str, now: float | None = None, of: bytes | None = None) -> dict[str, str]:
    at = time.time() if now is None else now
    signed = signed_headers(event_id="evt_1", body=of or body(), secrets=secrets, now=at)
    return dict(signed)


def client(secret: str = SECRET) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", webhook_secret=secret, base_url="http://127.0.0.1:9/v1")


def test_an_event_is_written_field_for_field() -> None:
    assert json.loads(body()) == {
        "id": "evt_1",
        "object": "event",
        "created_at": 12,
        "type": "batch.completed",
        "data": {"id": "batch_1"},
    }


@pytest.mark.parametrize(("status", "theirs"), ENDS)
def test_the_official_client_unwraps_every_event(
    status: BatchStatus, theirs: type[BaseModel]
) -> None:
    event = client().webhooks.unwrap(body(status), headers(SECRET, of=body(status)))
    assert isinstance(event, theirs)
    assert event.type == f"batch.{status}" == event_type(status)
    theirs.model_validate_json(body(status), strict=True)


async def test_the_official_async_client_unwraps_one_too() -> None:
    async with openai.AsyncOpenAI(api_key="k", webhook_secret=SECRET) as other:
        assert other.webhooks.unwrap(body(), headers(SECRET)).id == "evt_1"


def test_either_secret_verifies_while_one_replaces_the_other() -> None:
    sent = headers(OTHER, SECRET)
    for secret in (SECRET, OTHER):
        client(secret).webhooks.verify_signature(body(), sent)


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (body(BatchStatus.FAILED), headers(SECRET)),
        (body(), headers(OTHER)),
        (body(), {**headers(SECRET), "webhook-id": "evt_2"}),
        (body(), headers(SECRET, now=time.time() - 3600)),
    ],
    ids=["another body", "another secret", "another id", "an old one"],
)
def test_the_official_client_refuses_what_was_not_signed_now_by_us(
    payload: bytes, sent: dict[str, str]
) -> None:
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client().webhooks.unwrap(payload, sent)


def test_the_signature_is_what_the_standard_says() -> None:
    signed = signed_headers(event_id="msg_1", body=b"{}", secrets=[OTHER], now=1_700_000_000.9)
    assert dict(signed) == {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,LzeNxZHo3O8fwpFJpLh/0B99ugILNFJw+/9lTgx0APs=",
    }


@pytest.mark.parametrize("status", [status for status in BatchStatus if not status.is_terminal])
def test_nobody_is_told_of_a_batch_that_goes_on(status: BatchStatus) -> None:
    assert event_type(status) is None
    with pytest.raises(ValueError, match=str(status)):
        body(status)


@pytest.mark.parametrize("secret", ["", "whsec_", "abc", "whsec_!!!", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret") as caught:
        secret_bytes(secret)
    assert secret in ("", "whsec_") or secret not in str(caught.value)


def test_a_secret_takes_enough_randomness_and_an_event_takes_a_secret() -> None:
    assert secret_bytes(SECRET) == bytes(range(32))
    with pytest.raises(ValueError, match="32 random bytes"):
        new_secret(b"x")
    with pytest.raises(ValueError, match="at least one secret"):
        headers()
