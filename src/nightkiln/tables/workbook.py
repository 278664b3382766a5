"""Is a workbook safe to open? Checked on the file itself, before any parser sees it.

An XLSX file is a zip of XML, and both can be made to explode. A few kilobytes
may inflate to gigabytes; the sizes in a zip's directory may lie; and two cells
at opposite corners of a sheet make a parser lay out all seventeen thousand
million between them. So every part is inflated once, a piece at a time and with
nothing kept, up to the size it claims; and the cells' own addresses say how
large a rectangle the sheet really needs. This costs about a second per 200 MB
of XML, and refuses nothing that a person made with a spreadsheet.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from nightkiln.core.errors import InputError

_PIECE_BYTES: Final = 1 << 18
_LONGEST_TAG: Final = 1 << 20
_NAME: Final = 64  # bytes in which a tag's name ends
_SMALL_BYTES: Final = 16 << 20  # below it a high ratio does no harm
_LOCAL_HEADER: Final = 30
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_ADDRESS: Final = re.compile(
    rb"""<(?:\w+:)?(?:c|row)\s(?:[^<]*?\s)??r\s*=\s*["']\s*([A-Za-z]*)([0-9]+)"""
)  # up to the next tag: an attribute may hold a >, never a <
_BEGUN: Final = re.compile(rb"<(?:\w+:)?(?:c|row)\s")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a workbook may hold."""

    entries: int = 10_000
    ratio: int = 500  # of a part's size to its size in the zip, for parts over 16 MB
    total_bytes: int = 4 << 30  # of all parts, inflated
    cells: int = 64_000_000  # of the rectangle around a sheet's cells


def check_workbook(path: str, name: str, limits: Limits | None = None) -> None:
    """Raise InputError for what is no workbook, or one that would fill the memory."""
    limits = limits or Limits()
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_directory(entries, name, limits)
            for entry in entries:
                _check_part(file, entry, name, limits)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError) as error:
        raise InputError(
            f"{name} is no XLSX workbook: {error}",
            hint="save it as .xlsx; the older .xls is another format",
        ) from error


def _check_directory(entries: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    if len(entries) > limits.entries:
        raise _refused(name, f"{len(entries)} parts; at most {limits.entries} are taken")
    total = sum(entry.file_size for entry in entries)
    if total > limits.total_bytes:
        raise _refused(name, f"{_mb(total)} inflated; at most {_mb(limits.total_bytes)} are taken")
    for entry in entries:
        ratio = entry.file_size // max(1, entry.compress_size)
        if entry.file_size > _SMALL_BYTES and ratio > limits.ratio:
            raise _refused(name, f"a part that inflates {ratio} times; at most {limits.ratio}")


def _check_part(file: BinaryIO, entry: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    """Inflate one part and see that it is as large as it says, and its cells near each other."""
    size = 0
    corner = _Corner()
    for piece in _inflated(file, entry):
        size += len(piece)
        if size > entry.file_size:
            raise _refused(name, "a part that is larger than it claims")
        corner.see(piece)
        if corner.too_long:
            raise _refused(name, "a tag longer than a megabyte")
        if corner.cells > limits.cells:
            raise _refused(
                name,
                f"cells as far apart as row {corner.row} and column {corner.column};"
                f" a sheet may span {limits.cells} cells",
            )


class _Corner:
    """The farthest row and column that the cells of a part name."""

    def __init__(self) -> None:
        self.row = self.column = 0
        self.too_long = False
        self._rest = b""  # a tag that the next piece may complete

    @property
    def cells(self) -> int:
        return self.row * self.column

    def see(self, piece: bytes) -> None:
        """Take the next piece; what is no XML has no addresses in it."""
        text = self._rest + piece
        found = _ADDRESS.findall(text)
        last = text.rfind(b"<")
        self._rest = text[last:] if last >= 0 and _BEGUN.match(text, last) else text[-_NAME:]
        self.too_long = len(self._rest) > _LONGEST_TAG
        if found:
            self.row = max(self.row, *map(int, {digits for _, digits in found}))
            self.column = max(self.column, *map(_number, {letters for letters, _ in found}))


def _number(letters: bytes) -> int:
    """A column's number by its letters; A is 1."""
    number = 0
    for letter in letters.upper()[:8]:
        number = number * 26 + letter - 64
    return number


def _inflated(file: BinaryIO, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a part, whatever its directory entry says about its size."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a part is missing")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    left = entry.compress_size
    if entry.compress_type not in (_STORED, _DEFLATED) or entry.flag_bits & 1:
        raise zipfile.BadZipFile("a part is encrypted or compressed in an unusual way")
    stream = zlib.decompressobj(-zlib.MAX_WBITS) if entry.compress_type == _DEFLATED else None
    while left and (data := file.read(min(left, _PIECE_BYTES))):
        left -= len(data)
        if stream is None:
            yield data
            continue
        while data:
            yield stream.decompress(data, _PIECE_BYTES)
            data = stream.unconsumed_tail
    if stream is not None:
        yield stream.flush()
        if not stream.eof:
            raise zipfile.BadZipFile("a part is cut off")


def _refused(name: str, what: str) -> InputError:
    return InputError(
        f"{name} is not opened: it has {what}",
        hint="is it a workbook somebody made? export the sheet as CSV",
    )


def _mb(size: int) -> str:
    return f"{size >> 20} MB"
