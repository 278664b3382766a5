"""Every kind of request, asked of an endpoint over real sockets at the simulated provider."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec, PromptSpec, SourceSpec, Task
from nightkiln.core.request import Prompt, Request, WireBody
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.simulate.answers import prompt_hash

PLENTY = 20.0
FIELDS = {
    Task.CHAT: b'"messages":[{"role":"user","content":"hello"}]',
    Task.COMPLETION: b'"prompt":"hello"',
    Task.EMBEDDING: b'"input":"hello"',
    Task.RESPONSE: b'"input":"hello"',
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings()) as running:
        yield running


@pytest.fixture
async def endpoint(simulator: Simulator) -> AsyncIterator[OpenAIEndpoint]:
    made = OpenAIEndpoint(EndpointSettings(url=simulator.url, keep_bodies=True))
    yield made
    await made.aclose()


def spec_of(task: Task) -> JobSpec:
    source = SourceSpec(kind="csv", path="", name="", size_bytes=0, sha256="")
    return JobSpec(source=source, prompt=PromptSpec(), model="m", task=task)


async def asked(endpoint: OpenAIEndpoint, task: Task, prompt: Prompt) -> Reply | Fault:
    body = endpoint.encoder(spec_of(task))(prompt)
    deadline = asyncio.get_running_loop().time() + PLENTY
    return await endpoint.answer(Request(0, body, task), deadline=deadline)


@pytest.mark.parametrize("task", Task)
async def test_every_task_is_answered_on_its_own_route(
    endpoint: OpenAIEndpoint, simulator: Simulator, task: Task
) -> None:
    found = await asked(endpoint, task, "hello")
    assert isinstance(found, Reply), found
    if task is Task.EMBEDDING:
        assert len(json.loads(found.text)) == simulator.settings.embed_dim
        assert (found.finish_reason, found.usage.output_tokens) == ("", 0)
    else:
        assert found.text.startswith(f"h:{prompt_hash('hello')} ")
        assert (found.finish_reason, found.usage.output_tokens) == ("stop", 16)
    assert found.usage.input_tokens == 1
    assert found.model == "m"
    assert found.body is not None
    assert json.loads(found.body)["model"] == "m"


@pytest.mark.parametrize("task", Task)
async def test_a_whole_body_brings_the_answer_of_its_rendered_twin(
    endpoint: OpenAIEndpoint, task: Task
) -> None:
    whole = await asked(endpoint, task, WireBody(b'{"model":"m",%b}' % FIELDS[task]))
    rendered = await asked(endpoint, task, "hello")
    assert isinstance(whole, Reply)
    assert isinstance(rendered, Reply)
    assert whole.text == rendered.text


async def test_all_tasks_share_their_connections(
    endpoint: OpenAIEndpoint, simulator: Simulator
) -> None:
    for task in [*Task, *Task]:
        assert isinstance(await asked(endpoint, task, "hello"), Reply)
    assert simulator.stats().open_connections == 1


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize(
    ("share", "code"),
    [("phtml", "html_body"), ("pempty", "empty_body"), ("pmalformed", "malformed_json")],
)
async def test_a_200_that_is_no_answer_is_a_fault(
    endpoint: OpenAIEndpoint, simulator: Simulator, task: Task, share: str, code: str
) -> None:
    simulator.configure(SimulatorSettings().changed({share: 1.0}))
    found = await asked(endpoint, task, "hello")
    assert isinstance(found, Fault)
    assert (found.kind, found.code, found.body) == (FaultClass.PROTOCOL, code, None)


@pytest.mark.parametrize("task", Task)
async def test_a_refusal_keeps_what_the_server_said(endpoint: OpenAIEndpoint, task: Task) -> None:
    found = await asked(endpoint, task, "__poison__")
    assert isinstance(found, Fault)
    assert (found.kind, found.status) == (FaultClass.PERMANENT, 400)
    assert found.body is not None
    assert json.loads(found.body)["error"]["message"] == "poison prompt"


async def test_what_a_server_says_never_holds_the_credential(simulator: Simulator) -> None:
    made = OpenAIEndpoint(
        EndpointSettings(url=simulator.url, credential="poison", keep_bodies=True)
    )
    found = await asked(made, Task.CHAT, "__poison__")
    await made.aclose()
    assert isinstance(found, Fault)
    assert found.body is not None
    assert b"poison" not in found.body
    assert "poison" not in found.message
