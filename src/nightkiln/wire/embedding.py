"""OpenAI embeddings: a text that becomes a vector, and what a 200 says it became. Pure.

An answer's text is a compact JSON list of numbers, with the digits that the
server wrote. We ask for `float`, which every server knows; a reply in base64, as
`--param encoding_format=base64` or a batch line may ask for it, is spelled out.
"""

import base64
import binascii
import struct
from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt, WireBody
from nightkiln.wire.mishaps import NOTHING, broken, undecodable
from nightkiln.wire.passing import body_for
from nightkiln.wire.sampling import RESERVED, ROWS, encode, fields_of, head_of
from nightkiln.wire.tokencounts import TokenCounts, usage_of

PATH: Final = "/embeddings"
_RESERVED: Final = {**RESERVED, "input": ROWS.format("the input")}
_SPACES: Final = (b" ", b"\n", b"\t", b"\r")
_FLOAT_BYTES: Final = 4


class EmbeddingEncoder:
    """Turns one job's rows into request bodies. Raises UsageError for settings it cannot say."""

    __slots__ = ("_head", "_model")

    def __init__(self, model: str, sampling: Sampling) -> None:
        self._model = encode(model)
        said = fields_of(sampling, reserved=_RESERVED, names={})
        said.setdefault("encoding_format", b'"float"')
        self._head = head_of({"model": self._model, **said}) + b'"input":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row, whose text is the input."""
        if isinstance(prompt, str):
            return b"%b%b}" % (self._head, encode(prompt))
        if isinstance(prompt, WireBody):
            return body_for(prompt, self._model)
        raise UsageError("an embedding is of a text, not of messages")


class _Item(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw()
    index: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Item] | None = None
    model: str | None = None
    usage: TokenCounts | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Embeddings).decode
_numbers: Final = msgspec.json.Decoder(list[float]).decode
_packed: Final = msgspec.json.Decoder(str).decode


def parse_embedding(body: bytes, *, keep_body: bool = False) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises.

    Several inputs in one body give a list of vectors, in the order of their index.
    """
    try:
        found = _decode(body)
        if bytes(found.error) not in NOTHING:
            return broken("error_in_200", bytes(found.error))
        if not found.data:
            return broken("no_embedding", body)
        vectors = [_vector(bytes(item.embedding)) for item in sorted(found.data, key=_index)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return undecodable(problem, body)
    except (binascii.Error, struct.error, ValueError) as problem:
        return broken("unexpected_shape", body, str(problem))
    if not all(vectors):
        return broken("empty_embedding", body)
    return Reply(
        text=vectors[0] if len(vectors) == 1 else "[" + ",".join(vectors) + "]",
        usage=usage_of(found.usage),
        model=found.model or "",
        body=body if keep_body else None,
    )


def _index(item: _Item) -> int:
    return item.index


def _vector(raw: bytes) -> str:
    """A vector as compact JSON; empty when it has no numbers. Raises what decoding raises."""
    if raw[:1] == b'"':
        return _spelled_out(_packed(raw))
    if not _numbers(raw):
        return ""
    if any(space in raw for space in _SPACES):
        raw = msgspec.json.format(raw, indent=-1)
    return raw.decode()


def _spelled_out(packed: str) -> str:
    """Little-endian floats of four bytes as numbers: nine digits hold one exactly."""
    data = base64.b64decode(packed, validate=True)
    numbers = struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)
    if not all(number - number == 0 for number in numbers):
        raise ValueError("a number of the vector is infinite or none")
    return "[" + ",".join(f"{number:.9g}" for number in numbers) + "]" if numbers else ""
