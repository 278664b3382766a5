"""What the process that renders templates and its owner say to each other, as frames on a socket.

A frame is four bytes of length and one MessagePack value. Both ends are of one
version on one machine: nothing here is a format to keep.
"""

import socket
from typing import Any, Final

import msgspec

_LENGTH: Final = 4


class Compile(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The template of all rows to come. Said first, once."""

    text: str


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Some rows: JSON objects, or JSON lists of the values of `columns`."""

    rows: list[bytes]
    columns: tuple[str, ...] = ()
    careful: bool = False  # tell every row before the next is begun


class Name(msgspec.Struct, frozen=True, array_like=True):
    """A column that the template needs, and the line that names it first."""

    name: str
    line: int


class Compiled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The template can be read."""

    names: tuple[Name, ...]


class Broken(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The template cannot be read."""

    message: str
    line: int  # 0: no line in particular


class Failed(msgspec.Struct, frozen=True, array_like=True):
    """A row without a text."""

    message: str
    line: int  # 0: no line in particular
    unfit: bool = False  # the process ends after this row
    late: bool = False  # its time was over


class Rendered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The next rows of the batch, in order: their texts in UTF-8, or why there is none."""

    rows: list[bytes | Failed]


ToChild: Final[Any] = Compile | Batch
FromChild: Final[Any] = Compiled | Broken | Rendered
_encode: Final = msgspec.msgpack.Encoder().encode
_decoders: Final = {kinds: msgspec.msgpack.Decoder(kinds) for kinds in (ToChild, FromChild)}


def send(end: socket.socket, message: Any) -> None:
    """Send a message. Raises OSError, TimeoutError among them."""
    body = _encode(message)
    end.sendall(len(body).to_bytes(_LENGTH, "little") + body)


def receive(end: socket.socket, kinds: Any) -> Any:
    """The next message; None when the other end is closed. Raises OSError."""
    head = _exactly(end, _LENGTH)
    body = None if head is None else _exactly(end, int.from_bytes(head, "little"))
    return None if body is None else _decoders[kinds].decode(body)


def _exactly(end: socket.socket, size: int) -> bytearray | None:
    held = bytearray(size)
    view, got = memoryview(held), 0
    while got < size:
        count = end.recv_into(view[got:])
        if not count:
            return None
        got += count
    return held
