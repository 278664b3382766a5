"""The one judge of failed requests, held to a table of bodies as providers send them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import MESSAGE_LIMIT, FaultClass
from nightkiln.wire.classify import classify
from nightkiln.wire.trouble import Trouble, transport_fault

F = FaultClass
NOW = 1_790_000_000.0


def openai(code: str | None, *, type_: str = "invalid_request_error", message: str = "m") -> Any:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def gemini(code: int, status: str, message: str = "m", details: list[Any] | None = None) -> Any:
    error = {"code": code, "message": message, "status": status, "details": details or []}
    return [{"error": error}]


# Bodies as providers send them, one JSON line each: name, status, kind, code, body.
VECTORS = [
    json.loads(line)
    for line in Path(__file__).with_name("error_replies.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_providers_reply_gets_its_class(vector: dict[str, Any]) -> None:
    body, status = vector["body"], vector["status"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fault = classify(status, {}, raw, now=NOW)
    assert (fault.kind, fault.code, fault.status) == (vector["kind"], vector["code"], status)
    assert fault.sent
    assert not fault.unreachable


@pytest.mark.parametrize(
    ("exception", "status", "kind"),
    [
        ("ThrottlingException", 429, F.THROTTLE),
        ("ModelNotReadyException", 429, F.OVERLOAD),
        ("ServiceQuotaExceededException", 400, F.QUOTA),
        ("AccessDeniedException", 403, F.AUTH),
        ("ResourceNotFoundException", 404, F.ROUTE),
        ("ValidationException", 400, F.PERMANENT),
        ("ModelErrorException", 424, F.TRANSIENT),
    ],
)
def test_bedrock_names_its_error_in_a_header_or_in_the_body(
    exception: str, status: int, kind: FaultClass
) -> None:
    named = {"x-amzn-errortype": f"{exception}:http://internal.amazon.com/"}
    by_header = classify(status, named, b'{"message":"m"}', now=NOW)
    typed = json.dumps({"__type": f"com.amazon#{exception}", "message": "m"}).encode()
    assert by_header.kind is classify(status, {}, typed, now=NOW).kind is kind


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        ("false", 500, F.PERMANENT),
        ("true", 400, F.TRANSIENT),
        ("false", 429, F.QUOTA),
        ("false", 503, F.OVERLOAD),
        ("true", 401, F.AUTH),
        ("true", 429, F.THROTTLE),
    ],
)
def test_the_servers_word_overrules_within_what_it_can_know(
    said: str, status: int, kind: FaultClass
) -> None:
    assert classify(status, {"x-should-retry": said}, b"", now=NOW).kind is kind


def test_the_wait_comes_from_the_headers_first() -> None:
    told = {"retry-after": "7", "x-ratelimit-remaining-requests": "0"}
    assert classify(429, told, b"", now=NOW).retry_after_s == 7.0


def test_a_throttled_request_waits_for_the_limit_that_is_used_up() -> None:
    told = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    assert classify(429, told, b"", now=NOW).retry_after_s == 360.0


def test_gemini_names_its_wait_in_the_body() -> None:
    body = gemini(429, "RESOURCE_EXHAUSTED", details=[{"retryDelay": "36s"}])
    assert classify(429, {}, json.dumps(body).encode(), now=NOW).retry_after_s == 36.0


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "sk-ant-api03-xxxxxxxxxxxx",
        "Bearer abcdef123456",
        "api key: hunter2hunter2",
        "AIzaSyA1234567890abc",
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0",
    ],
)
def test_no_secret_survives_in_a_message(secret: str) -> None:
    body = json.dumps(openai("invalid_api_key", message=f"you gave {secret} here")).encode()
    message = classify(401, {}, body, now=NOW).message
    assert secret.rsplit(maxsplit=1)[-1] not in message
    assert "…" in message


def test_messages_are_cut_and_kept_on_one_line() -> None:
    fault = classify(400, {}, json.dumps(openai(None, message="a\nb\x1b" * 900)).encode(), now=NOW)
    assert len(fault.message) <= MESSAGE_LIMIT
    assert "\n" not in fault.message
    assert "\x1b" not in fault.message


@given(st.integers(300, 600), st.binary(max_size=200))
def test_no_bytes_make_the_judge_raise(status: int, body: bytes) -> None:
    assert classify(status, {}, body, now=NOW).status == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "type", "details", "message"]), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_shape_of_json_makes_the_judge_raise(document: Any) -> None:
    assert classify(400, {}, json.dumps(document).encode(), now=NOW).code


@pytest.mark.parametrize("trouble", list(Trouble))
def test_what_was_never_sent_says_nothing_about_the_row(trouble: Trouble) -> None:
    fault = transport_fault(trouble, sent=False)
    assert not fault.sent
    assert fault.unreachable is (fault.kind is F.TRANSIENT)
    assert fault.kind in {F.TRANSIENT, F.LOCAL}


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble.TIMEOUT, F.AMBIGUOUS),
        (Trouble.RESET, F.AMBIGUOUS),
        (Trouble.CLOSED, F.AMBIGUOUS),
        (Trouble.TRUNCATED, F.AMBIGUOUS),
        (Trouble.BAD_HTTP, F.PROTOCOL),
        (Trouble.BODY_TOO_LARGE, F.PROTOCOL),
    ],
)
def test_what_was_sent_may_have_been_billed(trouble: Trouble, kind: FaultClass) -> None:
    fault = transport_fault(trouble, "why", sent=True)
    assert (fault.kind, fault.code, fault.sent) == (kind, trouble.value, True)
