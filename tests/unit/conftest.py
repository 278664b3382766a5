"""What the tests of several layers stand on: an open home, and a certificate of localhost."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightkiln.service.context import Context
from nightkiln.store.database import Database
from nightkiln.testing.clock import FakeClock
from nightkiln.vault.home import Home


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    home = Home(tmp_path / "home")
    home.hold()
    store = await Database.open(home.database)
    yield Context(store, home, clock=FakeClock())
    await store.aclose()
    home.release()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", place / "key.pem", "-out", place / "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    return place
