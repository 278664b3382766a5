"""Completions: what is said for a row, and what a 200 really says."""

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
from nightkiln.wire.completion import CompletionEncoder, parse_completion


def encoder(**sampling: Any) -> CompletionEncoder:
    return CompletionEncoder("m-1", Sampling(**sampling))


def reply(text: Any = "on it goes", finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish}
    return json.dumps({"model": "m-1", "choices": [choice], **more}).encode()


def fault(body: bytes) -> Fault:
    found = parse_completion(body)
    assert isinstance(found, Fault)
    return found


@given(st.text())
def test_a_text_becomes_the_prompt(prompt: str) -> None:
    body = json.loads(encoder(max_tokens=3, seed=1).encode(prompt))
    assert body == {"model": "m-1", "max_tokens": 3, "seed": 1, "prompt": prompt}


def test_messages_are_no_text_to_go_on_from() -> None:
    with pytest.raises(UsageError, match="messages"):
        encoder().encode(msgspec.Raw(b'[{"role":"user","content":"x"}]'))


@pytest.mark.parametrize("name", ["prompt", "stream", "model"])
def test_what_rows_or_flags_say_is_no_parameter(name: str) -> None:
    with pytest.raises(UsageError, match=f"--param {name}"):
        encoder(extra={name: msgspec.Raw(b'"x"')})


def test_a_good_reply_has_text_reason_and_usage() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 2}
    found = parse_completion(reply(usage=usage))
    assert found == Reply(
        text="on it goes",
        finish_reason="stop",
        usage=Usage(input_tokens=4, output_tokens=2),
        model="m-1",
    )


def test_a_model_may_have_nothing_to_add() -> None:
    found = parse_completion(reply(""))
    assert isinstance(found, Reply)
    assert found.text == ""


def test_the_raw_reply_is_kept_when_asked_for() -> None:
    found = parse_completion(reply(), keep_body=True)
    assert isinstance(found, Reply)
    assert found.body == reply()


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", FaultClass.PROTOCOL, "empty_body"),
        (b"<html>", FaultClass.PROTOCOL, "html_body"),
        (b"{", FaultClass.PROTOCOL, "malformed_json"),
        (b'{"choices":[{"text":3}]}', FaultClass.PROTOCOL, "unexpected_shape"),
        (b'{"choices":[]}', FaultClass.PROTOCOL, "no_choices"),
        (b'{"error":{"message":"no"}}', FaultClass.PROTOCOL, "error_in_200"),
        (b'{"choices":[{"finish_reason":"stop"}]}', FaultClass.PROTOCOL, "no_text"),
        (reply("", "length"), FaultClass.INCOMPLETE, "length_without_content"),
        (reply("", None), FaultClass.PROTOCOL, "empty_content"),
        (reply("bad", "content_filter"), FaultClass.CONTENT, "content_filter"),
    ],
)
def test_what_is_no_answer_is_a_fault(body: bytes, kind: FaultClass, code: str) -> None:
    found = fault(body)
    assert (found.kind, found.code, found.status) == (kind, code, 200)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(parse_completion(body), Fault)
