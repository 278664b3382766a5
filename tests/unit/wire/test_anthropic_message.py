"""Replies of chats as Messages, and the lines of a batch's results."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.request import WireBody
from nightkiln.wire.anthropic.message import message_of
from nightkiln.wire.anthropic.params import translate
from nightkiln.wire.anthropic.results import result_line
from nightkiln.wire.anthropic.rules import Rules, Version
from nightkiln.wire.batchlines import Outcome

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def reply(finish: str | None = "stop", choice: Any = None, **message: Any) -> bytes:
    whole = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    whole |= choice or {}
    return json.dumps({"model": "m-1", "choices": [whole], "usage": USAGE}).encode()


def message(body: bytes, *, thinking: bool = False) -> dict[str, Any]:
    found = message_of(body, message_id="msg_1", model="asked", thinking=thinking)
    assert isinstance(found, bytes), found
    assert b"\n" not in found
    decoded: dict[str, Any] = json.loads(found)
    return decoded


def call(arguments: Any, name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def test_a_message_has_all_its_fields() -> None:
    assert message(reply(content="hi")) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": [{"type": "text", "text": "hi", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 4,
            "service_tier": "batch",
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }


@given(st.text(min_size=1))
def test_any_text_survives(words: str) -> None:
    assert message(reply(content=words))["content"][0]["text"] == words
    parts = [{"type": "text", "text": words}, {"type": "text", "text": "."}]
    assert message(reply(content=parts))["content"][0]["text"] == words + "."


@given(st.text(min_size=1))
def test_any_text_survives_there_and_back(words: str) -> None:
    asked = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": words}]}
    chat = translate(json.dumps(asked).encode(), Rules(version=Version.SECOND))
    assert isinstance(chat, WireBody)
    echoed = json.loads(chat.json)["messages"][0]["content"]
    assert message(reply(content=echoed))["content"][0]["text"] == words


@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
    )
)
def test_any_arguments_survive(given: dict[str, Any]) -> None:
    for arguments in (json.dumps(given), json.dumps(given, indent=2), given):
        blocks = message(reply(tool_calls=[call(arguments, id="c")]))["content"]
        assert blocks == [{"type": "tool_use", "id": "c", "name": "look", "input": given}]


def test_numbers_in_arguments_keep_their_digits() -> None:
    found = message_of(reply(tool_calls=[call('{"a": 1.10}', id="c")]), message_id="msg_1")
    assert isinstance(found, bytes)
    assert b'"input":{"a":1.10}' in found


@pytest.mark.parametrize("nothing", ["", " ", None])
def test_a_call_without_arguments_has_an_empty_input(nothing: Any) -> None:
    assert message(reply(tool_calls=[call(nothing)]))["content"] == [
        {"type": "tool_use", "id": "toolu_1_0", "name": "look", "input": {}}
    ]


@pytest.mark.parametrize("arguments", ["{", "[]", "1", [1], '{"a":'])
def test_arguments_that_are_no_object_are_a_fault(arguments: Any) -> None:
    found = message_of(reply(tool_calls=[call(arguments)]), message_id="msg_1")
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultClass.PROTOCOL, "tool_arguments")


@pytest.mark.parametrize(
    ("finish", "more", "reason", "sequence"),
    [
        ("stop", {}, "end_turn", None),
        (None, {}, "end_turn", None),
        ("length", {}, "max_tokens", None),
        ("stop", {"stop_reason": "END"}, "stop_sequence", "END"),
        ("stop", {"stop_reason": 128001}, "end_turn", None),
        ("stop", {"matched_stop": "\n"}, "stop_sequence", "\n"),
        ("content_filter", {}, "refusal", None),
    ],
)
def test_ends_have_their_reasons(finish: str, more: Any, reason: str, sequence: Any) -> None:
    found = message(reply(finish, more, content="x"))
    assert (found["stop_reason"], found["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_a_call_is_the_reason_whatever_the_server_says(finish: str) -> None:
    found = message(reply(finish, content="let me see", tool_calls=[call("{}", id="c")]))
    assert found["stop_reason"] == "tool_use"
    assert [block["type"] for block in found["content"]] == ["text", "tool_use"]


def test_a_refusal_is_explained() -> None:
    found = message(reply(content=None, refusal="I will not"))
    assert found["stop_reason"] == "refusal"
    assert found["content"] == []
    assert found["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": "I will not",
    }


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_is_shown_to_who_asked_only(field: str) -> None:
    body = reply(content="4", **{field: "2 and 2"})
    assert [block["type"] for block in message(body)["content"]] == ["text"]
    assert message(body, thinking=True)["content"][0] == {
        "type": "thinking",
        "thinking": "2 and 2",
        "signature": "",
    }


def test_the_asked_model_stands_in_for_one_that_is_not_named() -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()
    found = message(body)
    assert found["model"] == "asked"
    assert found["usage"]["input_tokens"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>", "html_body"),
        (b'{"error":{"message":"x"}}', "error_in_200"),
        (b'{"choices":[]}', "no_choices"),
        (b'{"choices":[{}]}', "no_message"),
        (reply("abort", content="x"), "finish_abort"),
        (b'{"choices":[{"message":{"content":7}}]}', "unexpected_shape"),
    ],
)
def test_a_reply_that_is_none_is_a_fault(body: bytes, code: str) -> None:
    found = message_of(body, message_id="msg_1")
    assert isinstance(found, Fault)
    assert found.code == code


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_fault(body: bytes) -> None:
    assert isinstance(message_of(body, message_id="msg_1"), bytes | Fault)


def line(**fields: Any) -> dict[str, Any]:
    outcome = Outcome(**{"id": "msg_1", "custom_id": "a", "request_id": "req_1", **fields})
    written = result_line(outcome, model="asked")
    assert written.endswith(b"}\n")
    assert written.count(b"\n") == 1
    decoded: dict[str, Any] = json.loads(written)
    assert decoded.pop("custom_id") == "a"
    assert decoded.keys() == {"result"}
    result: dict[str, Any] = decoded["result"]
    return result


def test_a_reply_succeeded() -> None:
    found = line(status=200, body=reply(content="hi"))
    assert found == {"type": "succeeded", "message": message(reply(content="hi"))}


@pytest.mark.parametrize(
    ("fault", "kind"), [(FaultClass.CANCELLED, "canceled"), (FaultClass.EXPIRED, "expired")]
)
def test_a_row_that_was_never_answered_says_only_why(fault: FaultClass, kind: str) -> None:
    assert line(fault=fault, message="x") == {"type": kind}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (FaultClass.PERMANENT, "invalid_request_error"),
        (FaultClass.POISON, "invalid_request_error"),
        (FaultClass.ROUTE, "not_found_error"),
        (FaultClass.THROTTLE, "rate_limit_error"),
        (FaultClass.OVERLOAD, "overloaded_error"),
        (FaultClass.AMBIGUOUS, "timeout_error"),
        (FaultClass.AUTH, "api_error"),
        (FaultClass.QUOTA, "api_error"),
        (FaultClass.TRANSIENT, "api_error"),
        (FaultClass.PROTOCOL, "api_error"),
        (FaultClass.LOCAL, "api_error"),
    ],
)
def test_a_fault_is_an_error_of_the_type_to_act_on(fault: FaultClass, kind: str) -> None:
    assert line(fault=fault, code="c", message="words", status=400, body=b"{}") == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {"type": kind, "message": "words"},
            "request_id": "req_1",
        },
    }


def test_an_error_says_at_least_its_code() -> None:
    found = line(fault=FaultClass.TRANSIENT, code="http_500", request_id="")
    assert found["error"]["error"]["message"] == "http_500"
    assert found["error"]["request_id"] is None


def test_refusals_and_answers_without_room_are_messages() -> None:
    refused = line(fault=FaultClass.CONTENT, status=200, body=reply("content_filter", content="x"))
    assert refused["message"]["stop_reason"] == "refusal"
    assert refused["message"]["content"][0]["text"] == "x"
    blocked = line(fault=FaultClass.CONTENT, status=400, body=b'{"error":{}}', message="no")
    assert blocked["message"]["stop_details"]["explanation"] == "no"
    assert blocked["message"]["model"] == "asked"
    full = line(fault=FaultClass.INCOMPLETE, status=200, body=reply("length", content=""))
    assert full["message"]["stop_reason"] == "max_tokens"
    assert line(fault=FaultClass.INCOMPLETE, message="x")["message"]["content"] == []


def test_a_reply_that_cannot_be_told_is_an_error() -> None:
    found = line(status=200, body=reply(tool_calls=[call("{")]))
    assert found["type"] == "errored"
    assert "no JSON object" in found["error"]["error"]["message"]
    assert line(status=200)["type"] == "errored"
