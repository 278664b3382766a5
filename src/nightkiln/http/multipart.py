"""A form with one file, read in one pass: the file's bytes go on as they come, the rest is kept.

Parts may come in any order, so what the small fields say is known only when the
last byte has come; whoever takes the bytes has to be able to drop them again. The
whole body is bounded before it gets here (`limits`), the fields are bounded here.
Nothing is guessed: a part without a name, one that comes twice, an encoding that
nobody uses and a body without its end are refused.
"""

from collections.abc import AsyncGenerator
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from nightkiln.wire.openai import fields
from nightkiln.wire.openai.refusals import Refused, refused, shown

MOST_FIELDS: Final = 32
MOST_FIELD_BYTES: Final = 64 << 10  # of all fields together
_PLAIN: Final = frozenset({b"", b"7bit", b"8bit", b"binary"})
_FORM: Final = b"multipart/form-data"


class Form:
    """A multipart body. Its fields and the file's name are known once `pieces` has ended."""

    def __init__(self, request: Request, file_field: str) -> None:
        self._request = request
        self._parts = _Parts(file_field)
        self._file_field = file_field

    @property
    def fields(self) -> dict[str, str]:
        """The small fields, by name."""
        return self._parts.fields

    @property
    def filename(self) -> str | None:
        """What the caller calls the file; None when it has no name."""
        return self._parts.filename

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the file as they come; reads the whole body. Raises Refused.

        A connection that ends early raises what the request raises.
        """
        parser = _parser(self._request.headers.get("content-type"), self._parts)
        async for received in self._request.stream():
            try:
                parser.write(received)
            except FormParserError as error:
                raise _malformed("it does not follow the rules of multipart/form-data") from error
            if piece := self._parts.taken():
                yield piece
        if not self._parts.is_whole:
            raise _malformed("it ends before its last boundary")
        if not self._parts.has_file:
            raise fields.missing(self._file_field)


class _Parts:
    """What the parser finds: each event as it comes, in the middle of a write."""

    def __init__(self, file_field: str) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.has_file = False
        self.is_whole = False
        self._file_field = file_field
        self._piece = bytearray()  # of the file, since it was last asked for
        self._name, self._value = bytearray(), bytearray()  # of a header
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None  # whose value comes; None: it is the file's
        self._said = bytearray()
        self._kept_bytes = 0

    def taken(self) -> bytes:
        """The bytes of the file that came since the last time."""
        piece, self._piece = bytes(self._piece), bytearray()
        return piece

    def on_part_begin(self) -> None:
        self._headers, self._field, self._said = {}, None, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise _malformed("a part of it has no name")
        encoding = self._headers.get(b"content-transfer-encoding", b"").strip().lower()
        if encoding not in _PLAIN:
            raise _malformed("a part of it is encoded in a way that forms are not")
        self._begin(_text(name), options.get(b"filename"))

    def _begin(self, name: str, filename: bytes | None) -> None:
        if name in self.fields or (name == self._file_field and self.has_file):
            raise refused(f"{shown(name)} is there twice.", param=name, code="invalid_value")
        if name == self._file_field:
            self.has_file = True
            self.filename = None if filename is None else _printable(filename)
            return
        if filename is not None:
            raise refused(
                f"{shown(name)} is a file; the one that is taken is '{self._file_field}'.",
                param=name,
                code="unknown_parameter",
            )
        if len(self.fields) >= MOST_FIELDS:
            raise _malformed(f"it has more than {MOST_FIELDS} fields")
        self._field = name

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._piece += data[start:end]
            return
        self._kept_bytes += end - start
        if self._kept_bytes > MOST_FIELD_BYTES:
            raise _malformed(f"its fields have more than {MOST_FIELD_BYTES:,} bytes")
        self._said += data[start:end]

    def on_part_end(self) -> None:
        if self._field is not None:
            self.fields[self._field] = _text(bytes(self._said))

    def on_end(self) -> None:
        self.is_whole = True


def _parser(content_type: str | None, parts: _Parts) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != _FORM or not boundary:
        raise refused(
            "The body has to be multipart/form-data with a boundary.", param=None, code=None
        )
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": parts.on_part_begin,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_headers_finished": parts.on_headers_finished,
                "on_end": parts.on_end,
            },
        )
    except FormParserError as error:
        raise _malformed("its boundary is too long") from error


def _text(said: bytes) -> str:
    try:
        return said.decode()
    except UnicodeDecodeError:
        raise _malformed("a name or a field of it is not UTF-8") from None


def _printable(name: bytes) -> str:
    """A file's name, whatever bytes were sent for it."""
    said = name.decode(errors="replace")
    return "".join(mark if mark.isprintable() else "�" for mark in said)


def _malformed(why: str) -> Refused:
    return refused(f"The body cannot be read as a form: {why}.", param=None, code=None)
