"""The other routes of the simulated provider: completions, responses and embeddings."""

import json
from collections.abc import Awaitable, Callable
from email.message import Message
from typing import Any

import pytest

from nightkiln.simulate import Simulator, answers
from nightkiln.simulate.answers import prompt_hash

Answer = tuple[int, Message, bytes]
Start = Callable[..., Awaitable[Simulator]]
Call = Callable[..., Awaitable[Answer]]


async def asked(call: Call, sim: Simulator, path: str, **body: Any) -> Any:
    status, _, raw = await call(sim, path, {"model": "m"} | body)
    assert status == 200, raw
    return json.loads(raw)


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_a_completion_goes_on_with_the_hash_of_its_prompt(
    start: Start, call: Call, prefix: str
) -> None:
    sim = await start()
    found = await asked(call, sim, f"{prefix}/completions", prompt="on")
    assert found["object"] == "text_completion"
    assert found["choices"][0]["text"].startswith(f"h:{prompt_hash('on')} ")
    assert found["choices"][0]["finish_reason"] == "stop"


async def test_a_response_says_the_hash_of_its_input(start: Start, call: Call) -> None:
    sim = await start()
    found = await asked(call, sim, "/v1/responses", input=[{"role": "user", "content": "hi"}])
    assert found["output"][0]["content"][0]["text"].startswith(f"h:{prompt_hash('hi')} ")
    assert (found["status"], found["usage"]["output_tokens"]) == ("completed", 16)


async def test_the_limit_of_the_request_cuts_the_answer(start: Start, call: Call) -> None:
    sim = await start()
    cut = await asked(call, sim, "/v1/completions", prompt="x", max_tokens=8)
    assert cut["choices"][0]["finish_reason"] == "length"
    cut = await asked(call, sim, "/v1/responses", input="x", max_output_tokens=8)
    assert cut["status"] == "incomplete"
    assert cut["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {}),
        ("/v1/completions", {"prompt": "x", "stream": True}),
        ("/v1/responses", {"input": 3}),
        ("/v1/responses", {"input": "x", "max_output_tokens": -1}),
    ],
)
async def test_what_is_no_request_is_refused(
    start: Start, call: Call, path: str, body: dict[str, Any]
) -> None:
    sim = await start()
    status, _, _ = await call(sim, path, body)
    assert status == 400


def test_the_same_request_always_has_the_same_answer() -> None:
    ask = answers.read_response(b'{"input":"a"}', wanted_tokens=9)
    assert answers.response_body(ask, created=1) == answers.response_body(ask, created=1)
