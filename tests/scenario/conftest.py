"""One simulated provider for all scenarios, as new for each of them, and a place that asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenario.place import Place, Provider, simulated


@pytest.fixture(scope="session")
def simulator() -> Iterator[Provider]:
    """Starting a process costs more than most scenarios, so all of them share it."""
    with simulated() as provider:
        yield provider


@pytest.fixture
def provider(simulator: Provider) -> Provider:
    simulator.renew()
    return simulator


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Iterator[Place]:
    with Place(tmp_path, provider.url) as place:
        yield place


@pytest.fixture
def table(place: Place) -> None:
    place.table()
