"""A server whose disk is nearly full takes nothing large in, and answers everything else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving import Served, served
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full") / "home"


@pytest.fixture(scope="module")
def full(home: Path) -> Iterator[Served]:
    with served(home, environ={"NIGHTKILN_DISK_RESERVE_GB": "1000000000"}) as running:
        yield running


@pytest.mark.parametrize("size", [1000, 500_000], ids=["small", "large"])
def test_a_file_is_refused(full: Served, home: Path, size: int) -> None:
    said = full.ask("POST", "/v1/files", form(PURPOSE, (FILE, bytes(size))), content_type=TYPE)
    assert (said.status, said.json["error"]["type"]) == (507, "server_error")
    assert said.headers["x-should-retry"] == "false"  # or a client uploads all of it again
    said = full.ask("PUT", "/api/v1/files?name=a.csv", bytes(size))
    assert said.status == 507
    assert [*(home / "spool").glob("*")] == []


def test_rows_are_refused(full: Served) -> None:
    body = {"input": {"from": "rows", "rows": ["one"]}}
    said = full.ask("POST", "/api/v1/jobs", json.dumps(body).encode())
    assert (said.status, said.json["code"]) == (507, "E_DISK")
    assert said.headers["x-should-retry"] == "false"


def test_what_needs_no_room_is_answered(full: Served) -> None:
    assert full.get("/v1/files").json["data"] == []
    assert full.get("/api/v1/jobs").status == 200
