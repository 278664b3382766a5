"""Anthropic's batches from the document to the results, with a real roster and provider."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.batchmaking import DEADLINE_S, asked, served, settings_for

from nightkiln.app.roster import RosterSettings
from nightkiln.app.serving import ServedHome, open_server
from nightkiln.core.batches import Batch, BatchStatus, Dialect
from nightkiln.core.errors import InputError, NotFound
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.service import anthropicbatches, files, wirebatches
from nightkiln.service.answering import Allow, Models
from nightkiln.service.anthropicbatches import NewMessages
from nightkiln.service.anthropicresults import result_lines
from nightkiln.service.context import Context
from nightkiln.service.wirebatches import Shown
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.store import jobs
from nightkiln.wire.anthropic.batch import Status, batch_object
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.rules import Rules, Version

RULES = Rules(version=Version.FIRST)


def request(name: str, *, model: str = "m", **more: Any) -> dict[str, Any]:
    params = {
        "model": model,
        "max_tokens": 20,
        "messages": [{"role": "user", "content": f"say {name}"}],
        **more,
    }
    return {"custom_id": name, "params": params}


async def created(
    context: Context,
    requests: list[Any],
    models: Models | None = None,
    *,
    may: Allow = lambda _url, _model: True,
    live_s: float = 3600.0,
    retries: int | None = 0,
    key: str = "",
) -> Batch | Refusal:
    async with files.begin(context, most=1 << 28) as incoming:
        await incoming.append(json.dumps({"requests": requests}).encode())
        document = await incoming.seal()
    new = NewMessages(
        rules=RULES,
        expires_at=context.clock() + live_s,
        key=key,
        asked=asked(context, document.sha256, retries=retries),
    )
    found = await anthropicbatches.create(context, document, new, models or served(), may)
    assert not document.path.exists()
    return found


async def batch_of(*arguments: Any, **more: Any) -> Batch:
    found = await created(*arguments, **more)
    assert isinstance(found, Batch), found
    return found


async def ended(opened: ServedHome, context: Context, batch: Batch) -> Shown:
    assert opened.roster is not None
    opened.roster.wake()
    async with asyncio.timeout(DEADLINE_S):
        while (found := await show(context, batch)).batch.ended_at is None:
            await asyncio.sleep(0.02)
    return found


async def show(context: Context, batch: Batch) -> Shown:
    return await wirebatches.show(context, batch.id, Dialect.ANTHROPIC)


async def some_answered(context: Context, batch: Batch) -> None:
    """Return once the server knows of answers to a batch of one model."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            job = (await show(context, batch)).job
            assert job is not None
            assert not job.state.is_terminal
            if job.totals.ok or (job.live is not None and job.live.totals.ok):
                return
            await asyncio.sleep(0.02)


def counts_of(shown: Shown) -> tuple[int, ...]:
    """Processing, succeeded, errored, canceled, expired, as clients read them."""
    counts = json.loads(batch_object(anthropicbatches.object_of(shown)))["request_counts"]
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return tuple(counts[name] for name in names)


async def results(context: Context, shown: Shown) -> list[Any]:
    pieces = [piece async for piece in result_lines(context, shown)]
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


async def test_every_request_ends_for_itself(tmp_path: Path) -> None:
    requests = [
        request("good"),
        request("warm", temperature=7.5),
        request("unserved", model="claude-9"),
        request("another", model="n"),
        request("alias", model="ours"),
    ]
    async with Simulator() as simulator:
        models = {"ours": {"endpoint": "sim", "model": "m"}}
        settings = settings_for(simulator.url, "m", "n", models=models)
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await batch_of(context, requests, opened.models)
            before = anthropicbatches.object_of(await show(context, batch))
            with pytest.raises(NotFound):
                await results(context, await show(context, batch))
            shown = await ended(opened, context, batch)
            found = anthropicbatches.object_of(shown)
            lines = await results(context, shown)
        assert simulator.stats().requests == 3
    assert (before.status, before.counts.processing) == (Status.IN_PROGRESS, 5)
    assert (found.status, found.counts.succeeded, found.counts.errored) == (Status.ENDED, 3, 2)
    assert [line["custom_id"] for line in lines] == [one["custom_id"] for one in requests]
    kinds = [line["result"]["type"] for line in lines]
    assert kinds == ["succeeded", "errored", "errored", "succeeded", "succeeded"]
    good, warm, unserved, another, alias = (line["result"] for line in lines)
    answered = [one["message"]["model"] for one in (good, another, alias)]
    assert answered == ["m", "n", "m"]
    assert good["message"]["id"].startswith("msg_")
    errors = [one["error"]["error"] for one in (warm, unserved)]
    assert [one["type"] for one in errors] == ["invalid_request_error"] * 2
    assert errors[0]["message"].startswith("temperature")
    assert "claude-9" in errors[1]["message"]


async def test_a_batch_of_which_no_request_can_be_asked_ends_all_the_same(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m")
    async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
        context = opened.context(DEFAULT_PROJECT)
        requests = [request(f"r{number}") for number in range(3)]
        batch = await batch_of(context, requests, opened.models, may=lambda _url, _model: False)
        shown = await ended(opened, context, batch)
        lines = await results(context, shown)
    assert anthropicbatches.object_of(shown).counts.errored == 3
    assert {line["result"]["type"] for line in lines} == {"errored"}


async def test_a_cancelled_batch_has_a_result_for_every_request(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(latency="const:200")) as simulator:
        settings = settings_for(simulator.url, "m")
        async with open_server(
            tmp_path / "home", environ={}, settings=settings, how=RosterSettings(at_once=1)
        ) as opened:
            context = opened.context(DEFAULT_PROJECT)
            first = await batch_of(
                context, [request(f"r{n}") for n in range(3000)], opened.models, retries=0
            )
            assert opened.roster is not None
            opened.roster.wake()
            async with asyncio.timeout(DEADLINE_S):
                while not opened.roster.running:
                    await asyncio.sleep(0.02)
            unread = await batch_of(context, [request("x"), request("y")], opened.models)
            await some_answered(context, first)
            assert counts_of(await show(context, first)) == (3000, 0, 0, 0, 0)
            for batch in (unread, first):
                await wirebatches.cancel(context, batch.id, Dialect.ANTHROPIC)
                found = anthropicbatches.object_of(await show(context, batch))
                assert found.status in (Status.CANCELING, Status.ENDED)
            unread_end = await ended(opened, context, unread)
            assert await results(context, unread_end) == [
                {"custom_id": name, "result": {"type": "canceled"}} for name in "xy"
            ]
            assert anthropicbatches.object_of(unread_end).counts.canceled == 2
            end = await ended(opened, context, first)
            lines = await results(context, end)
    counts = anthropicbatches.object_of(end).counts
    assert len(lines) == 3000 == counts.succeeded + counts.canceled
    assert [line["custom_id"] for line in lines] == [f"r{n}" for n in range(3000)]


@pytest.mark.parametrize("names", ["m", "mn"])
async def test_a_batch_whose_time_is_over_keeps_its_answers_and_the_others_are_expired(
    tmp_path: Path, names: str
) -> None:
    async with Simulator(SimulatorSettings(latency="const:300")) as simulator:
        place = {"url": simulator.url, "models": list(names), "concurrency": 8}
        settings = settings_for("", endpoints={"sim": place})
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            asked_for = [request(f"r{n}", model=names[n % len(names)]) for n in range(600)]
            batch = await batch_of(context, asked_for, opened.models, live_s=3.0)
            shown = await ended(opened, context, batch)
            lines = await results(context, shown)
    processing, succeeded, errored, canceled, expired = counts_of(shown)
    assert (processing, errored, canceled) == (0, 0, 0)
    assert succeeded > 0
    assert succeeded + expired == 600
    assert [line["custom_id"] for line in lines] == [f"r{n}" for n in range(600)]
    ends = [line["result"] for line in lines]
    assert ends.count({"type": "expired"}) == expired > 0
    assert sum(end["type"] == "succeeded" for end in ends) == succeeded
    assert shown.batch.moments.end is BatchStatus.EXPIRED


async def test_a_document_that_is_no_batch_is_refused_and_leaves_nothing(context: Context) -> None:
    for requests in ([], [request("same"), request("same")], [{"custom_id": "x"}]):
        found = await created(context, requests)
        assert isinstance(found, Refusal)
        assert found.status == 400
    assert list(context.home.spool.iterdir()) == []
    assert not (context.home.root / "jobs").exists()


async def test_a_repeated_create_is_the_same_batch(context: Context) -> None:
    first = await created(context, [request("a")], retries=0)
    assert await created(context, [request("a")], retries=1) == first
    assert len(list((context.home.root / "jobs").iterdir())) == 1


async def test_only_a_batch_that_is_over_can_be_deleted(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        settings = settings_for(simulator.url, "m")
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await batch_of(context, [request("a")], opened.models)
            with pytest.raises(InputError) as refused:
                await anthropicbatches.delete(context, batch.id)
            assert refused.value.reason == "batch_in_progress"
            await ended(opened, context, batch)
            await anthropicbatches.delete(context, batch.id)
            with pytest.raises(NotFound):
                await show(context, batch)
            assert batch.job is not None
            name = batch.job
            assert await context.store.read(lambda tx: jobs.find(tx, name)) is None
