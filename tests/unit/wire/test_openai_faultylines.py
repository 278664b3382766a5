"""The errors of a batch that failed its validation, from bad lines as they are read."""

import json
from typing import Any

import openai.types as official
import pytest

from nightkiln.core.job import BatchHead
from nightkiln.wire.batchlines import Wrong, read_line
from nightkiln.wire.openai.faultylines import (
    batch_errors,
    empty_file,
    line_error,
    unknown_file,
    unknown_model,
    unreadable_file,
)
from nightkiln.wire.openai.objects import BatchError, encode

CHAT = "/v1/chat/completions"
HEAD = BatchHead(url=CHAT, model="m")


def error_of(text: str) -> BatchError:
    found = read_line(text, HEAD)
    assert isinstance(found, Wrong), found
    return line_error(
        line=7, code=found.code, reason=found.message, param=found.param, endpoint=CHAT
    )


def line(**changed: Any) -> str:
    whole: dict[str, Any] = {
        "custom_id": "a",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "m", "messages": []},
    }
    whole |= changed
    return json.dumps({key: value for key, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "code", "param", "words"),
    [
        ("{", "invalid_json_line", None, "valid JSON"),
        ("[1]", "invalid_json_line", None, "valid JSON"),
        (line(custom_id=...), "missing_required_parameter", "custom_id", "'custom_id'"),
        (line(method=...), "missing_required_parameter", "method", "'method'"),
        (line(url=...), "missing_required_parameter", "url", "'url'"),
        (line(body=...), "missing_required_parameter", "body", "'body'"),
        (line(body={"messages": []}), "invalid_request", "body.model", "'body.model'"),
        (line(method="GET"), "invalid_method", "method", "POST"),
        (line(url="/v1/images"), "invalid_url", "url", CHAT),
        (line(url="/v1/embeddings"), "invalid_url", "url", f"does not match {CHAT}"),
        (line(body={"model": "z"}), "mismatched_model", "body.model", "m"),
        (
            line(body={"model": "m", "stream": True}),
            "streaming_unsupported",
            "body.stream",
            "not supported",
        ),
        (line(custom_id=""), "invalid_value", "custom_id", "empty"),
        (line(custom_id=3), "invalid_type", "custom_id", "a string"),
    ],
)
def test_a_bad_line_has_the_code_that_openai_gives_it(
    text: str, code: str, param: str | None, words: str
) -> None:
    found = error_of(text)
    assert (found.code, found.param, found.line) == (code, param, 7)
    assert all(word in found.message for word in words.split()), found.message
    assert found.message[0].isupper()
    assert found.message.endswith(".")


def test_a_repeated_id_keeps_what_reading_says_of_it() -> None:
    found = line_error(
        line=3, code="duplicate_custom_id", reason='the id "a" is that of line 1 already'
    )
    assert (found.code, found.param) == ("duplicate_custom_id", "custom_id")
    assert found.message == 'The id "a" is that of line 1 already.'


@pytest.mark.parametrize("code", ["", "bad_row"])
def test_a_row_without_a_code_of_openai_is_an_invalid_request(code: str) -> None:
    found = line_error(line=3, code=code, reason="")
    assert (found.code, found.message) == ("invalid_request", "This line is not a valid request.")


def test_an_unknown_model_is_named_with_those_that_are_known() -> None:
    found = unknown_model("gpt-9", line=4, supported=["a", "b"])
    assert (found.code, found.param, found.line) == ("model_not_found", "body.model", 4)
    assert found.message == "The model 'gpt-9' is not supported here. Supported are 'a', 'b'."
    many = unknown_model("x", line=1, supported=(str(number) for number in range(1000)))
    assert many.message.endswith("'9', ….")
    assert unknown_model("x", line=1).message == "The model 'x' is not supported here."


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (empty_file(), "empty_file", None),
        (unknown_file("file-x"), "invalid_request", "file_id"),
        (unreadable_file("no UTF-8 in line 3"), "invalid_request", "file_id"),
    ],
)
def test_what_is_wrong_with_the_whole_file_has_no_line(
    error: BatchError, code: str, param: str | None
) -> None:
    assert json.loads(encode(error)) == {
        "code": code,
        "message": error.message,
        "param": param,
        "line": None,
    }


def test_the_errors_of_a_batch_are_a_list_of_a_bounded_length() -> None:
    assert batch_errors([], most=3) is None
    found = batch_errors((line_error(line=n, code="", reason="x") for n in range(1, 9)), most=3)
    assert found is not None
    assert [one.line for one in found.data] == [1, 2, 3, None]
    assert found.data[-1].message == "5 more errors are not listed."
    exact = batch_errors([empty_file()] * 3, most=3)
    assert exact is not None
    assert len(exact.data) == 3
    parsed = official.batch.Errors.model_validate_json(encode(found), strict=True)
    assert parsed.data is not None
    assert parsed.data[0].code == "invalid_request"
