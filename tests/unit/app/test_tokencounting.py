"""Counting the tokens of chats: exactly for models that run here, by experience for others."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.batchmaking import served, settings_for, with_project
from tests.unit.app.test_messages import batch_of, ended, request, results

from nightkiln import pilot
from nightkiln.app.servedmodels import ServedModels
from nightkiln.app.serving import open_server
from nightkiln.app.tokencounting import TokenCounting
from nightkiln.backends.engines.counting import counter_of
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.job import Task
from nightkiln.core.request import WireBody
from nightkiln.service.answering import Served
from nightkiln.service.context import Context
from nightkiln.simulate import Simulator


def chat(words: str, **more: Any) -> WireBody:
    messages = [{"role": "user", "content": words}]
    return WireBody(json.dumps({"model": "m", "messages": messages, **more}).encode())


def model(models: ServedModels, name: str = "m") -> Served:
    found = models.served(name, Task.CHAT)
    assert found is not None
    return found


async def test_a_model_that_runs_here_counts_by_its_own_tokenizer(context: Context) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m", model="pilot")
    counting, there = TokenCounting(settings), model(ServedModels(settings), "pilot")
    own = counter_of(pilot.path(), system=None)
    assert own is not None
    words = ["Where is my parcel?", "x", "Hello. " * 300]
    found = await asyncio.gather(*(counting.count(context, there, chat(one)) for one in words))
    assert found == [own(one) for one in words]
    # What the model's template refuses is never asked; its size is all that can be said.
    assert await counting.count(context, there, chat("x", messages=[{"role": "?"}])) > 0


async def test_a_model_elsewhere_is_estimated_and_a_picture_is_not_its_letters(
    context: Context,
) -> None:
    models = served()
    counting = TokenCounting(settings_for("http://127.0.0.1:9/v1"))
    short = await counting.count(context, model(models), chat("Hello."))
    long = await counting.count(context, model(models), chat("Hello. " * 1000))
    assert 0 < short < 60
    assert 1000 < long < 3000
    url = {"url": "data:image/png;base64," + "A" * 1_000_000}
    parts = [{"type": "image_url", "image_url": url}]
    seen = chat("", messages=[{"role": "user", "content": parts}])
    assert 1000 < await counting.count(context, model(models), seen) < 3000


async def test_what_earlier_jobs_took_makes_the_estimate_better(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        settings = settings_for(simulator.url, "m")
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            words = [{"role": "user", "content": "zyx " * 200}]
            requests = [request(f"r{n}", messages=words) for n in range(20)]
            batch = await batch_of(context, requests, opened.models)
            [first, *_] = await results(context, await ended(opened, context, batch))
            usage = first["result"]["message"]["usage"]
            took = usage["input_tokens"] + usage["cache_read_input_tokens"]
            there = model(opened.models)
            counted = await opened.counting.count(context, there, chat("zyx " * 200))
            theirs = await with_project(context, "theirs")
            unknown = await opened.counting.count(theirs, there, chat("zyx " * 200))
    assert counted == pytest.approx(took, rel=0.1)
    assert unknown != counted  # what one project's jobs took tells another one nothing
