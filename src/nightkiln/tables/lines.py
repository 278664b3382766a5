"""The lines of a source file, with the count that makes resuming and messages possible.

Lines end at the byte `\n` and nowhere else: `str.splitlines` would also cut at
U+2028 and U+0085, which are ordinary characters inside values. The file is read
by bounded calls, so a file without any line end cannot fill the memory. Nothing
here guesses an encoding: input is UTF-8, or made so by `streams`, or refused.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Final

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import Flaw
from nightkiln.tables.base import CLIPPED, MAX_LINE_BYTES, Place
from nightkiln.tables.streams import BOM, UTF8, BrokenStream, open_text

TOO_LONG: Final = b"\0\n"  # stands for a line beyond the limit; as no format has it, it is seen
LONG: Final = Flaw(
    f"longer than {MAX_LINE_BYTES >> 20} MB",
    "is a quote opened here and never closed, or a line end missing?",
)
NUL: Final = Flaw("a NUL character, which no text has", "is this a text file?")
_PIECE_BYTES: Final = 1 << 20
_EVIDENCE_BYTES: Final = 1 << 28  # of a file that are looked at for what it is
_CHARACTER_BYTES: Final = 4


class Lines:
    """Iterates over a file's lines as bytes, and knows where it stands.

    Whoever reads records of several lines says `record_done` after each, so that
    the size limit holds for the record and errors name its first line. A line
    beyond the limit is passed over and given as TOO_LONG.
    """

    def __init__(self, file: io.BufferedReader, source: SourceSpec, start: Place) -> None:
        self.offset = start.offset  # bytes of UTF-8 consumed
        self.line = start.line  # lines consumed
        self.record_offset = start.offset  # where the record in work begins
        self.record_line = start.line  # lines before it
        self.cut_head = b""  # the beginning of the last line that was too long
        self.cut_quotes = 0  # how many quotes were in it
        self.is_marked = False  # as UTF-8, by a mark at its beginning
        self._file = file
        self._source = source
        self._is_utf8: bool | None = None  # None: not looked at

    def __iter__(self) -> Iterator[bytes]:
        readline = self._file.readline
        try:
            while line := readline(MAX_LINE_BYTES + 1):
                self.line += 1
                self.offset += len(line)
                yield line if len(line) <= MAX_LINE_BYTES else self._passed_over(line)
        except BrokenStream as broken:
            raise self.broken(broken) from None

    def _passed_over(self, line: bytes) -> bytes:
        """Read to the end of a line without keeping it."""
        self.cut_head = line[: CLIPPED * _CHARACTER_BYTES]
        self.cut_quotes = line.count(b'"')
        while line and not line.endswith(b"\n"):
            line = self._file.readline(_PIECE_BYTES)
            self.offset += len(line)
            self.cut_quotes += line.count(b'"')
        return TOO_LONG

    def record_done(self) -> None:
        """The next line begins a new record."""
        self.record_offset = self.offset
        self.record_line = self.line

    def error(self, what: str, *, line: int | None = None, hint: str = "") -> InputError:
        """An error about the current line, or about the one that is named."""
        at = self.line if line is None else line
        return InputError(f"{self._source.name}, line {at}: {what}", line=at, hint=hint)

    def about_file(self, what: str, *, hint: str = "") -> InputError:
        """An error about the file as a whole."""
        return InputError(f"{self._source.name}: {what}", hint=hint)

    def broken(self, broken: BrokenStream) -> InputError:
        """The error for a stream that ends before its end."""
        return self.error(broken.what, line=self.line + 1, hint=broken.hint)

    def undecodable(self, line: bytes, index: int) -> Flaw:
        """What is wrong with a line that is no text, at the first byte that shows it.

        Raises InputError when the file as a whole is not UTF-8: then no line of
        it is to be trusted.
        """
        encoding = self._source.encoding
        if encoding not in (None, UTF8):
            character = len(line[:index].decode()) + 1
            return Flaw(f"not {encoding}: character {character} of the line", "")
        offset = self.offset - len(line) + index
        flaw = Flaw(f"not UTF-8: byte 0x{line[index]:02x} at offset {offset} of the file")
        if encoding is None and not self._whole_is_utf8():
            raise self.error(
                flaw.reason,
                hint="name the file's encoding, as in --encoding latin-1 or --encoding cp1252;"
                " with --encoding utf-8 only the rows that are none are bad",
            )
        return flaw

    def _whole_is_utf8(self) -> bool:
        """True with a mark, or when more lines are UTF-8 beyond ASCII than are no UTF-8."""
        if self._is_utf8 is None:
            self._is_utf8 = self.is_marked or _looks_like_utf8(self._source)
        return self._is_utf8


@contextlib.contextmanager
def open_lines(source: SourceSpec, start: Place) -> Iterator[Lines]:
    """The lines of a source from `start`; at the very start a UTF-8 BOM is stepped over."""
    with open_text(source) as file:
        lines = Lines(file, source, start)
        try:
            head = file.peek(len(BOM))[: len(BOM)]
            if not head:
                raise lines.about_file("the file is empty")
            lines.is_marked = head == BOM
            if start.offset == 0 and lines.is_marked:
                lines.offset = lines.record_offset = len(BOM)
            _skip(file, lines.offset)
        except BrokenStream as broken:
            raise lines.broken(broken) from None
        yield lines


def _skip(file: io.BufferedReader, count: int) -> None:
    """Step over bytes: by a jump where that is possible, else by reading."""
    if isinstance(file.raw, io.FileIO):
        file.seek(count)
        return
    while count and (piece := file.read(min(count, _PIECE_BYTES))):
        count -= len(piece)


def _looks_like_utf8(source: SourceSpec) -> bool:
    good = broken = 0
    with open_text(source) as file:
        lines = Lines(file, source, Place())
        for line in lines:
            if not line.isascii():
                try:
                    line.decode()
                    good += 1
                except UnicodeDecodeError:
                    broken += 1
            if lines.offset > _EVIDENCE_BYTES:
                break
    return good > broken
