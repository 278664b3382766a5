"""kill -9 of a process that works on many batches, again and again: nothing is lost or doubled."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.batchmaking import (
    created,
    line,
    object_of,
    read,
    replies,
    settings_for,
    text_of,
    uploaded,
    with_project,
)
from tests.scenario.place import DEADLINE_S, Provider, until
from tests.scenario.rosterprocess import RUNS, SLOTS

from nightkiln.app.serving import ServedHome, open_server
from nightkiln.core.batches import Batch
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.service.context import Context
from nightkiln.store.database import Database
from nightkiln.store.schema import batches

pytestmark = pytest.mark.crash

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1, 3, 40, 150, 400, 7, 90, 260)
KILLS = 3
_OPEN = select(batches.c.id).where(batches.c.ended_at.is_(None))
LOST = 2 * RUNS * SLOTS  # at a kill: what is under way, and an answer unread on each connection


@contextmanager
def working(home: Path, url: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.scenario.rosterprocess", str(home), url]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


async def made(home: Path, url: str) -> list[tuple[str, int, Batch]]:
    """Batches of many sizes in two projects, and nobody works on them."""
    found: list[tuple[str, int, Batch]] = []
    async with open_server(home, environ={}, settings=settings_for(url, "m"), work=False) as opened:
        for number, rows in enumerate(SIZES):
            context = await place_of(opened, number)
            file = await uploaded(
                context, text_of(line(number * 1000 + row) for row in range(rows))
            )
            found.append((context.project, rows, await created(context, file, opened.models)))
    return found


async def place_of(opened: ServedHome, number: int) -> Context:
    context = opened.context(DEFAULT_PROJECT)
    return context if number % 2 else await with_project(context, "other")


async def left(home: Path) -> int:
    """How many batches have not ended."""
    store = await Database.open(home / "nightkiln.db", read_only=True)
    try:
        return len(await store.read(lambda tx: tx.rows(_OPEN)))
    finally:
        await store.aclose()


async def check(home: Path, url: str, known: list[tuple[str, int, Batch]]) -> None:
    async with open_server(home, environ={}, settings=settings_for(url, "m"), work=False) as opened:
        for number, (project, rows, batch) in enumerate(known):
            context = opened.context(DEFAULT_PROJECT).of(batch.project)
            assert context.project == project
            found = await object_of(context, batch)
            assert (found.status, found.error_file_id) == ("completed", None)
            assert found.request_counts.total == found.request_counts.completed == rows
            lines = replies(await read(context, found.output_file_id))
            names = [f"c-{number * 1000 + row}" for row in range(rows)]
            assert [one["custom_id"] for one in lines] == names
        stored = {path.name for path in (home / "files").iterdir()}
        assert len(stored) == 2 * len(known)


def test_a_home_whose_server_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, provider: Provider
) -> None:
    home, rows = tmp_path / "home", sum(SIZES)
    known = asyncio.run(made(home, provider.url))
    provider.slow(60)
    for kill in range(KILLS):
        seen = provider.requests
        wanted = min(rows - 60, seen + rows // (KILLS + 2))
        with working(home, provider.url) as process:
            until(lambda wanted=wanted: provider.requests >= wanted)  # type: ignore[misc]
            process.kill()
            process.wait(DEADLINE_S)
        assert kill < KILLS
    with working(home, provider.url) as process:
        until(lambda: asyncio.run(left(home)) == 0)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0
    asyncio.run(check(home, provider.url, known))
    assert provider.requests <= rows + KILLS * LOST
