"""Asking the engine behind an endpoint how busy it is: whom, with what, and for how long."""

import asyncio

import pytest
from tests.contract.backends.test_prompt_backend import says, serving, whole

from nightkiln.backends.base import TellsLoad
from nightkiln.backends.endpoints.enginepage import REFUSALS, page_of
from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint
from nightkiln.core.engineload import EngineLoad
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.testing.backends import ScriptedBackend

SECRET = {"authorization": "Bearer hunter2hunter2", "x-team": "hunter2"}
PAGE = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n"


async def look(backend: OpenAIEndpoint, within_s: float = 10.0) -> EngineLoad | None:
    return await backend.load(deadline=asyncio.get_running_loop().time() + within_s)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/metrics"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/metrics"),
        ("https://10.1.2.3/v1?a=b", "https://10.1.2.3/metrics"),
        ("http://localhost:30000", "http://localhost:30000/metrics"),
        ("http://vllm:8000/v1", "http://vllm:8000/metrics"),
        ("http://gpu.internal/large/v1", "http://gpu.internal/large/metrics"),
    ],
)
def test_an_engine_of_our_own_network_is_asked_as_every_request_asks(url: str, page: str) -> None:
    target = page_of(url, SECRET, wanted=None)
    assert target is not None
    assert target.url == page
    assert b"hunter2" in target.head


@pytest.mark.parametrize("url", ["http://llm.example.org/v1", "https://8.8.8.8/v1"])
def test_an_engine_elsewhere_is_asked_only_if_the_user_says_so_and_never_with_a_key(
    url: str,
) -> None:
    assert page_of(url, SECRET, wanted=None) is None
    target = page_of(url, SECRET, wanted=True)
    assert target is not None
    assert b"hunter2" not in target.head_to(target.url, method="GET")
    assert b"x-team" not in target.head


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://API.OpenAI.com./v1",
        "https://team.openai.azure.com/v1",
        "https://api.groq.com/openai/v1",
        "https://openrouter.ai/api/v1",
    ],
)
@pytest.mark.parametrize("wanted", [None, True])
def test_a_provider_is_never_asked(url: str, wanted: bool | None) -> None:
    assert page_of(url, SECRET, wanted=wanted) is None


def test_the_user_may_say_that_nothing_is_asked() -> None:
    assert page_of("http://127.0.0.1:8000/v1", {}, wanted=False) is None
    backend = OpenAIEndpoint(EndpointSettings(url="http://127.0.0.1:8000/v1", metrics=False))
    assert not backend.tells_load


def test_a_backend_need_not_be_able_to_tell() -> None:
    assert not isinstance(ScriptedBackend(), TellsLoad)
    assert isinstance(OpenAIEndpoint(EndpointSettings(url="http://h/v1")), TellsLoad)


async def test_the_simulated_provider_tells_of_its_slots() -> None:
    async with Simulator(SimulatorSettings(api_key="k")) as simulator:
        backend = OpenAIEndpoint(EndpointSettings(url=simulator.url, credential="k"))
        assert await look(backend) == EngineLoad(running=0, waiting=0, kv_used=0.0)
        assert backend.tells_load
        await backend.aclose()


async def test_the_request_is_a_get_of_the_page() -> None:
    async with serving(says(whole(PAGE))) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url, credential="sk-1"))
        assert await look(backend) == EngineLoad(running=3, waiting=1)
        await backend.aclose()
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"GET /metrics HTTP/1.1\r\n")
        assert b"content-length: 0" in head
        assert not body


@pytest.mark.parametrize(
    "reply",
    [
        whole(b"{}", status="404 Not Found"),
        whole(b"no", status="401 No"),
        whole(b"start it with --metrics", status="501 Not Implemented"),
        whole(b"<html>a page for everything</html>"),
    ],
)
async def test_a_server_that_refuses_is_asked_three_times_and_no_more(reply: bytes) -> None:
    async with serving(says(reply)) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url))
        for _ in range(REFUSALS):
            assert backend.tells_load
            assert await look(backend) is None
        assert not backend.tells_load
        await backend.aclose()


async def test_a_server_that_is_starting_has_refused_nothing() -> None:
    async with serving(says(whole(b"", status="503 Starting"))) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url))
        for _ in range(2 * REFUSALS):
            assert await look(backend) is None
        assert backend.tells_load
        await backend.aclose()


async def test_a_page_beyond_four_megabytes_is_cut_off() -> None:
    async with serving(says(whole(PAGE + b"#" * (5 * 1024 * 1024)))) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url))
        assert await look(backend) is None
        await backend.aclose()


async def test_a_server_that_says_nothing_is_left_by_the_deadline() -> None:
    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(hangs) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url))
        async with asyncio.timeout(10):
            assert await look(backend, within_s=0.1) is None
        assert backend.tells_load
        await backend.aclose()
