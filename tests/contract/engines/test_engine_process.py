"""An engine's process lives and dies with its owner, and hears no signal that is for the owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

OWNER = """
import asyncio, signal, sys
from pathlib import Path
from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.core.job import JobSpec, PromptSpec, Sampling, SourceSpec
from nightkiln.core.request import Request

SPEC = JobSpec(
    source=SourceSpec(kind="csv", path="/in.csv", name="in.csv", size_bytes=9, sha256="00"),
    prompt=PromptSpec(columns=("text",)), model="tiny", sampling=Sampling(max_tokens=300),
)

async def main():
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    engine = OpenVINOEngine(EngineSettings(model=Path(sys.argv[1]), precision="f32"))
    await engine.start()
    body = engine.encoder(SPEC)("x")
    asking = [
        asyncio.ensure_future(engine.answer(Request(n, body), deadline=loop.time() + 60))
        for n in range(200)
    ]
    while not engine.pump._running:
        await asyncio.sleep(0)
    print(engine.pump.process.pid, flush=True)
    await interrupted.wait()
    replies = await asyncio.gather(*asking)
    restarts = engine.pump.restarts
    await engine.aclose()
    print(sum(type(reply).__name__ == "Reply" for reply in replies), restarts, flush=True)

asyncio.run(main())
"""
SOON_S = 20.0


@pytest.fixture
def owner(model: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that asks an engine of its own many rows, and first says the engine's id."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(model)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def line(owner: "subprocess.Popen[str]") -> list[int]:
    assert owner.stdout is not None
    return [int(word) for word in owner.stdout.readline().split()]


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_engine_goes_when_its_owner_is_killed(owner: "subprocess.Popen[str]") -> None:
    [engine] = line(owner)
    assert is_alive(engine)
    owner.kill()
    until = time.monotonic() + SOON_S
    while is_alive(engine):
        assert time.monotonic() < until, "the engine's process outlives its owner"


def test_ctrl_c_for_the_whole_group_leaves_the_owner_an_engine_to_drain(
    owner: "subprocess.Popen[str]",
) -> None:
    [engine] = line(owner)
    os.killpg(owner.pid, signal.SIGINT)
    assert line(owner) == [200, 0]
    assert owner.wait(SOON_S) == 0
    assert not is_alive(engine)


def test_a_signal_sent_to_everybody_by_name_does_not_end_the_engine(
    owner: "subprocess.Popen[str]",
) -> None:
    [engine] = line(owner)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine, number)
    os.kill(owner.pid, signal.SIGINT)
    assert line(owner) == [200, 0]
