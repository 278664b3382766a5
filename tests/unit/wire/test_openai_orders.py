"""What uploads and lists may ask for, and what is said of what they may not."""

import json
from typing import Any

import pytest

from nightkiln.wire.openai.orders import (
    BATCHES,
    FILES,
    FileOrder,
    Listing,
    ListKind,
    UploadEnd,
    UploadOrder,
    read_file_order,
    read_listing,
    read_upload_end,
    read_upload_order,
)
from nightkiln.wire.openai.refusals import Refusal

DAYS_30 = 30 * 86_400
UPLOAD: dict[str, Any] = {
    "bytes": 10,
    "filename": "in.jsonl",
    "mime_type": "application/jsonl",
    "purpose": "batch",
}


def wrong(found: object) -> tuple[str | None, str | None]:
    assert isinstance(found, Refusal), found
    assert found.status == 400
    return found.param, found.code


def test_a_file_for_batches_is_kept_thirty_days_unless_somebody_says_otherwise() -> None:
    assert read_file_order({"purpose": "batch"}, "in.jsonl") == FileOrder(
        filename="in.jsonl", purpose="batch", expires_after_s=DAYS_30
    )
    form = {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
    }
    found = read_file_order(form, "in.JSONL")
    assert isinstance(found, FileOrder)
    assert found.expires_after_s == 3600
    other = read_file_order({"purpose": "user_data"}, "notes.txt")
    assert isinstance(other, FileOrder)
    assert other.expires_after_s is None


@pytest.mark.parametrize(
    ("form", "filename", "param", "code"),
    [
        ({}, "in.jsonl", "purpose", "missing_required_parameter"),
        ({"purpose": "fine-tune"}, "in.jsonl", "purpose", "invalid_value"),
        ({"purpose": "batch"}, None, "file", "missing_required_parameter"),
        ({"purpose": "batch"}, "", "filename", "invalid_value"),
        ({"purpose": "batch"}, "in.csv", "file", "invalid_file_format"),
        ({"purpose": "batch", "colour": "red"}, "in.jsonl", "colour", "unknown_parameter"),
        (
            {"purpose": "batch", "expires_after[seconds]": "3600"},
            "in.jsonl",
            "expires_after.anchor",
            "missing_required_parameter",
        ),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "1",
            },
            "in.jsonl",
            "expires_after.seconds",
            "integer_below_min_value",
        ),
    ],
)
def test_a_file_that_may_not_come_is_refused(
    form: dict[str, str], filename: str | None, param: str, code: str
) -> None:
    assert wrong(read_file_order(form, filename)) == (param, code)


def test_an_upload_is_announced() -> None:
    found = read_upload_order(json.dumps(UPLOAD).encode(), most=10)
    file = FileOrder(filename="in.jsonl", purpose="batch", expires_after_s=DAYS_30)
    assert found == UploadOrder(file=file, size=10, mime_type="application/jsonl")


@pytest.mark.parametrize(
    ("changed", "param", "code"),
    [
        ({"bytes": None}, "bytes", "missing_required_parameter"),
        ({"bytes": 0}, "bytes", "integer_below_min_value"),
        ({"bytes": 11}, "bytes", "integer_above_max_value"),
        ({"bytes": 1.5}, "bytes", "invalid_type"),
        ({"mime_type": None}, "mime_type", "missing_required_parameter"),
        ({"filename": None}, "filename", "missing_required_parameter"),
        ({"purpose": "evals"}, "purpose", "invalid_value"),
        ({"expires_after": 5}, "expires_after", "invalid_type"),
        ({"md5": "x"}, "md5", "unknown_parameter"),
    ],
)
def test_an_upload_that_may_not_come_is_refused(
    changed: dict[str, Any], param: str, code: str
) -> None:
    raw = json.dumps({**UPLOAD, **changed}).encode()
    assert wrong(read_upload_order(raw, most=10)) == (param, code)


def test_an_upload_ends_with_its_parts_in_order() -> None:
    assert read_upload_end(b'{"part_ids": ["b", "a"]}') == UploadEnd(part_ids=("b", "a"))
    raw = json.dumps({"part_ids": ["a"], "md5": "AB" * 16}).encode()
    assert read_upload_end(raw) == UploadEnd(part_ids=("a",), md5="ab" * 16)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "part_ids", "missing_required_parameter"),
        ({"part_ids": "a"}, "part_ids", "invalid_type"),
        ({"part_ids": []}, "part_ids", "invalid_value"),
        ({"part_ids": ["a", "a"]}, "part_ids", "invalid_value"),
        ({"part_ids": ["a", 2]}, "part_ids[1]", "invalid_type"),
        ({"part_ids": ["a"], "md5": "xyz"}, "md5", "invalid_value"),
        ({"part_ids": ["a"], "sha": "xyz"}, "sha", "unknown_parameter"),
    ],
)
def test_an_upload_that_cannot_end_so_is_refused(
    body: dict[str, Any], param: str, code: str
) -> None:
    assert wrong(read_upload_end(json.dumps(body).encode())) == (param, code)


def test_bodies_that_are_no_json_are_refused() -> None:
    assert wrong(read_upload_end(b"x")) == (None, None)
    assert wrong(read_upload_order(b"x", most=1)) == (None, None)


def test_a_list_has_openais_defaults_and_bounds() -> None:
    assert read_listing({}, FILES) == Listing(limit=10_000)
    assert read_listing({}, BATCHES) == Listing(limit=20)
    query = {"after": "file-1", "limit": "5", "order": "asc", "purpose": "batch"}
    assert read_listing(query, FILES) == Listing(
        after="file-1", limit=5, descending=False, purpose="batch"
    )
    assert read_listing(query, BATCHES) == Listing(after="file-1", limit=5)


@pytest.mark.parametrize(
    ("query", "kind", "param", "code"),
    [
        ({"limit": "0"}, BATCHES, "limit", "integer_below_min_value"),
        ({"limit": "101"}, BATCHES, "limit", "integer_above_max_value"),
        ({"limit": "10001"}, FILES, "limit", "integer_above_max_value"),
        ({"limit": "9" * 5000}, FILES, "limit", "integer_above_max_value"),
        ({"limit": "many"}, FILES, "limit", "invalid_type"),
        ({"limit": ""}, FILES, "limit", "invalid_type"),
        ({"order": "up"}, FILES, "order", "invalid_value"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    query: dict[str, str], kind: ListKind, param: str, code: str
) -> None:
    assert wrong(read_listing(query, kind)) == (param, code)
