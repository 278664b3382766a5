"""The objects of OpenAI's files, uploads, batches and models, as JSON has them. Pure.

Every field is always written, unset ones as null, in the order of OpenAI's own
pages. Times are whole epoch seconds. Nothing here decides anything: `status.py`
fills a batch, the server fills the rest. `encode` makes the bytes of any of them.
"""

import enum
from collections.abc import Sequence
from typing import Final, Generic, Literal, Protocol, TypeVar

import msgspec

from nightkiln.core.batches import BatchStatus

encode: Final = msgspec.json.Encoder().encode


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file somebody uploaded, or the results of a batch."""

    id: str  # file-…
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str  # batch, batch_output, user_data
    status: Literal["uploaded", "processed", "error"] = "processed"
    status_details: str | None = None


class FileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What deleting a file is answered with."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class UploadStatus(enum.StrEnum):
    """Where an upload stands."""

    PENDING = "pending"  # takes parts
    COMPLETED = "completed"  # is a file now
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # nobody completed it in time


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that comes in parts."""

    id: str  # upload_…
    object: Literal["upload"] = "upload"
    bytes: int  # as announced, whatever has come
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: UploadStatus = UploadStatus.PENDING
    file: File | None = None  # once it is complete


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of an upload."""

    id: str  # part_…
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


class BatchError(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a batch failed its validation."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None  # of the input file, counted from 1; None: it is about the whole


class BatchErrors(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    object: Literal["list"] = "list"
    data: tuple[BatchError, ...]


class RequestCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a batch: 0 of 0 until they are validated."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class InputTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the tokens that went in."""

    cached_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the tokens that came out; backends are not asked for more."""

    reasoning_tokens: int = 0


class BatchUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a batch so far."""

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch."""

    id: str  # batch_…
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None = None  # None until the lines are read
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    usage: BatchUsage = BatchUsage()
    metadata: dict[str, str] | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests and batches may name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models; this one list has no pages."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class Identified(Protocol):
    """Anything with an id, so that a list can be paged by it."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


T = TypeVar("T", bound=Identified)


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some consecutive objects of a list. Clients go on after `last_id` while `has_more`."""

    object: Literal["list"] = "list"
    data: tuple[T, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(found: Sequence[T], *, limit: int) -> Page[T]:
    """The page of a list that was asked for one object more than `limit`, to see if there is one.

    An empty page never says that there is more, or a client would ask for ever.
    """
    data = tuple(found[:limit])
    return Page(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=bool(data) and len(found) > limit,
    )
