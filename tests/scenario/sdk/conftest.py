"""A client and scripts in a home of their own, against the simulated provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenario.place import Provider
from tests.scenario.sdk.desk import Desk

import nightkiln as nk


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    with Desk(tmp_path, provider) as desk:
        yield desk


@pytest.fixture
def client(place: Desk) -> Iterator[nk.Client]:
    with nk.Client(home=place.home, quiet=True) as client:
        yield client
