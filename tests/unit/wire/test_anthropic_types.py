"""What we read and write, against the types of the official `anthropic` package."""

import json
from collections.abc import Iterator
from typing import Any, TypeVar, get_args, get_type_hints

import pytest
from anthropic.types import (
    ContentBlockParam,
    ErrorResponse,
    Message,
    MessageTokensCount,
    ToolParam,
)
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages import (
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
)
from anthropic.types.messages.batch_create_params import Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.request import WireBody
from nightkiln.wire.anthropic.batch import (
    Batch,
    Counts,
    Status,
    batch_object,
    deleted_object,
    tokens_object,
)
from nightkiln.wire.anthropic.create import Created, read_create
from nightkiln.wire.anthropic.errors import error_body, fault_type
from nightkiln.wire.anthropic.params import translate
from nightkiln.wire.anthropic.results import result_line
from nightkiln.wire.anthropic.rules import Rules, Thinking, Version
from nightkiln.wire.batchlines import Outcome

ModelT = TypeVar("ModelT", bound=BaseModel)
NEW = Rules(version=Version.SECOND, thinking=Thinking.TEMPLATE)


def parsed(kind: type[ModelT], text: bytes) -> ModelT:
    """Read strictly, and with no field that the type does not have."""
    found = kind.model_validate_json(text, strict=True)
    assert not list(unknown(found))
    return found


def unknown(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name))
    elif isinstance(value, list):
        for one in value:
            yield from unknown(one)


@pytest.mark.parametrize("status", list(Status))
def test_a_batch_is_a_message_batch(status: Status) -> None:
    batch = Batch(
        job=JobId("job_01"),
        status=status,
        counts=Counts(succeeded=1, errored=2, canceled=3, expired=4),
        created_at=1.5,
        expires_at=86401.5,
        ended_at=2.0 if status is Status.ENDED else None,
    )
    found = parsed(MessageBatch, batch_object(batch))
    assert found.processing_status == status
    assert found.request_counts.errored == 2
    assert found.created_at.timestamp() == 1.5
    assert (found.results_url is not None) is (status is Status.ENDED)


def test_small_objects_are_theirs() -> None:
    assert parsed(DeletedMessageBatch, deleted_object(JobId("job_01"))).id == "msgbatch_01"
    assert parsed(MessageTokensCount, tokens_object(7)).input_tokens == 7


def test_a_good_line_is_an_individual_response_with_a_message() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    said = {"content": "hi", "reasoning_content": "hm", "tool_calls": [call]}
    usage = {"prompt_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
    choice = {"message": said, "finish_reason": "tool_calls"}
    body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
    outcome = Outcome(id="msg_1", custom_id="a", status=200, body=body)
    line = result_line(outcome, thinking=True)
    found = parsed(MessageBatchIndividualResponse, line)
    assert found.result.type == "succeeded"
    assert [block.type for block in found.result.message.content] == [
        "thinking",
        "text",
        "tool_use",
    ]
    assert found.result.message.stop_reason == "tool_use"
    assert isinstance(found.result.message, Message)


def test_a_refusal_is_a_message_of_theirs() -> None:
    outcome = Outcome(id="msg_1", custom_id="a", fault=FaultClass.CONTENT, message="no")
    found = parsed(MessageBatchIndividualResponse, result_line(outcome, model="m"))
    assert found.result.type == "succeeded"
    assert found.result.message.stop_reason == "refusal"
    assert found.result.message.stop_details is not None


@pytest.mark.parametrize("fault", [kind for kind in FaultClass if kind is not FaultClass.CONTENT])
def test_every_other_fault_is_a_line_of_theirs(fault: FaultClass) -> None:
    outcome = Outcome(id="msg_1", custom_id="a", request_id="r", fault=fault, message="words")
    found = parsed(MessageBatchIndividualResponse, result_line(outcome, model="m"))
    if found.result.type == "errored":
        assert found.result.error.error.type == fault_type(fault)
        assert found.result.error.error.message == "words"
        assert found.result.error.request_id == "r"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500, 504, 529])
def test_an_error_is_an_error_response(status: int) -> None:
    assert parsed(ErrorResponse, error_body(status, "words", request_id="r")).request_id == "r"


def typed_params() -> MessageCreateParamsNonStreaming:
    """Params as the package's own types let us write them; mypy reads this too."""
    return {
        "model": "m",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
                    },
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                        "title": "t",
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}],
            },
        ],
        "tools": [{"name": "look", "input_schema": {"type": "object"}, "description": "d"}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {
            "effort": "high",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
        "service_tier": "auto",
    }


def test_params_of_their_types_are_translated() -> None:
    request: Request = {"custom_id": "a", "params": typed_params()}
    created = read_create(json.dumps({"requests": [request]}).encode())
    assert isinstance(created, Created)
    found = translate(created.requests[0].params, NEW)
    assert isinstance(found, WireBody), found
    body = json.loads(found.json)
    assert [one["role"] for one in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert body["parallel_tool_calls"] is False
    assert body["response_format"]["type"] == "json_schema"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as its container and its key there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inside:
        yield value, key
        if isinstance(one, dict | list):
            yield from places(one)


@given(st.data(), JSON)
def test_params_with_anything_in_them_are_a_chat_or_a_fault(
    data: st.DataObject, anything: object
) -> None:
    document = json.loads(json.dumps(typed_params()))
    container, key = data.draw(st.sampled_from(list(places(document))))
    container[key] = anything
    assert isinstance(translate(json.dumps(document).encode(), NEW), WireBody | Fault)


@pytest.mark.parametrize("name", sorted(MessageCreateParamsNonStreaming.__annotations__))
def test_every_parameter_of_theirs_is_known(name: str) -> None:
    whole = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]}
    found = translate(json.dumps({name: None, **whole}).encode(), NEW)
    assert isinstance(found, WireBody), found


def tags(union: Any) -> Iterator[str]:
    for kind in get_args(union):
        yield from get_args(get_args(get_type_hints(kind, include_extras=True)["type"])[0])


@pytest.mark.parametrize("tag", sorted(tags(ContentBlockParam)))
def test_every_block_of_theirs_is_known(tag: str) -> None:
    message = {"role": "user", "content": [{"type": tag}]}
    found = translate(
        json.dumps({"model": "m", "max_tokens": 1, "messages": [message]}).encode(), NEW
    )
    assert isinstance(found, Fault)
    assert "Input tag" not in found.message


@pytest.mark.parametrize("name", sorted(ToolParam.__annotations__))
def test_every_field_of_a_tool_of_theirs_is_known(name: str) -> None:
    tool = {name: None, "name": "a", "input_schema": {"type": "object"}}
    message = {"role": "user", "content": "a"}
    whole = {"model": "m", "max_tokens": 1, "messages": [message], "tools": [tool]}
    assert isinstance(translate(json.dumps(whole).encode(), NEW), WireBody)
