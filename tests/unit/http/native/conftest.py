"""A server that works on its jobs, against a simulated provider, for the tests of our own API."""

from collections.abc import Iterator

import pytest
from tests.scenario.place import Provider, simulated
from tests.serving import Served, served
from tests.unit.http.native.asking import Asking


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with simulated() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served") / "home"
    with served(home, work=True) as running:
        yield running


@pytest.fixture
def api(server: Served, provider: Provider) -> Asking:
    provider.renew()
    return Asking(server, provider.url)
