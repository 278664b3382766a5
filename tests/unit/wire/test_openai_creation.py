"""What creating a batch may ask for, and exactly what is said of what it may not."""

import json
from typing import Any

import openai
import pytest

from nightkiln.core.batches import BatchStatus
from nightkiln.wire.openai.creation import CreateBatch, read_creation
from nightkiln.wire.openai.refusals import (
    Refusal,
    forbidden,
    no_such_batch,
    no_such_file,
    no_such_model,
    no_such_upload,
    not_cancellable,
    too_large,
    trouble,
    unauthorised,
    upload_closed,
    wrong_purpose,
)
from nightkiln.wire.openai.settings import Settings

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {
    "input_file_id": "file-1",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}


def body(**changed: Any) -> bytes:
    return json.dumps(
        {key: value for key, value in {**GOOD, **changed}.items() if value is not ...}
    ).encode()


def made(**changed: Any) -> CreateBatch:
    found = read_creation(body(**changed), now=NOW)
    assert isinstance(found, CreateBatch), found
    return found


def wrong(raw: bytes) -> tuple[str | None, str | None, str]:
    found = read_creation(raw, now=NOW)
    assert isinstance(found, Refusal), found
    assert found.status == 400
    said = json.loads(found.body)
    assert list(said) == ["error"]
    error = said["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return error["param"], error["code"], error["message"]


def test_the_plain_request_of_an_official_client_is_taken() -> None:
    found = made()
    assert (found.input_file_id, found.endpoint) == ("file-1", "/v1/chat/completions")
    assert (found.completion_window, found.window_s) == ("24h", 86_400)
    assert found.metadata is None
    assert found.settings == Settings()
    assert found.expires_at(NOW) == NOW + 86_400


@pytest.mark.parametrize(
    "endpoint",
    ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"],
)
def test_the_four_endpoints_are_taken(endpoint: str) -> None:
    assert made(endpoint=endpoint).endpoint == endpoint


def test_the_optional_fields_are_taken() -> None:
    found = made(
        metadata={"a": "b", "": "x" * 512},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
        idempotency_key="k",
    )
    assert found.metadata == {"a": "b", "": "x" * 512}
    assert (found.output_expires_after_s, found.idempotency_key) == (3600, "k")
    assert made(metadata=None, output_expires_after=None).metadata is None


def test_more_windows_are_taken_where_they_are_configured() -> None:
    found = read_creation(body(completion_window="7d"), now=NOW, windows=("24h", "7d"))
    assert isinstance(found, CreateBatch)
    assert found.window_s == 7 * 86_400


@pytest.mark.parametrize("name", ["input_file_id", "endpoint", "completion_window"])
def test_a_missing_field_is_named(name: str) -> None:
    expected = (name, "missing_required_parameter", f"Missing required parameter '{name}'.")
    assert wrong(body(**{name: ...})) == expected
    assert wrong(body(**{name: None})) == expected


TOO_MANY = {f"k{number}": "v" for number in range(17)}


@pytest.mark.parametrize(
    ("changed", "param", "code", "words"),
    [
        ({"endpoint": "/v1/x"}, "endpoint", "invalid_value", "'/v1/x' '/v1/embeddings'"),
        ({"endpoint": 3}, "endpoint", "invalid_type", "a number"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value", "'1h' '24h'"),
        ({"completion_window": ""}, "completion_window", "invalid_value", "'' '24h'"),
        ({"input_file_id": ["a"]}, "input_file_id", "invalid_type", "an array"),
        ({"input_file_id": ""}, "input_file_id", "invalid_value", "empty"),
        ({"metadata": "x"}, "metadata", "invalid_type", "'x'"),
        ({"metadata": {"tags": ["a"]}}, "metadata.tags", "invalid_type", "a string an array"),
        ({"metadata": {"tags": None}}, "metadata.tags", "invalid_type", "null"),
        ({"metadata": TOO_MANY}, "metadata", "object_above_max_properties", "17 16"),
        ({"metadata": {"k" * 65: "v"}}, "metadata", "property_name_above_max_length", "65 64"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length", "513 512"),
        ({"prio": 1}, "prio", "unknown_parameter", "'prio' 'metadata'"),
        ({"output_expires_after": 3600}, "output_expires_after", "invalid_type", "an object"),
        (
            {"output_expires_after": {"seconds": 3600}},
            "output_expires_after.anchor",
            "missing_required_parameter",
            "anchor",
        ),
        (
            {"output_expires_after": {"anchor": "x", "seconds": 3600}},
            "output_expires_after.anchor",
            "invalid_value",
            "'x' 'created_at'",
        ),
        (
            {"output_expires_after": {"anchor": "created_at"}},
            "output_expires_after.seconds",
            "missing_required_parameter",
            "seconds",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 3599}},
            "output_expires_after.seconds",
            "integer_below_min_value",
            "3599 3600",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 2_592_001}},
            "output_expires_after.seconds",
            "integer_above_max_value",
            "2592001 2592000",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": True}},
            "output_expires_after.seconds",
            "invalid_type",
            "a boolean",
        ),
        ({"idempotency_key": 4}, "idempotency_key", "invalid_type", "a string"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_taken(
    changed: dict[str, Any], param: str, code: str, words: str
) -> None:
    found_param, found_code, message = wrong(body(**changed))
    assert (found_param, found_code) == (param, code)
    assert all(word in message for word in words.split()), message


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"a": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    param, code, message = wrong(raw)
    assert (param, code) == (None, None)
    assert "JSON object" in message


def test_a_long_value_is_clipped_in_the_message() -> None:
    _, _, message = wrong(body(endpoint="/v1/\n" + "x" * 10_000))
    assert len(message) < 400
    assert "\n" not in message


SETTINGS = Settings(deadline_at=NOW + 5400, priority=1, budget_usd=2.5, route=("gpu", "openai"))


def test_our_settings_travel_in_the_body() -> None:
    said = {"deadline": "90m", "priority": 1, "budget": 2.5, "route": ["gpu", "openai"]}
    found = made(nightkiln=said)
    assert found.settings == SETTINGS
    assert found.expires_at(NOW) == NOW + 5400


def test_our_settings_travel_in_metadata_and_stay_there() -> None:
    said = {
        "nightkiln_deadline": "1h30m",
        "nightkiln_priority": "1",
        "nightkiln_budget": "2.5",
        "nightkiln_route": "gpu, openai",
        "team": "night",
    }
    found = made(metadata=said)
    assert found.settings == SETTINGS
    assert found.metadata == said


def test_a_deadline_may_be_a_moment_with_its_zone() -> None:
    found = made(nightkiln={"deadline": "2027-01-15T10:00:00+01:00"})
    assert found.settings.deadline_at == NOW + 3600


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("deadline", "soon", "invalid_value"),
        ("deadline", "2027-01-15T09:00:00", "invalid_value"),
        ("deadline", "2020-01-01T00:00:00Z", "invalid_value"),
        ("deadline", "25h", "invalid_value"),
        ("deadline", 90, "invalid_type"),
        ("priority", 2, "integer_above_max_value"),
        ("priority", "high", "invalid_type"),
        ("budget", 0, "invalid_value"),
        ("budget", "much", "invalid_type"),
        ("budget", "nan", "invalid_value"),
        ("route", [], "invalid_value"),
        ("route", ["a", "a"], "invalid_value"),
        ("route", [1], "invalid_type"),
        ("route", "a,,b", "invalid_value"),
        ("dedline", "90m", "unknown_parameter"),
    ],
)
def test_a_bad_setting_is_named_where_it_was_said(name: str, value: Any, code: str) -> None:
    assert wrong(body(nightkiln={name: value}))[:2] == (f"nightkiln.{name}", code)
    if isinstance(value, str):
        param = f"metadata.nightkiln_{name}"
        assert wrong(body(metadata={f"nightkiln_{name}": value}))[:2] == (param, code)


def test_a_setting_said_twice_is_refused() -> None:
    raw = body(nightkiln={"priority": 1}, metadata={"nightkiln_priority": "1"})
    assert wrong(raw)[:2] == ("nightkiln.priority", "invalid_value")


def test_the_digest_is_of_what_is_asked_and_not_of_how_it_is_written() -> None:
    plain = made().digest
    assert made(metadata=None).digest == plain
    assert made(idempotency_key="k").digest == plain
    turned = json.dumps(dict(reversed(GOOD.items())), indent=2).encode()
    found = read_creation(turned, now=NOW + 9)
    assert isinstance(found, CreateBatch)
    assert found.digest == plain
    assert len({plain, made(input_file_id="file-2").digest, made(metadata={}).digest}) == 3
    assert made(metadata={"a": "1"}).digest != made(metadata={"a": "2"}).digest


REFUSALS = [
    (no_such_file("file-x"), 404, "id", None),
    (no_such_upload("upload_x"), 404, "id", None),
    (no_such_batch("batch_x"), 404, "id", None),
    (no_such_model("m"), 404, "model", "model_not_found"),
    (wrong_purpose("file-x", "user_data"), 400, "input_file_id", "invalid_value"),
    (upload_closed("upload_x", "expired"), 400, "upload_id", None),
    (too_large("The file", 5), 413, None, None),
    (unauthorised(), 401, None, "invalid_api_key"),
    (forbidden("files:write"), 403, None, "insufficient_permissions"),
    (trouble("The disk is full."), 500, None, None),
]


@pytest.mark.parametrize(("refusal", "status", "param", "code"), REFUSALS)
def test_a_refusal_has_the_four_fields(
    refusal: Refusal, status: int, param: str | None, code: str | None
) -> None:
    error = json.loads(refusal.body)["error"]
    assert (refusal.status, error["param"], error["code"]) == (status, param, code)
    assert error["message"] == refusal.message
    assert error["message"].endswith(".")


def test_cancelling_a_finished_batch_says_so_once_and_for_all() -> None:
    refusal = not_cancellable(BatchStatus.COMPLETED)
    assert refusal.status == 409
    assert refusal.headers == (("x-should-retry", "false"),)
    assert "Cannot cancel a batch with status 'completed'" in refusal.message
    assert no_such_batch("b").headers == ()


def test_the_official_client_reads_an_error_as_its_own() -> None:
    found = read_creation(body(endpoint="/v1/x"), now=NOW)
    assert isinstance(found, Refusal)
    error = json.loads(found.body)["error"]
    theirs = openai.APIError("m", request=None, body=error)  # type: ignore[arg-type]
    assert (theirs.code, theirs.param, theirs.type) == (
        "invalid_value",
        "endpoint",
        "invalid_request_error",
    )
