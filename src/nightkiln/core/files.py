"""Files that somebody uploaded, and files that a batch wrote. Nothing here touches a disk."""

import enum
from typing import NewType

import msgspec

from nightkiln.core.ids import JobId, ProjectId

FileId = NewType("FileId", str)
UploadId = NewType("UploadId", str)


class Purpose(enum.StrEnum):
    """What a file is for, in OpenAI's words."""

    BATCH = "batch"  # lines that a batch asks
    BATCH_OUTPUT = "batch_output"  # what a batch wrote
    USER_DATA = "user_data"  # a table of any format, for a job


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a project. Its bytes never change."""

    id: FileId
    project: ProjectId
    name: str  # what the user calls it
    purpose: Purpose
    size_bytes: int
    sha256: str
    created_at: float  # epoch seconds
    expires_at: float | None = None
    job: JobId | None = None  # whose output it is


class UploadState(enum.StrEnum):
    """How far an upload in parts has come."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an upload."""

    id: str
    size_bytes: int
    sha256: str
    created_at: float


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that arrives in parts."""

    id: UploadId
    project: ProjectId
    name: str
    purpose: Purpose
    mime_type: str
    size_bytes: int  # as it was announced
    live_s: float | None = None  # how long the file is kept; None: until somebody deletes it
    created_at: float
    expires_at: float
    state: UploadState = UploadState.PENDING
    parts: tuple[UploadPart, ...] = ()  # in the order they came
    file: FileId | None = None  # that it became
