"""What an engine's process and its owner say to each other, and how that becomes bytes.

A frame is four bytes of length and one MessagePack value. The owner sends
`Load` once and then `Orders`; the process answers `Loaded` once and then
`Told`, or `Died` as its last word. The bytes never leave this machine, and both
ends are of one version: nothing here is a format to keep.
"""

import socket
from typing import Any, Final, Generic, TypeVar

import msgspec

from nightkiln.backends.engines.asking import EngineSampling

FRAME_LIMIT: Final = 1 << 28  # bytes; more than any request that fits a model
PIECE: Final = 1 << 18  # bytes read at a time
_LENGTH: Final = 4


class Load(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Which model to load, and how."""

    machine: str  # module:class that is made of this and fulfils `Machine`
    model: str  # a GGUF file or an OpenVINO folder
    context: int  # tokens of a prompt with its answer
    own_tokens: bool  # True: prompts come as ids, and answers go back as ids
    stops: tuple[int, ...] = ()  # tokens that end an answer, beside those the engine knows
    kv_cache_gb: int = 1
    kv_blocks: int | None = None  # instead of as many as fit in there
    side_by_side: int = 64  # in one step
    ahead: int = 0  # more in the engine: its steps are filled with their prompts
    precision: str = "auto"
    properties: dict[str, str | bool] = {}  # more for the engine, by its own names
    template: str = ""  # for chats; tried before the model is loaded
    samples: tuple[str, ...] = ()  # texts to cut into tokens, so that the owner may compare

    @property
    def in_engine(self) -> int:
        """How many requests are in the engine at a time; further ones wait in its process."""
        return self.side_by_side + self.ahead


class Learn(msgspec.Struct, frozen=True, array_like=True):
    """A way of sampling, said once and then called by its number until it is to be forgotten."""

    number: int
    sampling: EngineSampling


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """One request: its prompt as ids (64 bits each, this machine's order) or as text."""

    number: int  # of the request; chosen by the owner, never used twice
    sampling: int  # the number of a `Learn`
    ids: bytes = b""
    text: str = ""


class Orders(msgspec.Struct, frozen=True, tag=True):
    """All that the owner has to say at one time, done in this order."""

    learn: list[Learn]
    cancel: list[int]
    ask: list[Ask]
    forget: list[int] = []  # ways of sampling that nothing asked before or now needs; done first


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What only the engine knows about its model."""

    template: str = ""  # for chats
    bos: str = ""
    eos: str = ""
    stops: tuple[int, ...] = ()  # all tokens that end an answer
    samples: tuple[tuple[int, ...], ...] = ()  # the ids of the texts it was given


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """The end of one request."""

    number: int
    ids: list[int]
    reason: str  # stop, length, or exhausted: the engine's memory holds no such request
    prompt: int = 0  # its tokens
    logprobs: list[float] = []  # of the ids, when asked for
    text: str | None = None  # of the ids, where the owner has no tokenizer
    pieces: list[str] = []  # each id's own text, with logprobs, where the owner has no tokenizer


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """One request that the engine does not take."""

    number: int
    code: str
    message: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """What has ended since the last one. With nothing in it: a sign of life."""

    ended: list[Ended]
    refused: list[Refused]


class Died(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The last word of a process that could still say why."""

    reason: str
    error: str = ""  # the name of one of our own errors, or nothing
    hint: str = ""
    is_told: bool = True  # False: these are the owner's own words about a process that said nothing


ToChild = Load | Orders
FromChild = Loaded | Told | Died
T = TypeVar("T")
_encode: Final = msgspec.msgpack.Encoder().encode


def framed(message: ToChild | FromChild) -> bytes:
    """The bytes of a message."""
    body = _encode(message)
    return len(body).to_bytes(_LENGTH, "little") + body


class Unframing(Generic[T]):
    """Cuts a stream of bytes into messages. Keeps what belongs to a frame not yet whole."""

    def __init__(self, kinds: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(kinds).decode
        self._held = bytearray()

    def messages(self, data: bytes) -> list[T]:
        """The messages that these bytes complete. Raises ValueError for what is no frame."""
        held = self._held
        held += data
        at = 0
        whole: list[T] = []
        while len(held) - at >= _LENGTH:
            size = int.from_bytes(held[at : at + _LENGTH], "little")
            if size > FRAME_LIMIT:
                raise ValueError(f"a frame of {size} bytes")
            if len(held) - at - _LENGTH < size:
                break
            start, at = at + _LENGTH, at + _LENGTH + size
            whole.append(self._decode(bytes(held[start:at])))
        if at:
            del held[:at]
        return whole


def received(end: socket.socket) -> bytes | None:
    """What has arrived, without waiting; None when nothing has, empty when nothing more will."""
    try:
        return end.recv(PIECE, socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return None
    except ConnectionError:
        return b""
