"""The body that creates a batch of messages: what is refused at once, and what is not."""

import json
import mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.wire.anthropic import create
from nightkiln.wire.anthropic.create import Created, read_create
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.rules import Version, version_of

PARAMS = {"model": "m", "max_tokens": 1, "messages": []}


def body(*ids: Any, **more: Any) -> bytes:
    requests = [{"custom_id": custom_id, "params": PARAMS} for custom_id in ids]
    return json.dumps({"requests": requests, **more}).encode()


def refused(given: bytes) -> str:
    found = read_create(given)
    assert isinstance(found, Refusal)
    assert found.status == 400
    return found.message


def test_requests_come_with_the_bytes_of_their_params() -> None:
    found = read_create(b'{"requests":[{"params": {"top_p" : 1e400} ,"custom_id":"a-1_B"}]}')
    assert isinstance(found, Created)
    assert [(one.custom_id, bytes(one.params)) for one in found.requests] == [
        ("a-1_B", b'{"top_p" : 1e400}')
    ]


def test_a_file_is_read_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(body("a", "b"))
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        found = read_create(view)
        assert isinstance(found, Created)
        assert [one.custom_id for one in found.requests] == ["a", "b"]
        assert json.loads(bytes(found.requests[1].params)) == PARAMS
        del found  # its params are pieces of the file


def test_params_are_not_looked_into() -> None:
    assert isinstance(
        read_create(b'{"requests":[{"custom_id":"a","params":{"no":"sense"}}]}'), Created
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "The JSON could not be read"),
        (b"[]", "Input should be a valid dictionary"),
        (b"{}", "requests: Field required"),
        (b'{"requests":[]}', "requests: List should have at least 1 item"),
        (b'{"requests":{}}', "requests: Input should be a valid list"),
        (b'{"requests":[{"params":{}}]}', "requests.0.custom_id: Field required"),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: Field required"),
        (
            b'{"requests":[{"custom_id":"a","params":[]}]}',
            "requests.0.params: Input should be a valid dictionary",
        ),
        (
            b'{"requests":[{"custom_id":"a","params":{},"model":"m"}]}',
            "requests.0.model: Extra inputs are not permitted",
        ),
        (body(7), "requests.0.custom_id: Input should be a valid string"),
        (body("a", ""), "requests.1.custom_id: String should have at least 1 character"),
        (body("x" * 65), "requests.0.custom_id: String should have at most 64 characters"),
        (
            body("a b"),
            "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        (
            body("é"),
            "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        (
            body("a\n"),
            "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        (
            body("b", "a", "b"),
            "requests.2.custom_id: Duplicate custom_id; requests.0 has it as well",
        ),
        (body("a", priority=1), "priority: Extra inputs are not permitted"),
    ],
)
def test_a_batch_is_refused_as_a_whole(given: bytes, said: str) -> None:
    assert refused(given) == said


def test_fields_of_ours_are_allowed_by_name() -> None:
    found = read_create(body("a", priority=1), extras={"priority", "deadline"})
    assert isinstance(found, Created)
    assert {name: bytes(raw) for name, raw in found.extras.items()} == {"priority": b"1"}


def test_one_request_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "MAX_REQUESTS", 2)
    assert isinstance(read_create(body("a", "b")), Created)
    assert refused(body("a", "b", "c")).startswith("requests: 3 requests; 2 are allowed")


def test_one_byte_too_many_is_refused_as_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = body("a")
    monkeypatch.setattr(create, "MAX_BYTES", len(whole))
    assert isinstance(read_create(whole), Created)
    found = read_create(whole + b" ")
    assert isinstance(found, Refusal)
    assert json.loads(found.body("req_1"))["error"]["type"] == "request_too_large"


def test_the_limits_are_the_documented_ones() -> None:
    assert (create.MAX_REQUESTS, create.MAX_BYTES) == (100_000, 256 * 2**20)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(given: bytes) -> None:
    assert isinstance(read_create(given), Created | Refusal)


@pytest.mark.parametrize("version", list(Version))
def test_both_versions_are_known(version: Version) -> None:
    assert version_of(str(version)) is version


@pytest.mark.parametrize("header", [None, "", "2023-01-01", "yesterday"])
def test_any_other_version_is_refused_with_those_that_are_known(header: str | None) -> None:
    found = version_of(header)
    assert isinstance(found, Refusal)
    assert found.status == 400
    assert all(version in found.message for version in Version)
