"""The bytes of a source as UTF-8: decompressed, decoded, and refused where they cannot be.

Everything streams through one buffer, so a terabyte needs as much memory as a
line. Compressed data is capped twice, by how much it grows and by how much it
becomes, so a file made to burst fills neither memory nor disk. An encoding is
only ever told, never guessed: bytes that give another one away are an error that
says how to tell it. Bytes that do not fit the told encoding become the byte
0xff, which UTF-8 never has, so the line they are on is a bad row further up.
"""

import codecs
import contextlib
import io
from collections.abc import Iterator
from typing import Final

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import SourceSpec

MAX_RATIO: Final = 200  # of text to compressed bytes, once there is more than FREE_BYTES of it
FREE_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES: Final = 256 * 1024**3  # of text in one compressed file
BOM: Final = b"\xef\xbb\xbf"
UTF8: Final = "utf-8"
_BUFFER_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 18
_HEAD_BYTES: Final = 4096
_FLAWED: Final = "nightkiln-flawed"
_MARKS: Final = {  # the longer ones first: one begins like another
    "utf-32-le": b"\xff\xfe\x00\x00",
    "utf-32-be": b"\x00\x00\xfe\xff",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
}
_ARCHIVES: Final = {
    b"\x1f\x8b": "gzip data; give its name the ending .gz, or say --format {kind}.gz",
    b"\x28\xb5\x2f\xfd": "zstd data; give its name the ending .zst, or say --format {kind}.zst",
    b"PK\x03\x04": "a ZIP archive or a workbook; unpack it, or say --format xlsx",
    b"PAR1": "Parquet; say --format parquet",
}


class BrokenStream(Exception):
    """The stream cannot be read on. `Lines` says where that is."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def encoding_of(name: str | None) -> str | None:
    """The one name of an encoding. Raises UsageError for one that is none."""
    if name is None:
        return None
    found = _codec(name)
    if found is None or found.incrementaldecoder is None:
        raise UsageError(
            f'there is no encoding "{name}"',
            hint="often used are utf-8, utf-16, latin-1, cp1252, shift_jis and gb18030",
        )
    return UTF8 if found.name == "utf-8-sig" else found.name


def _codec(name: str) -> codecs.CodecInfo | None:
    try:
        with contextlib.suppress(UnicodeDecodeError):  # a letter alone is little to some
            b"a".decode(name)
        return codecs.lookup(name)
    except (LookupError, ValueError):  # unknown, or bytes to bytes, or nothing at all
        return None


@contextlib.contextmanager
def open_text(source: SourceSpec) -> Iterator[io.BufferedReader]:
    """A source from its beginning as UTF-8. Raises InputError for a file that is none."""
    with contextlib.ExitStack() as stack:
        plain = source.compression is None
        raw: io.RawIOBase = io.FileIO(source.path) if plain else _Decompressed(source)
        file: io.BufferedReader = io.BufferedReader(raw, _BUFFER_BYTES)
        stack.enter_context(file)
        if source.encoding is None:
            _refuse_others(source, _head(file))
        elif source.encoding != UTF8:
            _check_mark(source, _head(file))
            file = io.BufferedReader(_Transcoded(file, source.encoding), _BUFFER_BYTES)
            stack.enter_context(file)
        yield file


def _head(file: io.BufferedReader) -> bytes:
    """The first bytes, which stay to be read; what is broken shows when they are."""
    try:
        return file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    except BrokenStream:
        return b""


def _refuse_others(source: SourceSpec, head: bytes) -> None:
    """Raise InputError for what is evidently no UTF-8, saying how to have it read."""
    for marked, mark in _MARKS.items():
        if head.startswith(mark):
            family = marked[:6]
            raise InputError(
                f"{source.name}: the file is {family.upper()}, not UTF-8: it begins with the byte"
                f" order mark 0x{mark.hex()} at offset 0",
                line=1,
                hint=f"have it read as that: --encoding {family}",
            )
    for magic, what in _ARCHIVES.items():
        if head.startswith(magic):
            said, _, hint = what.format(kind=source.kind).partition("; ")
            raise InputError(f"{source.name}: the file is {said}, not text", line=1, hint=hint)
    if (name := _unmarked(head)) is not None:
        at = 1 if name.endswith("le") else 0
        raise InputError(
            f"{source.name}: the file is UTF-16, not UTF-8: from offset {at} on every second byte"
            " is zero",
            line=1,
            hint=f"have it read as that: --encoding {name}",
        )


def _unmarked(head: bytes) -> str | None:
    """UTF-16 without a mark, where it is evident: half of its bytes are zero, all on one side."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    needed = max(1, len(head) // 4)
    if odd >= needed and not even:
        return "utf-16-le"
    return "utf-16-be" if even >= needed and not odd else None


def _check_mark(source: SourceSpec, head: bytes) -> None:
    """Raise InputError where an encoding needs a mark to be read and there is none."""
    if source.encoding in ("utf-16", "utf-32") and head:
        marks = [mark for name, mark in _MARKS.items() if name.startswith(source.encoding)]
        if not any(map(head.startswith, marks)):
            raise InputError(
                f"{source.name}: no byte order mark tells which {source.encoding} this is",
                line=1,
                hint=f"say --encoding {source.encoding}-le or --encoding {source.encoding}-be",
            )


def _flawed(error: UnicodeError) -> tuple[str | bytes, int]:
    """Put what is never UTF-8 in the place of what cannot be decoded."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    assert isinstance(error, UnicodeEncodeError)
    return b"\xff" * (error.end - error.start), error.end


codecs.register_error(_FLAWED, _flawed)


class _Decompressed(io.RawIOBase):
    """A compressed file as the bytes inside; several members are one stream."""

    def __init__(self, source: SourceSpec) -> None:
        import pyarrow as pa

        super().__init__()
        self._kind = source.compression or ""
        self._file = pa.OSFile(source.path, "rb")
        self._inside: pa.CompressedInputStream | None = None
        if self._file.size():
            self._inside = pa.CompressedInputStream(self._file, self._kind)
        self._given = 0
        self._over: BrokenStream | None = None  # what ended the reading, once it did

    def readable(self) -> bool:
        """True: this is what it is for."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer. Raises BrokenStream."""
        if self._inside is None:
            return 0
        if self._over is not None:
            raise self._over
        try:
            count = int(self._inside.readinto(buffer))
        except OSError as error:
            if error.errno is not None:  # the disk's, not the archive's
                raise
            self._over = self._broken(str(error))
        else:
            self._given += count
            self._over = self._burst()
        if self._over is not None:
            raise self._over
        return count

    def _broken(self, said: str) -> BrokenStream:
        if not self._given and "Truncated" not in said:
            return BrokenStream(f"this is no {self._kind} data", "is the ending of the name right?")
        what = "ends early" if "Truncated" in said else "is damaged"
        return BrokenStream(
            f"the {self._kind} data {what}, after {self._given:,} bytes of text",
            "get the file again; the lines before could be read",
        )

    def _burst(self) -> BrokenStream | None:
        """What is wrong with the size of what came out, if anything is."""
        if self._given > MAX_BYTES:
            return BrokenStream(
                f"more than {MAX_BYTES:,} bytes of text in one {self._kind} file",
                "unpack it, or split it",
            )
        if self._given > FREE_BYTES and self._given > MAX_RATIO * self._file.tell():
            return BrokenStream(
                f"the {self._kind} data grows more than {MAX_RATIO} times, to {self._given:,}"
                " bytes so far, as a file does that is made to fill a disk",
                "if it is to be trusted, unpack it and give the file itself",
            )
        return None

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


class _Transcoded(io.RawIOBase):
    """Bytes of one encoding as UTF-8."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        super().__init__()
        self._file = file
        self._decode = codecs.getincrementaldecoder(encoding)(_FLAWED).decode
        self._left = memoryview(b"")
        self._over = False

    def readable(self) -> bool:
        """True: this is what it is for."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer. Raises BrokenStream."""
        while not self._left and not self._over:
            piece = self._file.read(_PIECE_BYTES)
            self._over = not piece
            text = self._decode(piece, self._over)
            self._left = memoryview(text.encode(UTF8, _FLAWED))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
