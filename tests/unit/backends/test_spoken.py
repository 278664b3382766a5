"""Bodies at any backend: passed on where OpenAI is spoken, translated where it is not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint
from nightkiln.backends.spoken import encoder_of
from nightkiln.core.errors import UsageError
from nightkiln.core.job import JobSpec, PromptSpec, SourceSpec, Task
from nightkiln.core.request import Prompt, WireBody
from nightkiln.testing.backends import ScriptedBackend

BODY = b'{"model":"m", "messages":[{"role":"user","content":"x"}],"temperature":0.5,"seed":3}'


class Particular(ScriptedBackend):
    """A backend with a dialect of its own: the messages, and the sampling as it was said."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[JobSpec] = []

    def encoder(self, spec: JobSpec) -> Callable[[Prompt], bytes]:
        self.made.append(spec)
        if "top_p" in spec.sampling.extra:
            raise UsageError("--param top_p is nothing this engine knows")
        return lambda prompt: f"{spec.sampling.seed}:".encode() + bytes(prompt)  # type: ignore[arg-type]


def spec(**more: Any) -> JobSpec:
    source = SourceSpec(kind="batch", path="", name="", size_bytes=0, sha256="")
    return JobSpec(source=source, prompt=PromptSpec(), model="m", **more)


def test_an_endpoint_gets_bodies_as_they_came() -> None:
    endpoint = OpenAIEndpoint(EndpointSettings(url="http://h/v1"))
    for task in Task:
        assert encoder_of(endpoint, spec(task=task))(WireBody(BODY)) == BODY


def test_an_endpoint_is_asked_by_the_dialect_of_the_task() -> None:
    endpoint = OpenAIEndpoint(EndpointSettings(url="http://h/v1"))
    fields = {task: json.loads(encoder_of(endpoint, spec(task=task))("x")) for task in Task}
    assert fields[Task.CHAT]["messages"] == [{"role": "user", "content": "x"}]
    assert fields[Task.COMPLETION]["prompt"] == "x"
    assert fields[Task.EMBEDDING]["input"] == fields[Task.RESPONSE]["input"] == "x"


@pytest.mark.parametrize("task", [Task.COMPLETION, Task.EMBEDDING])
def test_what_only_conversations_have_is_refused(task: Task) -> None:
    endpoint = OpenAIEndpoint(EndpointSettings(url="http://h/v1"))
    with pytest.raises(UsageError, match="--schema"):
        encoder_of(endpoint, spec(task=task, output_schema="{}"))


def test_a_backend_of_its_own_gets_messages_and_sampling() -> None:
    backend = Particular()
    encode = encoder_of(backend, spec())
    assert encode(WireBody(BODY)) == b'3:[{"role":"user","content":"x"}]'
    encode(WireBody(BODY))
    assert len(backend.made) == 2, "one encoder for the job, one for this sampling"


def test_what_its_dialect_cannot_say_is_an_error_of_the_body() -> None:
    encode = encoder_of(Particular(), spec())
    with pytest.raises(UsageError, match="the body's top_p is nothing"):
        encode(WireBody(b'{"messages":[],"top_p":0.5}'))


@pytest.mark.parametrize("task", [Task.COMPLETION, Task.EMBEDDING, Task.RESPONSE])
def test_a_backend_that_only_chats_says_so(task: Task) -> None:
    with pytest.raises(UsageError, match="answers chats"):
        encoder_of(ScriptedBackend(), spec(task=task))
