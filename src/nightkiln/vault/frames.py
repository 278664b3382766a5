"""Journal frames: `[length u32, crc32c u32, payload]`, little endian.

A payload is one msgpack array whose first element says its kind. The length
is never zero, so a run of zero bytes (a file that grew and was not written
before a power cut) is a bad frame like any other damage. Whoever reads stops at
the first bad frame: nothing after it can be trusted to be in place.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

import google_crc32c
import msgspec

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault
from nightkiln.core.usage import Saved

MAGIC: Final = b"NKJRNL1\n"
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
_HEAD: Final = struct.Struct("<II")


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """These tries are about to leave; without an end they are maybe billed."""

    at: float  # epoch seconds
    backend: str
    tries: tuple[tuple[int, int], ...]  # (row, attempt number)


class Faulted(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A try ended without an answer for its row."""

    row: int
    attempt: Attempt


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A row's answer. `attempt` is None when no try of the row's brought it.

    That is a poison verdict, or the answer to an identical request (`reused`).
    """

    row: int
    attempt: Attempt | None = None
    text: str | None = None
    fault: Fault | None = None
    finish_reason: str = ""
    model: str = ""
    reused: bool = False
    body: bytes | None = None
    saved: Saved | None = None  # of a reused answer


Frame: TypeAlias = Sent | Faulted | Answered

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Frame).decode


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, head included."""
    payload = _encode(frame)
    return _HEAD.pack(len(payload), google_crc32c.value(payload)) + payload


def decode(data: bytes) -> Iterator[Frame]:
    """The good frames of a journal's bytes, up to the first bad one."""
    if data[: len(MAGIC)] != MAGIC:
        return
    view, at = memoryview(data), len(MAGIC)
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if not 0 < length <= MAX_FRAME_BYTES or at + length > len(data):
            return
        payload = bytes(view[at : at + length])
        if google_crc32c.value(payload) != checksum:
            return
        try:
            yield _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        at += length
