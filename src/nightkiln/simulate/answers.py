"""What was asked and what is answered, as JSON bytes.

Every answer starts with `h:` and the hash of the last message, so that a client can prove that
each row got its own answer. Pure: the clock and the output length are arguments.
"""

import base64
import enum
import hashlib
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

FILLER: Final = b"clay kiln ember glaze slip bisque cone wheel oxide ash flame stone "
BYTES_PER_TOKEN: Final = 4
HASH_TOKEN_BYTES: Final = 19  # "h:", sixteen digits and a space
MAX_OUT_TOKENS: Final = 131_072
MODEL: Final = "simulated"
MODELS_BODY: Final = msgspec.json.encode(
    {
        "object": "list",
        "data": [
            {
                "id": MODEL,
                "object": "model",
                "created": 1,
                "owned_by": "nightkiln",
                "max_model_len": MAX_OUT_TOKENS,
            }
        ],
    }
)

# The shape is checked by msgspec; what a part holds is the client's own business.
Content = str | list[Any] | dict[str, Any] | None


class _Message(msgspec.Struct, gc=False):
    content: Content = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _ResponseFormat(msgspec.Struct):
    type: str = "text"


class _ChatBody(msgspec.Struct):
    messages: list[_Message]
    model: str = MODEL
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    response_format: _ResponseFormat | None = None


class _CompletionBody(msgspec.Struct):
    prompt: str | list[Any]
    model: str = MODEL
    max_tokens: int | None = None
    stream: bool | None = False


class _ResponseBody(msgspec.Struct):
    input: str | list[Any]
    model: str = MODEL
    max_output_tokens: int | None = None
    stream: bool | None = False


class _EmbeddingBody(msgspec.Struct):
    input: str | list[Any]
    model: str = MODEL
    encoding_format: str = "float"


class Kind(enum.StrEnum):
    """Which of the model's routes was asked."""

    CHAT = "chat"
    COMPLETION = "completion"
    RESPONSE = "response"
    EMBEDDING = "embedding"


class Ask(msgspec.Struct, kw_only=True):
    """One request to a model, parsed."""

    kind: Kind = Kind.CHAT
    model: str
    prompt: int  # the prompt's hash
    prompt_tokens: int
    output_tokens: int
    is_cut: bool = False  # max_tokens ended it
    as_json: bool = False
    stream: bool = False
    stream_usage: bool = False
    inputs: list[Any] | None = None  # what to embed
    as_base64: bool = False


_decode_chat: Final = msgspec.json.Decoder(_ChatBody).decode
_decode_completion: Final = msgspec.json.Decoder(_CompletionBody).decode
_decode_response: Final = msgspec.json.Decoder(_ResponseBody).decode
_decode_embedding: Final = msgspec.json.Decoder(_EmbeddingBody).decode


def prompt_hash(content: object) -> str:
    """The sixteen hexadecimal digits that a right answer starts with, after `h:`.

    It is blake2b-64 of the text of the last message; of content parts, the last part's text.
    """
    return f"{_hash(content):016x}"


def read_chat(body: bytes, *, wanted_tokens: int) -> Ask:
    """Parse a chat completion request; raises msgspec.MsgspecError or ValueError."""
    asked = _decode_chat(body)
    if not asked.messages:
        raise ValueError("messages must not be empty")
    content = asked.messages[-1].content
    cap = asked.max_completion_tokens or asked.max_tokens or MAX_OUT_TOKENS
    if cap < 0:
        raise ValueError("max_tokens must be positive")
    as_json = asked.response_format is not None and asked.response_format.type != "text"
    size = len(content) if isinstance(content, str) else len(body)
    return Ask(
        model=asked.model,
        prompt=_hash(content),
        prompt_tokens=max(1, size // BYTES_PER_TOKEN),
        output_tokens=min(wanted_tokens, cap, MAX_OUT_TOKENS),
        is_cut=wanted_tokens > cap and not as_json,
        as_json=as_json,
        stream=bool(asked.stream),
        stream_usage=asked.stream_options is not None and asked.stream_options.include_usage,
    )


def read_completion(body: bytes, *, wanted_tokens: int) -> Ask:
    """Parse a completion request; raises msgspec.MsgspecError or ValueError."""
    asked = _decode_completion(body)
    return _asked(Kind.COMPLETION, asked, asked.prompt, asked.max_tokens, wanted_tokens)


def read_response(body: bytes, *, wanted_tokens: int) -> Ask:
    """Parse a request for a response; raises msgspec.MsgspecError or ValueError."""
    asked = _decode_response(body)
    return _asked(Kind.RESPONSE, asked, asked.input, asked.max_output_tokens, wanted_tokens)


def _asked(
    kind: Kind, asked: _CompletionBody | _ResponseBody, text: object, cap: int | None, wanted: int
) -> Ask:
    if asked.stream:
        raise ValueError(f"a {kind} is not streamed here")
    if cap is not None and cap < 0:
        raise ValueError("the limit of tokens must be positive")
    size = len(text) if isinstance(text, str) else len(msgspec.json.encode(text))
    return Ask(
        kind=kind,
        model=asked.model,
        prompt=_hash(text),
        prompt_tokens=max(1, size // BYTES_PER_TOKEN),
        output_tokens=min(wanted, cap or MAX_OUT_TOKENS, MAX_OUT_TOKENS),
        is_cut=wanted > (cap or MAX_OUT_TOKENS),
    )


def read_embedding(body: bytes) -> Ask:
    """Parse an embedding request; raises msgspec.MsgspecError or ValueError."""
    asked = _decode_embedding(body)
    inputs = asked.input if isinstance(asked.input, list) else [asked.input]
    if not inputs:
        raise ValueError("input must not be empty")
    size = len(asked.input) if isinstance(asked.input, str) else len(body)
    return Ask(
        kind=Kind.EMBEDDING,
        model=asked.model,
        prompt=_hash(asked.input),
        prompt_tokens=max(1, size // BYTES_PER_TOKEN),
        output_tokens=0,
        inputs=inputs,
        as_base64=asked.encoding_format == "base64",
    )


def chat_body(ask: Ask, *, created: int) -> bytes:
    """The whole answer of a chat completion."""
    return (
        b'{"id":"chatcmpl-%016x","object":"chat.completion","created":%d,"model":%b,'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"%b","refusal":null},'
        b'"logprobs":null,"finish_reason":"%b"}],"usage":%b}' % _completed(ask, created)
    )


def completion_body(ask: Ask, *, created: int) -> bytes:
    """The whole answer of a completion."""
    return (
        b'{"id":"cmpl-%016x","object":"text_completion","created":%d,"model":%b,'
        b'"choices":[{"index":0,"text":"%b","logprobs":null,"finish_reason":"%b"}],"usage":%b}'
        % _completed(ask, created)
    )


def _completed(ask: Ask, created: int) -> tuple[int, int, bytes, bytes, bytes, bytes]:
    """What chats and completions say, in their common order."""
    return (
        ask.prompt,
        created,
        msgspec.json.encode(ask.model),
        _first_text(ask) + _filler(ask),
        _finish_reason(ask),
        _usage(ask),
    )


def response_body(ask: Ask, *, created: int) -> bytes:
    """The whole answer of a response."""
    ended = (
        b'"incomplete","incomplete_details":{"reason":"max_output_tokens"}'
        if ask.is_cut
        else b'"completed","incomplete_details":null'
    )
    return (
        b'{"id":"resp_%016x","object":"response","created_at":%d,"status":%b,"error":null,'
        b'"model":%b,"output":[{"type":"message","id":"msg_%016x","status":"completed",'
        b'"role":"assistant","content":[{"type":"output_text","text":"%b","annotations":[]}]}],'
        b'"usage":{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},'
        b'"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}}'
        % (
            ask.prompt,
            created,
            ended,
            msgspec.json.encode(ask.model),
            ask.prompt,
            _first_text(ask) + _filler(ask),
            ask.prompt_tokens,
            ask.output_tokens,
            ask.prompt_tokens + ask.output_tokens,
        )
    )


def body_without_choices(ask: Ask, *, created: int) -> bytes:
    """Valid JSON that looks like an answer and holds none."""
    return b'{"id":"chatcmpl-%016x","object":"chat.completion","created":%d,"usage":%b}' % (
        ask.prompt,
        created,
        _usage(ask),
    )


def embedding_body(ask: Ask, *, dimensions: int) -> bytes:
    """One vector per input; the same input always has the same vector."""
    rows = []
    for index, text in enumerate(ask.inputs or ()):
        vector = _vector(text, dimensions)
        packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        shown = packed if ask.as_base64 else vector
        rows.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
    return msgspec.json.encode({"object": "list", "data": rows, "model": ask.model, "usage": usage})


def stream_events(ask: Ask, *, created: int, step: int) -> Iterator[bytes]:
    """The server-sent events of a streamed answer; their texts join to the unstreamed one."""
    head = b'data: {"id":"chatcmpl-%016x","object":"chat.completion.chunk","created":%d,' % (
        ask.prompt,
        created,
    )
    head += b'"model":%b,' % msgspec.json.encode(ask.model)
    choice = head + b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
    yield choice % (b'{"role":"assistant","content":"%b"}' % _first_text(ask), b"null")
    rest, size = _filler(ask), step * BYTES_PER_TOKEN
    for start in range(0, len(rest), size):
        yield choice % (b'{"content":"%b"}' % rest[start : start + size], b"null")
    end = choice % (b"{}", b'"%b"' % _finish_reason(ask))
    if ask.stream_usage:
        end += b'%b"choices":[],"usage":%b}\n\n' % (head, _usage(ask))
    yield end + b"data: [DONE]\n\n"


def _hash(content: object) -> int:
    if isinstance(content, str):
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest())
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        part = content[-1]
        if isinstance(part.get("text"), str):
            return _hash(part["text"])
        if "text" not in part and "content" in part:
            return _hash(part["content"])
    canonical = msgspec.json.encode(content, order="sorted")
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest())


def _first_text(ask: Ask) -> bytes:
    # Escaped for JSON already, as the filler needs no escaping.
    return (b'{\\"h\\": \\"%016x\\"}' if ask.as_json else b"h:%016x ") % ask.prompt


def _filler(ask: Ask) -> bytes:
    size = ask.output_tokens * BYTES_PER_TOKEN - HASH_TOKEN_BYTES
    if ask.as_json or size <= 0:
        return b""
    return (FILLER * (size // len(FILLER) + 1))[:size]


def _finish_reason(ask: Ask) -> bytes:
    return b"length" if ask.is_cut else b"stop"


def _usage(ask: Ask) -> bytes:
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
        ask.prompt_tokens,
        ask.output_tokens,
        ask.prompt_tokens + ask.output_tokens,
    )


def _vector(text: object, dimensions: int) -> list[float]:
    digest = hashlib.shake_128(b"%016x" % _hash(text)).digest(4 * dimensions)
    return [round(number / 2**31, 6) for number in struct.unpack(f"<{dimensions}i", digest)]
