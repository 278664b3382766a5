"""Engines that die: nothing is failed for it, and a row that kills twice is isolated.

The machines are real pipelines; a thin shell around one dies where the test says.
"""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from nightkiln.backends.engines.machine import Generated, Handle, Machine
from nightkiln.backends.engines.openvino import EngineSettings, OpenVINOEngine
from nightkiln.backends.engines.pump import Pump
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request

Ask: TypeAlias = Callable[..., Awaitable[Reply | Fault]]
POISON = "kill the engine"


class Dying:
    """A real machine that dies in `step` while `dies` says so."""

    def __init__(self, machine: Machine, dies: Callable[[list[int]], bool]) -> None:
        self._machine = machine
        self._dies = dies
        self._prompts: dict[Handle, list[int]] = {}

    def begin(self, ids: Sequence[int], settings: Any) -> Handle:
        handle = self._machine.begin(ids, settings)
        self._prompts[handle] = list(ids)
        return handle

    def step(self) -> None:
        self._machine.step()
        if any(self._dies(ids) for ids in self._prompts.values()):
            raise MemoryError("no memory for this")

    def finished(self, handles: Sequence[Handle]) -> list[tuple[Handle, Generated]]:
        ended = self._machine.finished(handles)
        for handle, _ in ended:
            del self._prompts[handle]
        return ended

    def cancel(self, handle: Handle) -> None:
        self._prompts.pop(handle, None)
        self._machine.cancel(handle)


@pytest.fixture
def dying(engine: OpenVINOEngine) -> Callable[[Callable[[list[int]], bool]], None]:
    def arm(dies: Callable[[list[int]], bool]) -> None:
        engine.pump = Pump(lambda: Dying(engine._load(), dies), side_by_side=64)

    return arm


async def test_an_engine_that_dies_once_fails_no_row(
    ask: Ask, engine: OpenVINOEngine, dying: Callable[[Callable[[list[int]], bool]], None]
) -> None:
    deaths = iter([True])
    dying(lambda _: next(deaths, False))
    outcomes = await asyncio.gather(*(ask(f"row {n}", max_tokens=8) for n in range(32)))
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert engine.pump.restarts == 1
    assert "no memory" in engine.pump.last_death


async def test_a_row_that_kills_two_engines_is_poison_and_the_others_are_answered(
    ask: Ask, engine: OpenVINOEngine, dying: Callable[[Callable[[list[int]], bool]], None]
) -> None:
    await engine.start()
    assert engine._tokens is not None
    mark = engine._tokens.encode(POISON)
    await engine.pump.aclose()
    dying(lambda ids: ",".join(map(str, mark)) in ",".join(map(str, ids)))
    prompts = [f"row {n}" for n in range(20)]
    prompts[7] = f"please {POISON}"
    outcomes = await asyncio.gather(*(ask(prompt, max_tokens=8) for prompt in prompts))
    fault = outcomes[7]
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code, fault.sent) == (FaultClass.POISON, "engine_deaths", False)
    others = outcomes[:7] + outcomes[8:]
    assert all(isinstance(outcome, Reply) for outcome in others)
    assert engine.pump.restarts == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_killed_thread_is_replaced_and_its_rows_go_on(
    ask: Ask, engine: OpenVINOEngine
) -> None:
    assert isinstance(await ask("warm", max_tokens=1), Reply)
    asking = [
        asyncio.ensure_future(ask(f"row {n}", max_tokens=200, ignore_eos=True)) for n in range(8)
    ]
    await asyncio.sleep(0)
    assert engine.pump._thread is not None
    victim = engine.pump._thread.thread
    assert victim.ident is not None
    killed = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(victim.ident), ctypes.py_object(SystemExit)
    )
    assert killed == 1
    outcomes = await asyncio.gather(*asking)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert not victim.is_alive()
    assert engine.pump.restarts == 1


async def test_an_engine_that_cannot_be_loaded_is_unreachable_and_tried_again_later(
    ask: Ask, engine: OpenVINOEngine
) -> None:
    is_broken = True

    def load() -> Machine:
        if is_broken:
            raise MemoryError("no memory for weights")
        return engine._load()

    engine.pump = Pump(load)
    fault = await ask("x", max_tokens=1)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (FaultClass.TRANSIENT, "engine_down")
    assert fault.unreachable
    assert not fault.sent
    is_broken = False
    assert isinstance(await ask("x", max_tokens=1), Reply)


async def test_a_full_queue_says_that_it_is_full(
    model: Path, spec_of: Callable[..., JobSpec]
) -> None:
    engine = OpenVINOEngine(EngineSettings(model=model, precision="f32", queue=4))
    await engine.start()
    body = engine.encoder(spec_of({"max_tokens": 4}))("x")
    deadline = asyncio.get_running_loop().time() + 60
    asking = (engine.answer(Request(n, body), deadline=deadline) for n in range(40))
    outcomes = await asyncio.gather(*asking)
    await engine.aclose()
    faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
    assert faults
    assert {(fault.kind, fault.code) for fault in faults} == {
        (FaultClass.OVERLOAD, "engine_queue_full")
    }
