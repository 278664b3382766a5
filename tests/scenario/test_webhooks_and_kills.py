"""kill -9 of a server while an event is on its way: the next one sends it, under the same id."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.batchmaking import created, line, settings_for, text_of, uploaded
from tests.receiver import Receiver, receiving
from tests.scenario.place import DEADLINE_S, Provider, until

from nightkiln.app.serving import open_server
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.service import webhooks
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import Reaching, is_inside
from nightkiln.service.webhooks import NewWebhook

pytestmark = pytest.mark.crash

ROOT = Path(__file__).resolve().parents[2]


async def prepared(home: Path, url: str, receiver: Receiver) -> None:
    """A batch that waits for somebody to work on it, and a webhook that wants to hear of it."""
    async with open_server(home, environ={}, settings=settings_for(url, "m"), work=False) as opened:
        context = opened.context(DEFAULT_PROJECT)
        inside = Reaching(allowed=is_inside)
        await webhooks.register(context, NewWebhook(url=receiver.url), inside, Outward())
        file = await uploaded(context, text_of(map(line, range(3))))
        await created(context, file, opened.models)


def working(home: Path, url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.scenario.rosterprocess", str(home), url]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_an_event_outlives_the_server_that_recorded_it(tmp_path: Path, provider: Provider) -> None:
    home = tmp_path / "home"
    with receiving() as receiver:
        receiver.hold.clear()
        asyncio.run(prepared(home, provider.url, receiver))
        with working(home, provider.url) as process:
            until(lambda: len(receiver.heard) == 1)
            process.kill()
            process.wait(DEADLINE_S)
        receiver.hold.set()
        with working(home, provider.url) as process:
            until(lambda: len(receiver.heard) == 2)
            process.kill()
            process.wait(DEADLINE_S)
    first, second = receiver.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
