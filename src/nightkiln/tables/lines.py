"""The lines of a source file, with the count that makes resuming and messages possible.

Lines end at the byte `\\n` and nowhere else: `str.splitlines` would also cut at
U+2028 and U+0085, which are ordinary characters inside values. The file is read
by bounded calls, so a file without any line end cannot fill the memory. Nothing
here guesses an encoding: input is UTF-8 or refused.
"""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import MAX_LINE_BYTES, Place

_BUFFER_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_CONVERT: Final = "convert the file to UTF-8, for example: iconv -f {} -t UTF-8 IN > OUT"


class Lines:
    """Iterates over a file's lines as bytes, and knows where it stands.

    Whoever reads records of several lines says `record_done` after each, so that
    the size limit holds for the record and errors name its first line.
    """

    def __init__(self, file: BinaryIO, name: str, start: Place) -> None:
        self.offset = start.offset  # bytes consumed
        self.line = start.line  # lines consumed
        self.record_offset = start.offset  # where the record in work begins
        self.record_line = start.line  # lines before it
        self._file = file
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        readline = self._file.readline
        while line := readline(MAX_LINE_BYTES + 1):
            self.line += 1
            self.offset += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise self.too_long()
            yield line

    def text(self) -> Iterator[str]:
        """The same lines as text, checked for what a CSV parser would swallow silently."""
        for line in self:
            if self.offset - self.record_offset > MAX_LINE_BYTES:
                raise self.too_long()
            if b"\0" in line:
                raise self.error("a NUL byte, which no text has", hint="is this a text file?")
            try:
                yield line.decode()
            except UnicodeDecodeError as exc:
                raise self.undecodable(line, exc.start) from None

    def record_done(self) -> None:
        """The next line begins a new record."""
        self.record_offset = self.offset
        self.record_line = self.line

    def error(self, what: str, *, line: int | None = None, hint: str = "") -> InputError:
        """An error about the current line, or about the one that is named."""
        at = self.line if line is None else line
        return InputError(f"{self._name}, line {at}: {what}", line=at, hint=hint)

    def about_file(self, what: str, *, hint: str = "") -> InputError:
        """An error about the file as a whole."""
        return InputError(f"{self._name}: {what}", hint=hint)

    def undecodable(self, line: bytes, index: int) -> InputError:
        """The error for a byte of the current line that is not UTF-8."""
        offset = self.offset - len(line) + index
        return self.error(
            f"not UTF-8: byte 0x{line[index]:02x} at offset {offset} of the file",
            hint=_CONVERT.format("LATIN1"),
        )

    def too_long(self) -> InputError:
        """The error for a record beyond the limit, at the line where it begins."""
        return self.error(
            f"the record that begins here is longer than {MAX_LINE_BYTES >> 20} MB",
            line=self.record_line + 1,
            hint="is a quote opened here and never closed, or a line end missing?",
        )


@contextlib.contextmanager
def open_lines(source: SourceSpec, start: Place) -> Iterator[Lines]:
    """The lines of a source from `start`; at the very start a UTF-8 BOM is stepped over."""
    with open(source.path, "rb", buffering=_BUFFER_BYTES) as file:
        lines = Lines(file, source.name, start)
        if start.offset == 0:
            head = file.read(3)
            if head[:2] in _UTF16_BOMS:
                raise InputError(
                    f"{source.name}, line 1: the file is UTF-16, not UTF-8",
                    line=1,
                    hint=_CONVERT.format("UTF-16"),
                )
            if not head:
                raise InputError(f"{source.name}: the file is empty")
            if head == _BOM:
                lines.offset = lines.record_offset = len(_BOM)
        file.seek(lines.offset)
        yield lines
