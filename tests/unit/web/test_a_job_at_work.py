"""The page of a job that runs, ends, and had faults: its numbers, and what its script is given."""

import json
import time
from collections.abc import Iterator

import pytest
from tests.scenario.place import simulated
from tests.serving import DEADLINE_S, Served, served

from nightkiln.web.routes import ROUTERS

STEP_S = 0.05


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with simulated() as provider:
        yield provider.url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("work") / "home"
    with served(home, routers=ROUTERS, work=True) as running:
        yield running


def test_the_page_of_a_job_counts_to_its_end(server: Served, url: str) -> None:
    rows = ["fine one", "fine two", "bad __poison__"]
    new = {
        "input": {"from": "rows", "rows": rows},
        "model": "sim",
        "endpoint": url,
        "label": {"name": "three of them"},
    }
    said = server.ask("POST", "/api/v1/jobs", json.dumps(new).encode())
    assert said.status == 201, said.body
    path = f"/jobs/{said.json['job']['id']}"
    deadline = time.monotonic() + DEADLINE_S
    while 'data-over="yes"' not in (text := server.get(f"{path}/live").body.decode()):
        assert time.monotonic() < deadline, text
        time.sleep(STEP_S)
    assert "completed with errors" in text
    assert 'data-percent="100"' in text
    assert "3 of 3 rows" in text
    assert "0 to 2" in text  # the one commit
    assert "Faults" in text
    assert "poison" not in text
    assert "fine" not in text
    assert "<html" not in text  # the script puts it into a page
    page = server.get(path).body.decode()
    assert "100 % · three of them" in page
    assert f'data-stream="/api/v1{path}/events/stream"' in page
    assert "100 %" in server.get("/").body.decode()
