"""Work that has to go on goes on after any error, is counted, and tells no secret."""

import asyncio
import itertools
import logging

import pytest

from nightkiln.app.tending import Tended, told

SECRET = "a prompt that nobody may read"


async def until(work: Tended, stumbles: int) -> None:
    async with asyncio.timeout(30):
        while work.stumbles < stumbles:
            await asyncio.sleep(0.005)


async def test_an_unforeseen_error_is_outlived_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 4:
            raise LookupError(SECRET)
        await asyncio.Event().wait()

    tended = Tended("the sweep", work, first_s=0.005)
    with caplog.at_level(logging.ERROR):
        tended.start()
        await until(tended, 3)
        async with asyncio.timeout(30):
            while rounds < 4:
                await asyncio.sleep(0.005)
    await tended.aclose()
    assert (rounds, tended.stumbles) == (4, 3)
    assert "the sweep stumbled: LookupError at test_tending.py:" in caplog.text
    assert SECRET not in caplog.text


async def test_it_rests_longer_after_every_error() -> None:
    at: list[float] = []

    async def work() -> None:
        at.append(asyncio.get_running_loop().time())
        raise LookupError

    tended = Tended("the sweep", work, first_s=0.02)
    tended.start()
    await until(tended, 4)
    await tended.aclose()
    first, second, third = (later - one for one, later in itertools.pairwise(at[:4]))
    assert first < second < third


async def test_work_that_is_cut_short_ends() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tended = Tended("the sweep", work)
    tended.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tended.aclose()
    assert ended.is_set()
    assert tended.stumbles == 0


def test_an_error_is_told_without_its_text() -> None:
    try:
        raise LookupError(SECRET)
    except LookupError as error:
        said = told(error)
    assert said.startswith("LookupError at test_tending.py:")
    assert SECRET not in said
    assert told(ValueError(SECRET)) == "ValueError at no known place"
