"""Alarms fire once, in time, and not after they are cancelled."""

import asyncio

from nightkiln.simulate.ticks import TickWheel

DEADLINE_S = 5.0


async def test_alarms_fire_in_the_order_of_their_times_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    wheel, fired = TickWheel(loop), asyncio.Queue[tuple[str, float]]()
    start = loop.time()
    wheel.after(0.02, lambda: fired.put_nowait(("late", loop.time() - start)))
    wheel.after(0.005, lambda: fired.put_nowait(("soon", loop.time() - start)))
    async with asyncio.timeout(DEADLINE_S):
        first, second = await fired.get(), await fired.get()
    assert (first[0], second[0]) == ("soon", "late")
    assert first[1] >= 0.005
    assert second[1] >= 0.02


async def test_a_cancelled_alarm_is_silent() -> None:
    wheel, done, fired = TickWheel(asyncio.get_running_loop()), asyncio.Event(), []
    alarm = wheel.after(0.001, lambda: fired.append(1))
    alarm.cancel()
    wheel.after(0.003, done.set)
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    assert fired == []


async def test_a_closed_wheel_fires_nothing() -> None:
    loop = asyncio.get_running_loop()
    wheel, done, fired = TickWheel(loop), asyncio.Event(), []
    wheel.after(0.001, lambda: fired.append(1))
    wheel.close()
    loop.call_later(0.005, done.set)
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    assert fired == []
