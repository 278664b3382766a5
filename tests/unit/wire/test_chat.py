import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Sampling
from nightkiln.core.usage import Usage
from nightkiln.wire.chat import ChatEncoder
from nightkiln.wire.chatreply import parse_reply


def encoder(system: str | None = None, **sampling: Any) -> ChatEncoder:
    return ChatEncoder("m-1", system, Sampling(**sampling))


def extra(**values: bytes) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(value) for name, value in values.items()}


@given(st.text())
def test_a_text_becomes_one_user_message(prompt: str) -> None:
    body = json.loads(encoder().encode(prompt))
    assert body == {"model": "m-1", "messages": [{"role": "user", "content": prompt}]}


def test_settings_and_a_system_message_go_with_every_row() -> None:
    made = encoder("be kind", max_tokens=9, temperature=0.0, seed=7, extra=extra(top_p=b"0.5"))
    assert json.loads(made.encode("hi")) == {
        "model": "m-1",
        "max_tokens": 9,
        "temperature": 0.0,
        "seed": 7,
        "top_p": 0.5,
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
        ],
    }


@pytest.mark.parametrize("system", [None, "be kind"])
def test_messages_pass_through_byte_for_byte(system: str | None) -> None:
    raw = b'[ {"role":"user","content":1e400,"x":"\\ud800"} ]'
    body = encoder(system).encode(msgspec.Raw(raw))
    assert raw[1:-1].strip() in body
    assert body.endswith(b"}]}")


@pytest.mark.parametrize("raw", [b"{}", b'"hi"', b"[]", b"", b"[1"])
def test_messages_that_are_no_list_are_refused(raw: bytes) -> None:
    with pytest.raises(UsageError, match="messages"):
        encoder().encode(msgspec.Raw(raw))


@pytest.mark.parametrize(
    ("name", "value"),
    [("stream", b"true"), ("messages", b"[]"), ("model", b'"x"'), ("n", b"2"), ("top_p", b"oh")],
)
def test_parameters_that_cannot_be_said_name_their_flag(name: str, value: bytes) -> None:
    with pytest.raises(UsageError, match=f"--param {name}"):
        encoder(extra=extra(**{name: value}))


def test_a_parameter_given_twice_names_both_flags() -> None:
    with pytest.raises(UsageError, match=r"--param max_tokens .* --max-tokens"):
        encoder(max_tokens=1, extra=extra(max_tokens=b"2"))


def test_one_answer_may_be_asked_for_in_words() -> None:
    assert json.loads(encoder(extra=extra(n=b"1")).encode("x"))["n"] == 1


def reply(content: Any = "hello", finish: str | None = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": finish}
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    return json.dumps({"model": "m-1-2026", "choices": [choice], "usage": usage}).encode()


def test_a_good_reply_brings_text_usage_and_the_model() -> None:
    assert parse_reply(reply()) == Reply(
        text="hello",
        finish_reason="stop",
        usage=Usage(input_tokens=10, cached_tokens=4, output_tokens=3),
        model="m-1-2026",
    )


def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer = parse_reply(reply(parts))
    assert isinstance(answer, Reply)
    assert answer.text == "ab"


@pytest.mark.parametrize("usage", [b"", b',"usage":null', b',"usage":{}'])
def test_missing_usage_is_tolerated(usage: bytes) -> None:
    answer = parse_reply(b'{"choices":[{"message":{"content":"x"}}]' + usage + b"}")
    assert answer == Reply(text="x")


def test_a_reply_cut_by_max_tokens_stays_a_reply() -> None:
    answer = parse_reply(reply(finish="length"))
    assert isinstance(answer, Reply)
    assert answer.finish_reason == "length"


def test_tool_calls_stand_in_for_text() -> None:
    answer = parse_reply(reply(None, "tool_calls", tool_calls=[{"id": "c1"}]))
    assert isinstance(answer, Reply)
    assert json.loads(answer.text) == [{"id": "c1"}]


def test_the_raw_body_is_kept_when_asked_for() -> None:
    answer = parse_reply(reply(), keep_body=True)
    assert isinstance(answer, Reply)
    assert answer.body == reply()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"  \n", "empty_body"),
        (b"<!DOCTYPE html><html>", "html_body"),
        (b'{"choices":[{"mess', "malformed_json"),
        (b"not json", "malformed_json"),
        (b"data: {}\n\n", "event_stream"),
        (b"\x1f\x8b\x08\x00", "compressed_body"),
        (b"[]", "unexpected_shape"),
        (b'{"choices":"no"}', "unexpected_shape"),
        (b"{}", "no_choices"),
        (b'{"choices":[]}', "no_choices"),
        (b'{"choices":[{}]}', "no_message"),
        (b'{"error":{"message":"engine died"}}', "error_in_200"),
        (b'{"error":"engine died","choices":[]}', "error_in_200"),
        (b'{"choices":[{"message":{"content":"\xff\xfe"}}]}', "invalid_utf8"),
        (b'{"choices":[{"message":{"content":"\\ud800"}}]}', "malformed_json"),
        (b"[" * 200_000, "malformed_json"),
        (reply(None), "empty_content"),
        (reply(""), "empty_content"),
        (reply([]), "empty_content"),
        (reply(None, tool_calls=[]), "empty_content"),
        (reply(None, "error"), "error_in_200"),
    ],
)
def test_a_200_that_is_no_answer_is_a_protocol_fault(body: bytes, code: str) -> None:
    fault = parse_reply(body)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultClass.PROTOCOL
    assert fault.code == code or (code == "malformed_json" and fault.code == "unexpected_shape")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (reply("half of", "content_filter"), "content_filter"),
        (reply(None, refusal="I cannot"), "refusal"),
        (reply([{"type": "refusal", "refusal": "I cannot"}]), "refusal"),
    ],
)
def test_a_refusal_is_a_content_fault(body: bytes, code: str) -> None:
    fault = parse_reply(body)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (FaultClass.CONTENT, code)


def test_tokens_used_up_before_the_first_word_are_no_reason_to_ask_again() -> None:
    fault = parse_reply(reply("", "length"))
    assert isinstance(fault, Fault)
    assert fault.kind is FaultClass.INCOMPLETE


@given(st.binary(max_size=300))
def test_no_bytes_make_parsing_raise(body: bytes) -> None:
    assert isinstance(parse_reply(body), Fault)
