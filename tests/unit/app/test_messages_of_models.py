"""One Anthropic batch whose requests name different models: each is asked what names it."""

import asyncio
import itertools
from pathlib import Path

import pytest
from tests.batchmaking import DEADLINE_S, settings_for
from tests.unit.app.test_messages import batch_of, counts_of, created, ended, request, results, show

from nightkiln.app.serving import ServedHome, open_server
from nightkiln.config import Settings
from nightkiln.core import crashpoints
from nightkiln.core.access import KeyCaps
from nightkiln.core.batches import Dialect
from nightkiln.core.errors import NotFound, QuotaError
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.service import anthropicbatches, keys, wirebatches
from nightkiln.service.anthropicresults import parts_of
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.store import jobs
from nightkiln.store.paging import Page
from nightkiln.wire.anthropic.batch import Status

PAGE = Page(limit=10)


def mixed(count: int) -> list[dict[str, object]]:
    return [request(f"r{n}", model="mno"[n % 3]) for n in range(count)]


def two_places(first: str, second: str) -> Settings:
    here = {"url": first, "models": ["m", "n"]}
    there = {"url": second, "models": ["o"]}
    return settings_for("", endpoints={"here": here, "there": there})


async def test_every_request_is_asked_of_its_own_model_and_results_are_in_order(
    tmp_path: Path,
) -> None:
    async with Simulator() as here, Simulator() as there:
        settings = two_places(here.url, there.url)
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await batch_of(context, mixed(300), opened.models)
            before = anthropicbatches.object_of(await show(context, batch))
            shown = await ended(opened, context, batch)
            lines = await results(context, shown)
            page, _ = await wirebatches.pages(context, PAGE, Dialect.ANTHROPIC)
        assert (here.stats().requests, there.stats().requests) == (200, 100)
    assert (before.status, before.counts.processing) == (Status.IN_PROGRESS, 300)
    after = anthropicbatches.object_of(shown)
    assert (after.status, after.counts.succeeded, after.counts.errored) == (Status.ENDED, 300, 0)
    assert [line["custom_id"] for line in lines] == [f"r{n}" for n in range(300)]
    named = [line["result"]["message"]["model"] for line in lines]
    assert named == ["mno"[n % 3] for n in range(300)]
    assert len({line["result"]["message"]["id"] for line in lines}) == 300
    assert [one.batch.id for one in page] == [batch.id]


async def test_a_batch_ends_after_the_slowest_of_its_models_and_a_cancel_is_for_all(
    tmp_path: Path,
) -> None:
    slow = SimulatorSettings(latency="const:20000")
    async with Simulator() as here, Simulator(slow) as there:
        settings = two_places(here.url, there.url)
        async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await batch_of(context, mixed(30), opened.models)
            assert opened.roster is not None
            opened.roster.wake()
            async with asyncio.timeout(DEADLINE_S):
                while here.stats().ok < 20 or not there.stats().requests:
                    await asyncio.sleep(0.02)
            before = await show(context, batch)
            assert before.batch.ended_at is None
            assert counts_of(before) == (30, 0, 0, 0, 0)
            await wirebatches.cancel(context, batch.id, Dialect.ANTHROPIC)
            asked = anthropicbatches.object_of(await show(context, batch))
            assert asked.status is Status.CANCELING
            shown = await ended(opened, context, batch)
            lines = await results(context, shown)
            counts = anthropicbatches.object_of(shown).counts
            assert counts.succeeded >= 20
            assert counts.succeeded + counts.canceled == 30 == len(lines)
            assert [line["custom_id"] for line in lines] == [f"r{n}" for n in range(30)]
            await anthropicbatches.delete(context, batch.id)
            with pytest.raises(NotFound):
                await show(context, batch)
            left, _ = await context.store.read(
                lambda tx: jobs.list_jobs(tx, PAGE, project=DEFAULT_PROJECT)
            )
            assert left == []


async def test_a_repeated_create_makes_no_second_job_of_any_model(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m", "n", "o")
    async with open_server(tmp_path / "home", environ={}, settings=settings, work=False) as opened:
        context = opened.context(DEFAULT_PROJECT)
        first = await created(context, mixed(6), opened.models, retries=0)
        assert await created(context, mixed(6), opened.models, retries=1) == first
        assert len(list((context.home.root / "jobs").iterdir())) == 3
        assert list(context.home.spool.iterdir()) == []


def _die() -> None:
    raise ZeroDivisionError


async def test_a_deletion_that_was_cut_short_between_the_models_can_be_repeated(
    tmp_path: Path,
) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m", "n", "o")
    async with open_server(tmp_path / "home", environ={}, settings=settings) as opened:
        context = opened.context(DEFAULT_PROJECT)
        batch = await batch_of(context, mixed(6), opened.models)
        await wirebatches.cancel(context, batch.id, Dialect.ANTHROPIC)
        await ended(opened, context, batch)
        crashpoints.arm("delete.tombstone", nth=2, action=_die)
        try:
            with pytest.raises(ZeroDivisionError):
                await anthropicbatches.delete(context, batch.id)
        finally:
            crashpoints.disarm()
        kept = (await show(context, batch)).batch
        found = await context.store.read(lambda tx: parts_of(tx, kept))
        assert [one.id for one in found] == list(kept.parts)
        await anthropicbatches.delete(context, batch.id)
        with pytest.raises(NotFound):
            await show(context, batch)
        assert list((context.home.root / "jobs").iterdir()) == []


def same_names(opened: ServedHome) -> Context:
    """A context whose jobs have the same names in every home."""
    count = itertools.count()
    return Context(
        opened.store,
        opened.home,
        project=DEFAULT_PROJECT,
        clock=lambda: 1e9,
        entropy=lambda size: next(count).to_bytes(size, "big"),
    )


async def test_of_a_batch_that_cannot_be_made_for_every_model_nothing_stays(
    tmp_path: Path,
) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m", "n", "o")
    async with open_server(tmp_path / "one", environ={}, settings=settings, work=False) as opened:
        batch = await batch_of(same_names(opened), mixed(6), opened.models)
        second = batch.parts[1].removeprefix("part_")
    async with open_server(tmp_path / "two", environ={}, settings=settings, work=False) as opened:
        in_the_way = opened.home.root / "jobs" / second
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_bytes(b"")
        with pytest.raises(NotADirectoryError):
            await created(same_names(opened), mixed(6), opened.models)
        assert list(opened.home.spool.iterdir()) == []
        assert list(in_the_way.parent.iterdir()) == [in_the_way]


async def test_the_models_of_a_batch_share_the_cap_of_the_key(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:9/v1", "m", "n", "o")
    async with open_server(tmp_path / "home", environ={}, settings=settings, work=False) as opened:
        context = opened.context(DEFAULT_PROJECT)
        made = await keys.create(context, KeyWish(caps=KeyCaps(rows=10)))
        with pytest.raises(QuotaError):
            await created(context, mixed(11), opened.models, key=made.key.id)
        assert list((context.home.root / "jobs").iterdir()) == []
        await batch_of(context, mixed(10), opened.models, key=made.key.id)
