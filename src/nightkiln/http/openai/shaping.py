"""What services give, as OpenAI's objects; and refusals of `wire` as ends of a request."""

from collections.abc import Sequence
from typing import TypeVar

from nightkiln.core.files import StoredFile, Upload
from nightkiln.http.errors import Refuse
from nightkiln.service.wirebatches import Shown, view_of
from nightkiln.wire.openai import objects
from nightkiln.wire.openai.objects import Identified, Page
from nightkiln.wire.openai.refusals import Refusal
from nightkiln.wire.openai.status import batch_of

T = TypeVar("T")
O = TypeVar("O", bound=Identified)  # noqa: E741 - an object of a list


def good(read: T | Refusal) -> T:
    """What was read, if it is good. Raises Refuse."""
    if isinstance(read, Refusal):
        raise Refuse(read)
    return read


def file_object(file: StoredFile) -> objects.File:
    """A file."""
    return objects.File(
        id=file.id,
        bytes=file.size_bytes,
        created_at=int(file.created_at),
        expires_at=None if file.expires_at is None else int(file.expires_at),
        filename=file.name,
        purpose=file.purpose,
    )


def upload_object(upload: Upload, file: StoredFile | None = None) -> objects.Upload:
    """An upload; with the file that it became."""
    return objects.Upload(
        id=upload.id,
        bytes=upload.size_bytes,
        created_at=int(upload.created_at),
        expires_at=int(upload.expires_at),
        filename=upload.name,
        purpose=upload.purpose,
        status=objects.UploadStatus(upload.state),
        file=None if file is None else file_object(file),
    )


def batch_object(shown: Shown) -> objects.Batch | None:
    """A batch; None while its job is being deleted."""
    return batch_of(view_of(shown))


def page_object(found: Sequence[O], *, more: bool) -> Page[O]:
    """A page of a list; an empty one never says that there is more."""
    return Page(
        data=tuple(found),
        first_id=found[0].id if found else None,
        last_id=found[-1].id if found else None,
        has_more=more and bool(found),
    )
