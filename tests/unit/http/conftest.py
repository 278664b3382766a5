"""A server with routes for probing, shared by the tests of a file."""

from collections.abc import Iterator

import pytest
from tests.serving import Served, served
from tests.unit.http import probes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served") / "home"
    with served(home, routers=(probes.router,)) as running:
        yield running
