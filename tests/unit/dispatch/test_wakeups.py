"""Slots that sleep, and the timer that wakes one."""

import asyncio

from nightkiln.dispatch.wakeups import Wakeups
from nightkiln.testing.clock import run_jumping


def woken(*, stops: bool) -> bool:
    """Whether a timer that was set wakes a slot; after a stop, perhaps."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        wakeups = Wakeups(loop)
        if stops:
            wakeups.stop()
        wakeups.at(loop.time() + 5.0)
        slot = asyncio.create_task(wakeups.sleep())
        done, _ = await asyncio.wait([slot], timeout=10.0)
        slot.cancel()
        return bool(done)

    found: list[bool] = []

    async def keep() -> None:
        found.append(await main())

    run_jumping(keep())
    return found[0]


def test_a_timer_wakes_a_slot() -> None:
    assert woken(stops=False)


def test_nobody_is_woken_by_time_after_the_end() -> None:
    assert not woken(stops=True)
