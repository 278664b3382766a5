"""What uploading and listing ask for, checked: files, uploads in parts, pages of lists. Pure.

The bytes of a multipart body are not read here, only its small fields.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from nightkiln.wire.openai import fields
from nightkiln.wire.openai.fields import EXPIRY_MOST_S, Fields
from nightkiln.wire.openai.refusals import Refusal, Refused, refused

PURPOSES: Final = ("batch", "user_data")  # what may be uploaded
BATCH_EXPIRY_S: Final = EXPIRY_MOST_S  # of a file for batches, when nobody says otherwise
MOST_PARTS: Final = 10_000
_LINES: Final = ".jsonl"
_ORDERS: Final = ("asc", "desc")
_FORM: Final = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_UPLOAD: Final = ("bytes", "filename", "mime_type", "purpose", "expires_after")
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


class FileOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A file that may come."""

    filename: str
    purpose: str
    expires_after_s: int | None  # None: never


class UploadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A file that will come in parts."""

    file: FileOrder
    size: int  # bytes
    mime_type: str


class UploadEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an upload, in order."""

    part_ids: tuple[str, ...]
    md5: str | None = None  # hexadecimal, in lower case


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is asked for."""

    after: str | None = None  # the last object the caller has
    limit: int
    descending: bool = True  # newest first
    purpose: str | None = None


class ListKind(msgspec.Struct, frozen=True, kw_only=True):
    """What lists of one kind of object take."""

    limit: int  # when none is asked for
    most: int
    ordered: bool = False  # True: `order` and `purpose` mean something


FILES: Final = ListKind(limit=10_000, most=10_000, ordered=True)
BATCHES: Final = ListKind(limit=20, most=100)


def read_file_order(
    form: Mapping[str, str], filename: str | None, *, purposes: Sequence[str] = PURPOSES
) -> FileOrder | Refusal:
    """The file that the fields of `POST /v1/files` announce; `filename` is that of the part."""
    try:
        fields.only(form, _FORM)
        if filename is None:
            raise fields.missing("file")
        policy = {
            name: form[f"expires_after[{name}]"]
            for name in ("anchor", "seconds")
            if f"expires_after[{name}]" in form
        }
        nested = {**form, "filename": filename, "expires_after": policy or None}
        return _file(nested, purposes)
    except Refused as problem:
        return problem.refusal


def read_upload_order(
    body: bytes, *, most: int, purposes: Sequence[str] = PURPOSES
) -> UploadOrder | Refusal:
    """The upload that a body announces; `most` is the size in bytes that is taken."""
    try:
        found = fields.object_of(body)
        fields.only(found, _UPLOAD)
        size = fields.whole(found, "bytes", least=1, most=most)
        if size is None:
            raise fields.missing("bytes")
        mime_type = fields.text(found, "mime_type")
        return UploadOrder(file=_file(found, purposes), size=size, mime_type=mime_type)
    except Refused as problem:
        return problem.refusal


def _file(found: Fields, purposes: Sequence[str]) -> FileOrder:
    filename = fields.text(found, "filename")
    purpose = fields.one_of(found, "purpose", purposes)
    if purpose == "batch" and not filename.lower().endswith(_LINES):
        raise refused(
            f"Invalid file format for a batch: the name has to end in {_LINES}.",
            param="file",
            code="invalid_file_format",
        )
    expires = fields.expiry(found, "expires_after")
    if expires is None and purpose == "batch":
        expires = BATCH_EXPIRY_S
    return FileOrder(filename=filename, purpose=purpose, expires_after_s=expires)


def read_upload_end(body: bytes) -> UploadEnd | Refusal:
    """The parts that complete an upload, in the order of the file."""
    try:
        found = fields.object_of(body)
        fields.only(found, ("part_ids", "md5"))
        return UploadEnd(part_ids=_part_ids(found), md5=_md5(found))
    except Refused as problem:
        return problem.refusal


def _part_ids(found: Fields) -> tuple[str, ...]:
    parts = found.get("part_ids")
    if parts is None:
        raise fields.missing("part_ids")
    if not isinstance(parts, list):
        raise fields.mistyped("part_ids", "an array", parts)
    checked: list[str] = []
    for index, part in enumerate(parts):
        if not isinstance(part, str):
            raise fields.mistyped(f"part_ids[{index}]", "a string", part)
        checked.append(part)
    if not 0 < len(checked) <= MOST_PARTS or len({*checked}) < len(checked):
        raise refused(
            f"part_ids has to be 1 to {MOST_PARTS:,} parts, each once.",
            param="part_ids",
            code="invalid_value",
        )
    return tuple(checked)


def _md5(found: Fields) -> str | None:
    said = fields.optional_text(found, "md5")
    if said is not None and not _MD5.fullmatch(said):
        raise refused("md5 has to be 32 hexadecimal digits.", param="md5", code="invalid_value")
    return None if said is None else said.lower()


def read_listing(query: Mapping[str, str], kind: ListKind) -> Listing | Refusal:
    """The page that a query asks for. Names that a list does not know mean nothing to it."""
    try:
        limit = fields.whole(query, "limit", least=1, most=kind.most)
        order = "desc"
        if kind.ordered and "order" in query:
            order = fields.one_of(query, "order", _ORDERS)
        return Listing(
            after=query.get("after") or None,
            limit=kind.limit if limit is None else limit,
            descending=order == "desc",
            purpose=(query.get("purpose") or None) if kind.ordered else None,
        )
    except Refused as problem:
        return problem.refusal
