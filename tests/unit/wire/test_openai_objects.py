"""OpenAI's objects: each against JSON as its pages write it, and against the official types."""

import json
from typing import Any

import openai.types as official
import pytest
from openai.pagination import SyncCursorPage, SyncPage
from openai.types.uploads import UploadPart as OfficialPart
from pydantic import BaseModel

from nightkiln.core.batches import BatchStatus
from nightkiln.wire.openai.objects import (
    Batch,
    BatchError,
    BatchErrors,
    BatchUsage,
    File,
    FileDeleted,
    InputTokensDetails,
    Model,
    ModelList,
    OutputTokensDetails,
    RequestCounts,
    Upload,
    UploadPart,
    UploadStatus,
    encode,
    page_of,
)

FILE = File(id="file-1", bytes=9, created_at=1, expires_at=2, filename="in.jsonl", purpose="batch")
FILE_JSON = {
    "id": "file-1",
    "object": "file",
    "bytes": 9,
    "created_at": 1,
    "expires_at": 2,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "processed",
    "status_details": None,
}
UPLOAD = Upload(
    id="upload_1",
    bytes=9,
    created_at=1,
    expires_at=3601,
    filename="in.jsonl",
    purpose="batch",
    status=UploadStatus.COMPLETED,
    file=FILE,
)
UPLOAD_JSON = {
    "id": "upload_1",
    "object": "upload",
    "bytes": 9,
    "created_at": 1,
    "expires_at": 3601,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "completed",
    "file": FILE_JSON,
}
BATCH = Batch(
    id="batch_1",
    endpoint="/v1/chat/completions",
    model="m",
    errors=BatchErrors(
        data=(BatchError(code="invalid_json_line", message="No JSON.", line=2),),
    ),
    input_file_id="file-1",
    completion_window="24h",
    status=BatchStatus.COMPLETED,
    output_file_id="file-2",
    error_file_id="file-3",
    created_at=1,
    in_progress_at=2,
    expires_at=86401,
    finalizing_at=3,
    completed_at=4,
    failed_at=5,
    expired_at=6,
    cancelling_at=7,
    cancelled_at=8,
    request_counts=RequestCounts(total=3, completed=2, failed=1),
    usage=BatchUsage(
        input_tokens=5,
        input_tokens_details=InputTokensDetails(cached_tokens=1),
        output_tokens=7,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=2),
        total_tokens=12,
    ),
    metadata={"team": "night"},
)
BATCH_JSON = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "model": "m",
    "errors": {
        "object": "list",
        "data": [
            {"code": "invalid_json_line", "message": "No JSON.", "param": None, "line": 2},
        ],
    },
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-2",
    "error_file_id": "file-3",
    "created_at": 1,
    "in_progress_at": 2,
    "expires_at": 86401,
    "finalizing_at": 3,
    "completed_at": 4,
    "failed_at": 5,
    "expired_at": 6,
    "cancelling_at": 7,
    "cancelled_at": 8,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "usage": {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    },
    "metadata": {"team": "night"},
}
YOUNG = Batch(
    id="batch_1",
    endpoint="/v1/embeddings",
    input_file_id="file-1",
    completion_window="24h",
    status=BatchStatus.VALIDATING,
    created_at=1,
)
MODEL = Model(id="m", created=1, owned_by="nightkiln")
MODEL_JSON = {"id": "m", "object": "model", "created": 1, "owned_by": "nightkiln"}
PART_JSON = {"id": "part_1", "object": "upload.part", "created_at": 1, "upload_id": "upload_1"}

SHAPES: list[tuple[Any, dict[str, Any], type[BaseModel]]] = [
    (FILE, FILE_JSON, official.FileObject),
    (
        FileDeleted(id="file-1"),
        {"id": "file-1", "object": "file", "deleted": True},
        official.FileDeleted,
    ),
    (UPLOAD, UPLOAD_JSON, official.Upload),
    (UploadPart(id="part_1", created_at=1, upload_id="upload_1"), PART_JSON, OfficialPart),
    (BATCH, BATCH_JSON, official.Batch),
    (MODEL, MODEL_JSON, official.Model),
    (
        page_of([BATCH], limit=1),
        {
            "object": "list",
            "data": [BATCH_JSON],
            "first_id": "batch_1",
            "last_id": "batch_1",
            "has_more": False,
        },
        SyncCursorPage[official.Batch],
    ),
    (
        ModelList(data=(MODEL,)),
        {"object": "list", "data": [MODEL_JSON]},
        SyncPage[official.Model],
    ),
]


@pytest.mark.parametrize(("ours", "golden", "theirs"), SHAPES)
def test_an_object_is_written_field_for_field(
    ours: Any, golden: dict[str, Any], theirs: type[BaseModel]
) -> None:
    written = json.loads(encode(ours))
    assert written == golden
    assert list(written) == list(golden)


@pytest.mark.parametrize(("ours", "golden", "theirs"), SHAPES)
def test_the_official_types_take_an_object_strictly(
    ours: Any, golden: dict[str, Any], theirs: type[BaseModel]
) -> None:
    parsed = theirs.model_validate_json(encode(ours), strict=True)
    unknown = set(golden) - {*theirs.model_fields, "object", "first_id", "last_id"}
    assert not unknown
    assert parsed.model_dump(include={"id", "status"}) == {
        key: golden[key] for key in ("id", "status") if key in golden
    }


def test_every_field_of_the_official_batch_is_ours() -> None:
    assert set(official.Batch.model_fields) == set(Batch.__struct_fields__)
    assert set(official.FileObject.model_fields) == set(File.__struct_fields__)
    assert set(official.Upload.model_fields) == set(Upload.__struct_fields__)


def test_a_young_batch_says_null_and_zero_and_parses() -> None:
    written = json.loads(encode(YOUNG))
    assert set(written) == set(BATCH_JSON)
    assert written["errors"] is written["metadata"] is written["completed_at"] is None
    assert written["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert written["usage"]["total_tokens"] == 0
    official.Batch.model_validate_json(encode(YOUNG), strict=True)


def test_every_status_is_one_of_theirs() -> None:
    for status in BatchStatus:
        official.Batch.model_validate_json(encode({**BATCH_JSON, "status": status}), strict=True)
    for upload in UploadStatus:
        official.Upload.model_validate_json(encode({**UPLOAD_JSON, "status": upload}), strict=True)
    with pytest.raises(ValueError, match="status"):
        official.Batch.model_validate_json(encode({**BATCH_JSON, "status": "queued"}), strict=True)


def test_a_page_says_that_there_is_more_when_one_more_was_found() -> None:
    files = [FILE, File(id="file-2", bytes=1, created_at=1, filename="a", purpose="batch")]
    page = page_of(files, limit=1)
    assert (page.first_id, page.last_id, page.has_more) == ("file-1", "file-1", True)
    assert not page_of(files, limit=2).has_more


def test_an_empty_page_ends_the_list() -> None:
    assert json.loads(encode(page_of([], limit=20))) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
