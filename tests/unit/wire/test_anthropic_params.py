"""Messages params as chats: what is said, and what is refused with its reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.request import WireBody
from nightkiln.wire.anthropic.params import (
    model_of,
    shows_thinking,
    translate,
    translate_count,
)
from nightkiln.wire.anthropic.rules import Rules, Thinking, Version

OLD = Rules(version=Version.FIRST)
NEW = Rules(version=Version.SECOND)
EFFORT = Rules(version=Version.SECOND, thinking=Thinking.EFFORT)
TEMPLATE = Rules(version=Version.SECOND, thinking=Thinking.TEMPLATE)
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "QUJD"}


def params(**changed: Any) -> bytes:
    whole: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    whole |= changed
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


def chat(rules: Rules = NEW, **changed: Any) -> dict[str, Any]:
    found = translate(params(**changed), rules)
    assert isinstance(found, WireBody), found
    decoded: dict[str, Any] = json.loads(found.json)
    return decoded


def refusal(rules: Rules = NEW, **changed: Any) -> Fault:
    found = translate(params(**changed), rules)
    assert isinstance(found, Fault), found
    assert found.kind is FaultClass.PERMANENT
    assert not found.sent
    return found


def said(content: Any, role: str = "user", rules: Rules = NEW) -> list[dict[str, Any]]:
    messages = [{"role": role, "content": content}]
    found: list[dict[str, Any]] = chat(rules, messages=messages)["messages"]
    return found


def conversation(*content: Any) -> list[dict[str, Any]]:
    """Turns that alternate, the user's first."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": one} for number, one in enumerate(content)]


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_is_said_as_it_is(system: str, prompt: str) -> None:
    assert chat(system=system, messages=[{"role": "user", "content": prompt}]) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": prompt},
        ],
        "max_tokens": 9,
    }


@given(st.text(min_size=1))
def test_a_text_block_is_the_same_as_its_text(words: str) -> None:
    assert said([{"type": "text", "text": words}]) == said(words)


def test_every_setting_has_its_word() -> None:
    found = chat(
        OLD,
        temperature=0.5,
        top_p=1,
        top_k=4,
        stop_sequences=["END", "\n"],
        metadata={"user_id": "u-1"},
        service_tier="auto",
        cache_control={"type": "ephemeral"},
        stream=False,
        system=None,
    )
    del found["messages"]
    assert found == {
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 4,
        "stop": ["END", "\n"],
        "user": "u-1",
    }


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_new_version_has_no_sampling_parameters(name: str) -> None:
    fault = refusal(NEW, **{name: 1})
    assert fault.message.startswith(f"{name}: Extra inputs are not permitted")
    assert "2023-06-01" in fault.message
    relaxed = Rules(version=Version.SECOND, sampling=True)
    assert chat(relaxed, **{name: 1})[name] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"model": ...}, "model: Field required"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"foo": 1}, "foo: Extra inputs are not permitted"),
        ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages.0.role: Input should be one of 'user', 'assistant', 'system'",
        ),
        (
            {"messages": [{"role": "user", "content": ""}]},
            "messages.0.content: messages must have non-empty content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "messages.0.content.0.text: text content blocks must be non-empty",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages.0.content.0.text.text: Input should be a valid string",
        ),
        ({"output_config": {"effort": "some"}}, "output_config.effort: Input should be one of"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice: it says nothing without tools"),
    ],
)
def test_bad_params_are_named_by_their_path(changed: dict[str, Any], message: str) -> None:
    fault = refusal(OLD, **changed)
    assert fault.message.startswith(message)
    assert fault.code == "invalid_params"


def test_a_temperature_above_one_is_refused() -> None:
    assert refusal(OLD, temperature=1.5).message == (
        "temperature: Input should be less than or equal to 1"
    )


@pytest.mark.parametrize(
    "name",
    ["speed", "store", "cache_hint", "context_hint", "container", "inference_geo", "mcp_servers"],
)
def test_what_nobody_here_can_do_is_refused_and_said(name: str) -> None:
    given: dict[str, Any] = {name: "x"}
    fault = refusal(**given)
    assert fault.code == "unsupported_params"
    assert fault.message.startswith(f"{name}: ")
    assert "leave it out" in fault.message
    given = {name: None}
    assert chat(**given) == chat()


def test_streams_are_refused() -> None:
    assert refusal(stream=True).message.startswith("stream: ")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"model":"\xff"}', b"[" * 5000])
def test_params_that_are_no_object_are_a_fault(raw: bytes) -> None:
    assert isinstance(translate(raw, NEW), Fault)
    assert model_of(raw) == ""
    assert not shows_thinking(raw)


def test_the_system_prompt_may_come_in_blocks() -> None:
    blocks = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "b"},
    ]
    assert chat(system=blocks)["messages"][0] == {
        "role": "system",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    }
    picture = {"type": "image", "source": PICTURE}
    assert refusal(system=[picture]).message.startswith("system.0.image: ")


def test_a_system_message_stays_where_it_stands() -> None:
    messages = [*conversation("a", "b", "c"), {"role": "system", "content": "s"}]
    roles = [one["role"] for one in chat(messages=messages)["messages"]]
    assert roles == ["user", "assistant", "user", "system"]


def test_neighbours_of_one_role_are_one_turn() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert chat(messages=messages)["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        }
    ]


def test_beginning_the_answer_needs_a_backend_that_goes_on() -> None:
    messages = conversation("a", "The answer is")
    assert "end the conversation with a user message" in refusal(messages=messages).message
    found = chat(Rules(version=Version.FIRST, prefill=True), messages=messages)
    assert found["continue_final_message"] is True
    assert found["add_generation_prompt"] is False


def test_the_form_of_an_answer_is_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    made = chat(output_config=config)["response_format"]
    assert made["type"] == "json_schema"
    assert made["json_schema"]["schema"] == schema
    broken = {"type": "object", "required": 5, "additionalProperties": False}
    config = {"format": {"type": "json_schema", "schema": broken}}
    assert "no valid JSON schema" in refusal(output_config=config).message


BUDGET = {"type": "enabled", "budget_tokens": 2048}


@pytest.mark.parametrize(
    ("rules", "thinking", "fields"),
    [
        (NEW, {"type": "disabled"}, {}),
        (NEW, {"type": "adaptive"}, {}),
        (EFFORT, {"type": "disabled"}, {"reasoning_effort": "none"}),
        (EFFORT, {"type": "adaptive"}, {}),
        (EFFORT, BUDGET, {"reasoning_effort": "low"}),
        (EFFORT, {**BUDGET, "budget_tokens": 8000}, {"reasoning_effort": "medium"}),
        (EFFORT, {**BUDGET, "budget_tokens": 20_000}, {"reasoning_effort": "high"}),
        (TEMPLATE, {"type": "disabled"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (TEMPLATE, {"type": "adaptive"}, {"chat_template_kwargs": {"enable_thinking": True}}),
        (
            TEMPLATE,
            BUDGET,
            {"chat_template_kwargs": {"enable_thinking": True}, "thinking_token_budget": 2048},
        ),
    ],
)
def test_thinking_is_said_as_the_backend_takes_it(
    rules: Rules, thinking: dict[str, Any], fields: dict[str, Any]
) -> None:
    found = chat(rules, max_tokens=30_000, thinking=thinking)
    assert found == {**chat(rules, max_tokens=30_000), **fields}


def test_thinking_is_refused_where_the_backend_has_none() -> None:
    assert "ask another model" in refusal(NEW, max_tokens=9000, thinking=BUDGET).message
    assert "ask another model" in refusal(NEW, output_config={"effort": "low"}).message
    assert chat(EFFORT, output_config={"effort": "max"})["reasoning_effort"] == "max"
    both = chat(EFFORT, max_tokens=9000, thinking=BUDGET, output_config={"effort": "high"})
    assert both["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    "thinking",
    [
        {"type": "enabled"},
        {"type": "enabled", "budget_tokens": 1023},
        {"type": "enabled", "budget_tokens": 9000},
        {"type": "between_tools"},
        {"type": "sometimes"},
        {"type": "adaptive", "display": "loud"},
    ],
)
def test_thinking_that_makes_no_sense_is_refused(thinking: dict[str, Any]) -> None:
    assert refusal(EFFORT, max_tokens=9000, thinking=thinking).message.startswith("thinking")


def test_earlier_thoughts_go_to_a_backend_that_thinks() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    messages = conversation("a", [thought, {"type": "text", "text": "b"}], "c")
    assert chat(TEMPLATE, messages=messages)["messages"][1] == {
        "role": "assistant",
        "content": "b",
        "reasoning_content": "hm",
    }
    assert "leave thinking blocks out" in refusal(NEW, messages=messages).message


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
        (BUDGET, True),
    ],
)
def test_thinking_is_shown_to_who_asked_for_it(thinking: Any, shown: bool) -> None:
    assert shows_thinking(params(thinking=thinking)) is shown


def test_the_model_is_found_without_reading_the_rest() -> None:
    assert model_of(params(max_tokens="nine")) == "m"


def test_tokens_are_counted_of_the_same_chat() -> None:
    found = translate_count(params(max_tokens=..., tools=[TOOL]), NEW)
    assert isinstance(found, WireBody)
    assert "max_tokens" not in json.loads(found.json)
    assert isinstance(translate_count(params(), NEW), Fault)
