"""A world and a kiln for every scenario; whatever a failed test left running is ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.scenario.crash.kiln import Kiln
from tests.scenario.crash.world import World

from nightkiln.simulate import Simulator, SimulatorSettings

LATENCY_MS = 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Simulator(SimulatorSettings(latency=f"const:{LATENCY_MS}")) as simulator:
        yield World(simulator, tmp_path)


@pytest.fixture
async def kiln(tmp_path: Path) -> AsyncIterator[Kiln]:
    kiln = Kiln(tmp_path / "home", tmp_path)
    yield kiln
    await kiln.aclose()
