"""OpenAI's batch lines, in and out, against the documented fields."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import FaultClass
from nightkiln.core.job import BatchHead, Task
from nightkiln.wire.batchlines import (
    URLS,
    Answered,
    BatchLine,
    Outcome,
    Wrong,
    body_of,
    has_batch_keys,
    line_of,
    read_line,
)

CHAT = "/v1/chat/completions"
HEAD = BatchHead(url=CHAT, model="m")


def line(**changed: Any) -> str:
    whole: dict[str, Any] = {
        "custom_id": "a",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "m", "messages": []},
    }
    whole |= changed
    return json.dumps({key: value for key, value in whole.items() if value is not ...})


def wrong(text: str, head: BatchHead = HEAD) -> tuple[str, str | None]:
    found = read_line(text, head)
    assert isinstance(found, Wrong), found
    assert found.message
    return found.code, found.param


def written(**fields: Any) -> dict[str, Any]:
    raw = line_of(Outcome(**{"id": "batch_req_1", "custom_id": "a", **fields}))
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    found: dict[str, Any] = json.loads(raw)
    assert list(found) == ["id", "custom_id", "response", "error"]
    return found


def test_the_four_routes_are_known() -> None:
    assert URLS == {
        CHAT: Task.CHAT,
        "/v1/completions": Task.COMPLETION,
        "/v1/embeddings": Task.EMBEDDING,
        "/v1/responses": Task.RESPONSE,
    }


def test_a_good_line_is_read() -> None:
    found = read_line(line(), HEAD)
    assert isinstance(found, BatchLine)
    assert (found.custom_id, found.body.model) == ("a", "m")
    assert isinstance(read_line(line(body={"model": "m", "stream": False}), HEAD), BatchLine)
    assert isinstance(read_line(line(body={"model": "z"}), BatchHead(url=CHAT)), BatchLine)


@pytest.mark.parametrize(
    ("changed", "code", "param"),
    [
        ({"custom_id": ...}, "missing_required_parameter", "custom_id"),
        ({"method": None}, "missing_required_parameter", "method"),
        ({"url": ...}, "missing_required_parameter", "url"),
        ({"body": ...}, "missing_required_parameter", "body"),
        ({"custom_id": 3}, "invalid_type", "custom_id"),
        ({"body": "x"}, "invalid_type", "body"),
        ({"body": {"model": 3}}, "invalid_type", "body.model"),
        ({"body": {"model": "m", "stream": "yes"}}, "invalid_type", "body.stream"),
        ({"custom_id": ""}, "invalid_value", "custom_id"),
        ({"method": "GET"}, "invalid_method", "method"),
        ({"url": "/v1/moderations"}, "invalid_url", "url"),
        ({"url": "/v1/embeddings"}, "url_mismatch", "url"),
        ({"body": {"model": "n"}}, "model_mismatch", "body.model"),
        ({"body": {}}, "missing_required_parameter", "body.model"),
        ({"body": {"model": "m", "stream": True}}, "streaming_unsupported", "body.stream"),
    ],
)
def test_what_is_wrong_has_openais_code(changed: dict[str, Any], code: str, param: str) -> None:
    assert wrong(line(**changed)) == (code, param)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"'])
def test_what_is_no_object_is_no_line(text: str) -> None:
    assert wrong(text) == ("invalid_json_line", None)


@given(
    st.dictionaries(st.sampled_from(["custom_id", "method", "url", "body"]), st.none() | st.text())
)
def test_every_object_is_a_line_or_wrong(fields: dict[str, Any]) -> None:
    assert isinstance(read_line(json.dumps(fields), HEAD), BatchLine | Wrong)


def test_a_batch_is_told_by_its_four_keys() -> None:
    assert has_batch_keys(line(method=None, body=3))
    assert not has_batch_keys(line(body=...))
    assert not has_batch_keys('{"prompt": "x"}')
    assert not has_batch_keys("oops")


def test_a_reply_is_written_as_it_was_received() -> None:
    body = b'{"id":"x","n":1.10}'
    found = written(request_id="r", status=200, body=body)
    assert found["response"] == {"status_code": 200, "request_id": "r", "body": json.loads(body)}
    assert found["error"] is None
    assert b"1.10" in line_of(Outcome(id="i", custom_id="a", status=200, body=body))


def test_line_breaks_inside_a_body_do_not_break_the_line() -> None:
    found = written(status=200, body=b'{\n "a": "x\\n"\r\n}')
    assert found["response"]["body"] == {"a": "x\n"}


def test_an_http_failure_has_its_response_and_an_error() -> None:
    found = written(
        status=400,
        body=b'{"error":{"code":"c","message":"no"}}',
        fault=FaultClass.PERMANENT,
        code="c",
        message="no",
    )
    assert found["response"]["status_code"] == 400
    assert found["error"] == {"code": "c", "message": "no"}


def test_an_http_failure_without_its_body_says_what_is_known() -> None:
    found = written(status=500, fault=FaultClass.TRANSIENT, code="http_500", message="oh")
    assert found["response"]["status_code"] == 500
    assert found["response"]["body"]["error"]["message"] == "oh"
    found = written(status=200, fault=FaultClass.PROTOCOL, code="html_body", message="<")
    assert found["response"] is None


def test_a_body_that_is_no_json_is_a_string() -> None:
    found = written(status=502, body=b"<html>\xff", fault=FaultClass.TRANSIENT, code="http_502")
    assert found["response"]["body"] == "<html>\ufffd"
    assert found["error"] == {"code": "http_502", "message": "http_502"}


@pytest.mark.parametrize(
    ("fault", "code", "expected"),
    [
        (FaultClass.CANCELLED, "", "batch_cancelled"),
        (FaultClass.EXPIRED, "", "batch_expired"),
        (FaultClass.AMBIGUOUS, "timeout", "request_timeout"),
        (FaultClass.TRANSIENT, "connection_refused", "connection_refused"),
    ],
)
def test_a_failure_without_a_reply_has_an_error_alone(
    fault: FaultClass, code: str, expected: str
) -> None:
    found = written(fault=fault, code=code, message="m")
    assert found["response"] is None
    assert found["error"]["code"] == expected
    assert found["error"]["message"]


def test_a_refusal_that_came_as_a_200_is_a_reply() -> None:
    outcome = Outcome(
        id="i", custom_id="a", status=200, body=b"{}", fault=FaultClass.CONTENT, code="refusal"
    )
    assert outcome.is_reply
    assert json.loads(line_of(outcome))["error"] is None


@pytest.mark.parametrize(
    ("task", "text", "path"),
    [
        (Task.CHAT, "hi", ("choices", 0, "message", "content")),
        (Task.EMBEDDING, "[0.1,2]", ("data", 0, "embedding")),
    ],
)
def test_an_answer_without_a_reply_gets_one(task: Task, text: str, path: tuple[Any, ...]) -> None:
    found: Any = json.loads(body_of(task, "r", Answered(text=text, input_tokens=1, model="m")))
    assert found["usage"]["prompt_tokens"] == 1
    for step in path:
        found = found[step]
    assert found == text or found == json.loads(text)
