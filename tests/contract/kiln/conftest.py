"""Both keepers of jobs behind one client: a home in this process, and a server over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.scenario.place import Provider, simulated
from tests.serving import served

import nightkiln as nk


class Bench(msgspec.Struct, frozen=True):
    """A client, whom it asks, and a folder for files."""

    client: nk.Client
    provider: Provider
    folder: Path

    def infer(self, data: Any, **more: Any) -> str:
        """Submit to the provider."""
        said = {"model": "m", "endpoint": self.provider.url, **more}
        return self.client.infer(data, **said)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Provider]:
    with simulated() as provider:
        yield provider


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with served(tmp_path_factory.mktemp("served") / "home", work=True) as running:
        yield running.url, running.key


@pytest.fixture(params=["local", "remote"])
def bench(request: pytest.FixtureRequest, simulator: Provider, tmp_path: Path) -> Iterator[Bench]:
    simulator.renew()
    if request.param == "local":
        client = nk.Client(home=tmp_path / "home", quiet=True)
    else:
        url, key = request.getfixturevalue("server_url")
        client = nk.Client(url=url, api_key=key, quiet=True)
    with client:
        yield Bench(client, simulator, tmp_path)
