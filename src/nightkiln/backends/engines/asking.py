"""What an engine is asked: a row's messages and how to sample, as bytes and back.

The bytes are ours alone and never leave the process. Nothing here knows of any engine.
"""

import math
from typing import Any, Final

import msgspec

from nightkiln.backends.base import LARGER
from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt

DEFAULT_MAX_TOKENS: Final = 256  # when the job does not say
_SPACE: Final = b" \t\r\n"
_encode: Final = msgspec.json.Encoder().encode


class EngineSampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one row is sampled. Temperature 0 takes the most likely token each time."""

    max_tokens: int | None = None  # None: DEFAULT_MAX_TOKENS, or what the context still holds
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 1.0
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    ignore_eos: bool = False
    schema: str | None = None  # the text of a JSON schema that the answer has to follow
    logprobs: bool = False  # of the tokens that were taken
    top_logprobs: int = 0
    shrinks: bool = False  # the budget, to what the context still holds after the prompt
    body: bool = False  # the reply carries the whole answer in OpenAI's form


class TextPart(msgspec.Struct, frozen=True):
    """A piece of a message's content; the only kind that these models read."""

    type: str
    text: str


class Message(msgspec.Struct, frozen=True):
    """One message of a row."""

    role: str
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class Asked(msgspec.Struct, frozen=True):
    """A request body taken apart. `sampling` stays bytes: it is the same for all rows of a job."""

    sampling: msgspec.Raw
    messages: list[Message]


_decode_asked: Final = msgspec.json.Decoder(Asked).decode
_decode_sampling: Final = msgspec.json.Decoder(EngineSampling).decode


def parse_asked(body: bytes) -> Asked:
    """The parts of a body. Raises msgspec.MsgspecError for messages that are none."""
    return _decode_asked(body)


def parse_sampling(raw: bytes) -> EngineSampling:
    """The sampling of a body."""
    return _decode_sampling(raw)


def budget(said: EngineSampling, prompt: int, context: int) -> int | None:
    """How many tokens may be generated after a prompt; None where it does not fit the context.

    A budget that nobody asked for shrinks to what the context still holds, and so
    does that of a second try, which is ours.
    """
    room = context - prompt
    limit = said.max_tokens or DEFAULT_MAX_TOKENS
    if limit <= room:
        return limit
    is_asked = said.max_tokens is not None and not said.shrinks
    return None if is_asked or room < 1 else room


def with_larger_budget(said: EngineSampling, context: int) -> EngineSampling | None:
    """For a second try: twice the budget, or the context; None where that is no more."""
    most = context - 1  # a prompt has a token at least
    first = min(said.max_tokens or DEFAULT_MAX_TOKENS, most)
    second = min(LARGER * first, most)
    if second <= first:
        return None
    return msgspec.structs.replace(said, max_tokens=second, shrinks=True)


class BodyEncoder:
    """Turns one job's rows into bodies."""

    __slots__ = ("_raw_head", "_text_head", "sampling")

    def __init__(self, system: str | None, sampling: EngineSampling) -> None:
        first = b"" if system is None else _encode({"role": "system", "content": system}) + b","
        self.sampling = how = _encode(sampling)  # the same bytes in every body
        self._raw_head = b'{"sampling":' + how + b',"messages":[' + first
        self._text_head = self._raw_head + b'{"role":"user","content":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row: a text is one user message, Raw a JSON list of messages."""
        if isinstance(prompt, str):
            return b"%b%b}]}" % (self._text_head, _encode(prompt))
        messages = bytes(prompt).strip(_SPACE)
        if messages[:1] != b"[" or messages[-1:] != b"]" or not messages[1:-1].strip(_SPACE):
            raise UsageError("messages must be a JSON list of {role, content} objects")
        return b"%b%b]}" % (self._raw_head, messages[1:-1])


def engine_sampling(sampling: Sampling, *, keep_body: bool = False) -> EngineSampling:
    """The job's sampling as an engine takes it. Raises UsageError, naming what it cannot take."""
    asked = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    values: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    for name, raw in sampling.extra.items():
        if name in values:
            raise UsageError(f"--param {name} is given twice", hint="keep one of them")
        values |= _extra(name, bytes(raw))
    try:
        said = msgspec.convert(values, EngineSampling)
    except msgspec.ValidationError as problem:
        raise UsageError(f"sampling: {problem}") from problem
    _check_logprobs(said)
    return msgspec.structs.replace(_in_range(said), body=keep_body or said.logprobs)


_EXTRAS: Final = frozenset(EngineSampling.__struct_fields__) - {"schema", "body", "shrinks"}


def _extra(name: str, raw: bytes) -> dict[str, Any]:
    if name not in _EXTRAS and name != "response_format":
        raise UsageError(
            f"--param {name} is nothing this engine knows",
            hint="it knows " + ", ".join(sorted(_EXTRAS | {"response_format"})),
        )
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"--param {name} is not JSON: {problem}") from problem
    if name == "response_format":
        return _format(value)
    return {name: [value] if name == "stop" and isinstance(value, str) else value}


def _format(value: Any) -> dict[str, Any]:
    """OpenAI's response_format, down to the schema."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"schema": '{"type":"object"}'}
    schema = None
    if kind == "json_schema" and isinstance(value.get("json_schema"), dict):
        schema = value["json_schema"].get("schema")
    if not isinstance(schema, dict):
        raise UsageError("--param response_format must be text, json_object or a json_schema")
    return {"schema": _encode(schema).decode()}


def _check_logprobs(said: EngineSampling) -> None:
    """The engine tells of the token it took, and of no other."""
    top = said.top_logprobs
    if top and not said.logprobs:
        raise UsageError("--param top_logprobs needs --param logprobs=true")
    if top not in (0, 1) or (top and said.temperature > 0):
        raise UsageError(
            f"top_logprobs is {top}, but this engine tells the log probability of the token it"
            " took and of no other",
            hint="leave it out; 1 is possible at temperature 0, where that token is the likeliest",
        )


def _in_range(said: EngineSampling) -> EngineSampling:
    wrong = {
        "max_tokens": said.max_tokens is not None and said.max_tokens < 1,
        "temperature": not (math.isfinite(said.temperature) and said.temperature >= 0),
        "seed": not 0 <= said.seed < 2**63,
        "top_p": not 0 < said.top_p <= 1,
        "top_k": said.top_k is not None and said.top_k < 1,
        "stop": not all(said.stop),
        "repetition_penalty": not said.repetition_penalty > 0,
        "presence_penalty": not -2 <= said.presence_penalty <= 2,
        "frequency_penalty": not -2 <= said.frequency_penalty <= 2,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise UsageError(f"{name} is {getattr(said, name)!r}, which is out of range")
    return said
