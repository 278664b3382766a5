"""Responses: what is said for a row, and what a 200 really says."""

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
from nightkiln.wire.responses import ResponseEncoder, parse_response

SCHEMA = b'{"type":"object","properties":{},"required":[],"additionalProperties":false}'


def encoder(
    system: str | None = None, schema: bytes | None = None, **sampling: Any
) -> ResponseEncoder:
    return ResponseEncoder("m-1", system, Sampling(**sampling), schema)


def said(*parts: dict[str, object], status: str | None = "completed", **more: object) -> bytes:
    message = {"type": "message", "role": "assistant", "content": list(parts)}
    body = {"model": "m-1", "output": [{"type": "reasoning", "summary": []}, message]}
    return json.dumps({**body, "status": status, **more}).encode()


def output_text(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": []}


@given(st.text())
def test_a_text_becomes_the_input(prompt: str) -> None:
    body = json.loads(encoder("be kind", max_tokens=9, temperature=0.5).encode(prompt))
    assert body == {
        "model": "m-1",
        "max_output_tokens": 9,
        "temperature": 0.5,
        "store": False,
        "instructions": "be kind",
        "input": prompt,
    }


def test_messages_pass_through_byte_for_byte() -> None:
    raw = b'[ {"role":"user","content":1e400} ]'
    assert (
        encoder().encode(msgspec.Raw(raw)).endswith(b'"input":[{"role":"user","content":1e400}]}')
    )


def test_a_schema_is_the_format_of_the_text() -> None:
    made = json.loads(encoder(schema=SCHEMA).encode("x"))["text"]["format"]
    assert made == {
        "type": "json_schema",
        "name": "answer",
        "strict": True,
        "schema": json.loads(SCHEMA),
    }


def test_what_has_no_word_or_is_said_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed"):
        encoder(seed=1)
    with pytest.raises(UsageError, match="--param text is given by --schema"):
        encoder(schema=SCHEMA, extra={"text": msgspec.Raw(b"{}")})
    with pytest.raises(UsageError, match="--param background"):
        encoder(extra={"background": msgspec.Raw(b"true")})


def test_a_good_reply_has_text_reason_and_usage() -> None:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 2,
    }
    assert parse_response(said(output_text("a"), output_text("b"), usage=usage)) == Reply(
        text="ab",
        finish_reason="stop",
        usage=Usage(input_tokens=7, cached_tokens=3, output_tokens=2),
        model="m-1",
    )


def test_an_answer_cut_at_its_limit_says_so() -> None:
    found = parse_response(
        said(
            output_text("a"),
            status="incomplete",
            incomplete_details={"reason": "max_output_tokens"},
        )
    )
    assert isinstance(found, Reply)
    assert found.finish_reason == "length"


def test_calls_stand_in_for_text() -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    body = json.dumps({"status": "completed", "output": [call]}).encode()
    found = parse_response(body)
    assert isinstance(found, Reply)
    assert json.loads(found.text) == [call]


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", FaultClass.PROTOCOL, "empty_body"),
        (b"data: {}", FaultClass.PROTOCOL, "event_stream"),
        (b"{}", FaultClass.PROTOCOL, "no_output"),
        (b'{"output":[3]}', FaultClass.PROTOCOL, "unexpected_shape"),
        (b'{"output":[]}', FaultClass.PROTOCOL, "empty_content"),
        (said(status="failed", error={"code": "x"}), FaultClass.PROTOCOL, "error_in_200"),
        (said(output_text("a"), status="in_progress"), FaultClass.PROTOCOL, "not_completed"),
        (said({"type": "refusal", "refusal": "no"}), FaultClass.CONTENT, "refusal"),
        (
            said(status="incomplete", incomplete_details={"reason": "content_filter"}),
            FaultClass.CONTENT,
            "content_filter",
        ),
        (
            said(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            FaultClass.INCOMPLETE,
            "length_without_content",
        ),
    ],
)
def test_what_is_no_answer_is_a_fault(body: bytes, kind: FaultClass, code: str) -> None:
    found = parse_response(body)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (kind, code)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(parse_response(body), Fault)
