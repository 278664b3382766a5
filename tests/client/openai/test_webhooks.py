"""The end of a batch, told to a URL: OpenAI's client finds the signature good, and ours alone."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.client.openai.asking import Client, asked, fails, got, lines_of, once
from tests.client.server import Running, running
from tests.receiver import Receiver, receiving
from tests.scenario.place import DEADLINE_S, simulated


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with (
        pytest.MonkeyPatch.context() as patched,
        simulated() as provider,
    ):
        patched.setenv("NIGHTKILN_PRIVATE_WEBHOOKS", "true")
        with running(tmp_path_factory.mktemp("webhooks"), provider) as found:
            yield found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def registered(server: Running, url: str) -> dict[str, Any]:
    """A webhook as it was made, with its secret."""
    request = urllib.request.Request(
        f"{server.url}/api/v1/webhooks",
        json.dumps({"url": url}).encode(),
        {"authorization": f"Bearer {server.key}"},
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
        made: dict[str, Any] = json.loads(reply.read())
    return made


async def delivered(server: Running, webhook: str) -> list[dict[str, Any]]:
    """What was sent to a webhook, once nothing is on its way any more."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        sent: list[dict[str, Any]] = json.loads(
            server.get(f"/api/v1/webhooks/{webhook}/deliveries")
        )["data"]
        if all(one["state"] != "pending" for one in sent):
            return sent
        assert time.monotonic() < deadline, sent
        tick = 0.05
        await asyncio.sleep(tick)


async def heard(receiver: Receiver, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(receiver.heard) < count:
        assert time.monotonic() < deadline, receiver.heard
        tick = 0.05
        await asyncio.sleep(tick)


async def test_unwrap_takes_what_a_receiver_got(
    client: Client, server: Running, receiver: Receiver
) -> None:
    if not hasattr(client, "webhooks"):
        pytest.skip("this release of the client knows no webhooks")
    webhook = registered(server, receiver.url)
    batch = await once(client, await asked(client, lines_of(2)))
    await heard(receiver, 1)
    got_it = receiver.heard[0]
    event = await got(
        client.webhooks.unwrap(got_it.body.decode(), got_it.headers, secret=webhook["secret"])
    )
    assert (event.type, event.data.id, event.object) == ("batch.completed", batch.id, "event")
    assert event.id == got_it.headers["webhook-id"]
    other = registered(server, receiver.url)["secret"]
    for body, secret in ((got_it.body, other), (got_it.body + b" ", webhook["secret"])):
        await fails(
            openai.InvalidWebhookSignatureError,
            lambda body=body, secret=secret: client.webhooks.unwrap(  # type: ignore[misc]
                body.decode(), got_it.headers, secret=secret
            ),
        )
    sent = await delivered(server, webhook["id"])
    assert [(one["about"], one["state"], one["tries"]) for one in sent] == [
        (batch.id, "delivered", 1)
    ]
    assert "secret" not in sent[0]
    listed = json.loads(server.get("/api/v1/webhooks"))["data"]
    assert [one["secret"] for one in listed] == [None] * len(listed)
