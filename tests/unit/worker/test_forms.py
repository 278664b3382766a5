"""What is asked a second time where an answer did not fit its schema, and what is not."""

import json
from typing import Any

import msgspec
import pytest

from nightkiln.backends.base import Encoder
from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint
from nightkiln.core.answer import Reply
from nightkiln.core.job import JobSpec, PromptSpec, Sampling, SourceSpec
from nightkiln.testing.backends import ScriptedBackend, encode_prompt
from nightkiln.worker.forms import form_of

REPLY = Reply(text="cut")


def job(**sampling: Any) -> JobSpec:
    extra = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in dict(sampling.pop("extra", {})).items()
    }
    return JobSpec(
        source=SourceSpec(kind="csv", path="/in.csv", name="in.csv", size_bytes=9, sha256="00"),
        prompt=PromptSpec(columns=("text",)),
        model="m",
        sampling=Sampling(**sampling, extra=extra),
        output_schema='{"type":"object"}',
    )


def second(**sampling: Any) -> dict[str, Any] | None:
    """The body that an endpoint is asked a second time."""
    form = form_of(job(**sampling), OpenAIEndpoint(EndpointSettings(url="http://127.0.0.1:9/v1")))
    if form.larger is None:
        return None
    assert form.may_mend(REPLY)
    return dict(json.loads(form.larger("x")))


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens"])
def test_an_endpoint_is_asked_with_twice_the_tokens_that_were_said(name: str) -> None:
    said: dict[str, Any] = {"max_tokens": 50} if name == "max_tokens" else {"extra": {name: 50}}
    body = second(temperature=0.0, **said)
    assert body is not None
    assert body[name] == 100


def test_without_a_budget_an_endpoint_is_asked_for_another_draw_if_there_is_one() -> None:
    body = second()
    assert body is not None
    assert "max_tokens" not in body
    assert second(temperature=0.7) is not None
    assert second(temperature=0.0) is None
    assert second(seed=3) is None


class Bounded(ScriptedBackend):
    """A backend that knows how much an answer may take."""

    def larger(self, spec: JobSpec) -> Encoder | None:
        return encode_prompt if (spec.sampling.max_tokens or 0) < 10 else None

    def may_mend(self, reply: Reply) -> bool:
        return reply.finish_reason == "length"


def test_a_backend_that_knows_its_budget_says_itself_what_is_worth_a_second_try() -> None:
    form = form_of(job(max_tokens=5), Bounded())
    assert form.larger is not None
    assert form.may_mend(Reply(text="", finish_reason="length"))
    assert not form.may_mend(Reply(text="", finish_reason="stop"))
    assert form_of(job(max_tokens=10), Bounded()).larger is None
