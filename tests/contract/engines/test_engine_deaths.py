"""Engines that die: nothing is failed for it, and a row that kills twice is isolated.

The engines are real processes with real pipelines; `dying.py` has those that die by themselves.
"""

import asyncio
import os
import signal
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.backends.engines.process import EngineProcess
from nightkiln.backends.engines.pump import Pump
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request

Ask: TypeAlias = Callable[..., Awaitable[Reply | Fault]]
Arm: TypeAlias = Callable[..., None]
POISON = "kill the engine"


@pytest.fixture
def arm(engine: OpenVINOEngine, monkeypatch: pytest.MonkeyPatch) -> Arm:
    """Give the engine a machine of `dying.py`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def replace(name: str, *, silence_s: float = 300.0, **properties: str) -> None:
        load = msgspec.structs.replace(
            engine.load(), machine=f"dying:{name}", properties=properties
        )
        engine.pump = Pump(load, silence_s=silence_s)
        engine.pump.set_up = engine.set_up

    return replace


def process(engine: OpenVINOEngine) -> EngineProcess:
    assert engine.pump.process is not None
    return engine.pump.process


def mark(engine: OpenVINOEngine, text: str) -> str:
    """A text's ids as they travel, in hexadecimal digits."""
    assert engine._tokens is not None
    return array("q", engine._tokens.encode(text)).tobytes().hex()


def answered(outcomes: list[Any]) -> bool:
    return all(isinstance(outcome, Reply) for outcome in outcomes)


@pytest.mark.parametrize("how", ["raise", "kill"])
async def test_an_engine_that_dies_once_fails_no_row(
    ask: Ask, engine: OpenVINOEngine, arm: Arm, tmp_path: Path, how: str
) -> None:
    (tmp_path / "die").touch()
    arm("Dying", DIE_BY=how, DIE_WHILE=str(tmp_path / "die"))
    outcomes = await asyncio.gather(*(ask(f"row {n}", max_tokens=8) for n in range(32)))
    assert answered(outcomes)
    assert engine.pump.restarts == 1
    assert ("SIGKILL" if how == "kill" else "no memory") in engine.pump.last_death


@pytest.mark.parametrize("how", ["raise", "kill"])
async def test_a_row_that_kills_two_engines_is_poison_and_the_others_are_answered(
    ask: Ask, engine: OpenVINOEngine, arm: Arm, how: str
) -> None:
    arm("Dying", DIE_BY=how, DIE_OF=mark(engine, POISON))
    prompts = [f"row {n}" for n in range(20)]
    prompts[7] = f"please {POISON}"
    outcomes = await asyncio.gather(*(ask(prompt, max_tokens=8) for prompt in prompts))
    fault = outcomes[7]
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code, fault.sent) == (FaultClass.POISON, "engine_deaths", False)
    assert answered(outcomes[:7] + outcomes[8:])
    assert engine.pump.restarts == 2


async def test_only_rows_inside_the_engine_are_suspected_of_its_death(
    model: Path, spec_of: Callable[..., JobSpec]
) -> None:
    engine = OpenVINOEngine(EngineSettings(model=model, precision="f32", side_by_side=2))
    await engine.start()
    body = engine.encoder(spec_of({"max_tokens": 400, "ignore_eos": True}))("x")
    deadline = asyncio.get_running_loop().time() + 60
    asking = [
        asyncio.ensure_future(engine.answer(Request(n, body), deadline=deadline)) for n in range(16)
    ]
    while not engine.pump._running:
        await asyncio.sleep(0)
    victim = process(engine)
    victim.kill("a test")
    await victim.ended
    assert (len(engine.pump._alone), len(engine.pump._many)) == (4, 12)
    await engine.aclose()
    faults = await asyncio.gather(*asking)
    assert {fault.code for fault in faults if isinstance(fault, Fault)} == {"closed"}


async def test_a_killed_process_is_replaced_and_its_rows_go_on(
    ask: Ask, engine: OpenVINOEngine
) -> None:
    assert isinstance(await ask("warm", max_tokens=1), Reply)
    asking = [
        asyncio.ensure_future(ask(f"row {n}", max_tokens=200, ignore_eos=True)) for n in range(8)
    ]
    while not engine.pump._running:
        await asyncio.sleep(0)
    victim = process(engine)
    os.kill(victim.pid, signal.SIGKILL)
    assert answered(await asyncio.gather(*asking))
    assert victim.ended.done()
    assert process(engine).pid != victim.pid
    assert engine.pump.restarts == 1


async def test_a_process_that_hangs_is_replaced_and_its_rows_go_on(
    ask: Ask, engine: OpenVINOEngine, arm: Arm
) -> None:
    arm("Dying", silence_s=2.0, DIE_WHILE="/no/such/file")
    assert isinstance(await ask("warm", max_tokens=1), Reply)
    os.kill(process(engine).pid, signal.SIGSTOP)
    assert isinstance(await ask("x", max_tokens=4), Reply)
    assert engine.pump.restarts == 1
    assert "said nothing" in engine.pump.last_death


async def test_an_engine_that_cannot_be_loaded_is_unreachable_and_tried_again_later(
    ask: Ask, engine: OpenVINOEngine, arm: Arm, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    arm("Unloadable", DIE_WHILE=str(broken))
    fault = await ask("x", max_tokens=1)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (FaultClass.TRANSIENT, "engine_down")
    assert fault.unreachable
    assert not fault.sent
    assert "no memory for weights" in fault.message
    broken.unlink()
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
