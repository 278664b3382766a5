"""Blocks as the parts of a chat message: texts, pictures and files, in OpenAI's words. Pure."""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from nightkiln.wire.anthropic.blocks import (
    NOTHING,
    Citations,
    Document,
    Image,
    Placed,
    SearchResult,
    Text,
    read_content,
)
from nightkiln.wire.anthropic.wording import Refused, decoded, joined, unsupported

EMPTY: Final = "text content blocks must be non-empty"
_FILES: Final = "files of Anthropic's Files API cannot be read from here; give the content itself"
_MEDIA: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF: Final = "application/pdf"


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Words in a chat message."""

    text: str


class Url(msgspec.Struct, frozen=True):
    """Where a picture is, or the picture itself as a data URL."""

    url: str


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """A picture in a chat message."""

    image_url: Url


class FileData(msgspec.Struct, frozen=True):
    """A file's name and its content as a data URL."""

    filename: str
    file_data: str


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """A file in a chat message."""

    file: FileData


Part: TypeAlias = TextPart | ImagePart | FilePart
Content: TypeAlias = str | list[Part]


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[msgspec.Raw] | None = None


_decode_source: Final = msgspec.json.Decoder(_Source).decode


def content_of(parts: list[Part]) -> Content:
    """The content of a chat message: a text where it is nothing else."""
    first = parts[0] if parts else TextPart("")
    return first.text if len(parts) <= 1 and isinstance(first, TextPart) else parts


def parts_of(placed: Placed) -> list[Part]:
    """The parts that a block of a user's message is. Raises Refused."""
    block, at = placed.block, placed.at
    match block:
        case Text():
            return [TextPart(text_of(block, at))]
        case Image():
            return [_image(block, at)]
        case Document():
            return _document(block, at)
        case SearchResult():
            return [_search_result(block, at)]
        case _:
            raise Refused(at, f"{block.type} blocks cannot stand here")


def text_of(block: Text, at: str) -> str:
    """The words of a text block. Raises Refused for none, and for citations of sources."""
    if not block.text:
        raise Refused(at, EMPTY)
    if block.citations:
        raise unsupported(
            joined(at, "citations"), "citations cannot be told to the model; leave them out"
        )
    return block.text


def texts_only(parts: Iterable[Part], at: str, what: str) -> list[Part]:
    """The parts, if they are words. Raises Refused: `what` may hold nothing else in a chat."""
    found = list(parts)
    if all(isinstance(part, TextPart) for part in found):
        return found
    raise unsupported(
        at, f"{what} can hold text only for this backend; put the rest into a user's message"
    )


def _image(block: Image, at: str) -> ImagePart:
    if bytes(block.transformations) not in NOTHING:
        raise unsupported(joined(at, "transformations"), "resize the image before you send it")
    here = joined(at, "source")
    source = decoded(_decode_source, block.source, here)
    match source.type:
        case "base64":
            media = _needed(source.media_type, here, "media_type")
            if media not in _MEDIA:
                known = ", ".join(f"'{name}'" for name in _MEDIA)
                raise Refused(joined(here, "base64.media_type"), f"Input should be {known}")
            data = _needed(source.data, here, "data")
            return ImagePart(Url(f"data:{media};base64,{data}"))
        case "url":
            return ImagePart(Url(_needed(source.url, here, "url")))
        case "file":
            raise unsupported(here, _FILES)
        case _:
            raise Refused(joined(here, "type"), "Input should be 'base64' or 'url'")


def _document(block: Document, at: str) -> list[Part]:
    _uncited(block.citations, at)
    here = joined(at, "source")
    source = decoded(_decode_source, block.source, here)
    match source.type:
        case "text":
            body: list[Part] = [TextPart(_needed(source.data, here, "data"))]
        case "content":
            given = source.content
            if given is None:
                raise Refused(joined(here, "content"), "Field required")
            body = [
                part
                for inner in read_content(given, joined(here, "content"))
                for part in _inner(inner)
            ]
        case "base64":
            return _pdf(block, source, here)
        case "url":
            raise unsupported(here, "a PDF behind a URL is not fetched; send its content as base64")
        case "file":
            raise unsupported(here, _FILES)
        case _:
            raise Refused(joined(here, "type"), "Input should be 'base64', 'content' or 'text'")
    return _headed((block.title, block.context), body)


def _inner(placed: Placed) -> list[Part]:
    if isinstance(placed.block, Text | Image):
        return parts_of(placed)
    raise Refused(placed.at, "a document's content holds text and image blocks only")


def _pdf(block: Document, source: _Source, here: str) -> list[Part]:
    if source.media_type != _PDF:
        raise Refused(joined(here, "base64.media_type"), f"Input should be '{_PDF}'")
    data = _needed(source.data, here, "data")
    name = block.title or "document.pdf"
    file = FilePart(FileData(filename=name, file_data=f"data:{_PDF};base64,{data}"))
    return [TextPart(block.context), file] if block.context else [file]


def _search_result(block: SearchResult, at: str) -> TextPart:
    _uncited(block.citations, at)
    words = []
    for inner in read_content(block.content, joined(at, "content")):
        if not isinstance(inner.block, Text):
            raise Refused(inner.at, "a search result holds text blocks only")
        words.append(text_of(inner.block, inner.at))
    return TextPart("\n".join((block.title, block.source, "", *words)))


def _headed(heads: tuple[str | None, ...], body: list[Part]) -> list[Part]:
    """The parts of a document under its title and context, where it has some."""
    said = "\n".join(head for head in heads if head)
    if not said:
        return body
    if body and isinstance(body[0], TextPart):
        return [TextPart(f"{said}\n\n{body[0].text}"), *body[1:]]
    return [TextPart(said), *body]


def _uncited(citations: Citations | None, at: str) -> None:
    if citations is not None and citations.enabled:
        raise unsupported(joined(at, "citations"), "answers do not cite here; leave citations out")


def _needed(value: str | None, at: str, name: str) -> str:
    if not value:
        raise Refused(joined(at, name), "Field required")
    return value
