"""Jobs at a server that go on only when somebody says so: whoever waits for one is told."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.scenario.place import Place, Provider
from tests.scenario.test_serve import serving
from tests.serving import served

import nightkiln as nk
from nightkiln.core.errors import JobStopped
from nightkiln.core.ids import JobId
from nightkiln.core.job import PromptSpec
from nightkiln.service.manner import text_of
from nightkiln.service.orders import Order
from nightkiln.store import jobs


@pytest.fixture
def here(tmp_path: Path, provider: Provider) -> Iterator[Place]:
    with Place(tmp_path, provider.url) as place:
        place.table(400)
        yield place


def test_a_cap_ends_the_command_at_a_server_as_it_does_here_and_a_higher_one_goes_on(
    here: Place, provider: Provider
) -> None:
    with serving(here):
        ended = here.run("--max-tokens-total", "3000", "--json")
        assert ended.returncode == 6, ended.stderr
        report = json.loads(ended.stdout)
        assert (report["state"], report["exit_code"]) == ("paused", 6)
        assert "of 3,000 tokens are used" in report["reason"]
        ended = here.run("--max-tokens-total", "3000000")
        assert ended.returncode == 0, ended.stderr
        assert provider.requests == 400
        assert len(here.answers()) == 400


def test_who_waits_for_a_job_that_cannot_be_run_is_told_why(
    tmp_path: Path, provider: Provider
) -> None:
    home = tmp_path / "home"
    with served(home) as server, nk.Client(url=server.url, api_key=server.key) as client:
        job = client.infer(["one", "two"], model="m", endpoint=provider.url)
        gone = Order(input="", output=None, prompt=PromptSpec(), model="m", endpoint="nowhere")
        broken = partial(jobs.set_manner, job=JobId(job), manner=text_of(gone))
        server.do(lambda context: context.store.write(broken))
    with served(home, work=True) as server, nk.Client(url=server.url, api_key=server.key) as client:
        with pytest.raises(JobStopped, match="nowhere"):
            client.job(job).wait(60.0)
        shown = server.get(f"/api/v1/jobs/{job}").json
        assert (shown["parked"], shown["running"]) == (True, False)
