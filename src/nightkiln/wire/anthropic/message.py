"""A chat's reply as a Message: what the model said, called and thought, in Anthropic's words. Pure.

Thinking is shown only to who asked for it: a client that did not would find it
where it looks for the answer. A refusal is a Message as well, and so is an answer
that found no room for a word. A call whose arguments are no JSON object has no
place in a Message; that is a fault.
"""

from typing import Final

import msgspec

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.wire.anthropic.blocks import NOTHING
from nightkiln.wire.choices import Choice, Choices
from nightkiln.wire.mishaps import NOTHING as NO_ERROR
from nightkiln.wire.mishaps import broken, undecodable
from nightkiln.wire.tokencounts import TokenCounts, usage_of

END: Final = "end_turn"
FULL: Final = "max_tokens"
REFUSAL: Final = "refusal"
_STOPPED: Final = "stop_sequence"
_CALLED: Final = "tool_use"
_BROKEN: Final = ("abort", "error")  # finishes that are none


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    reasoning: msgspec.Raw = msgspec.Raw()
    reasoning_content: msgspec.Raw = msgspec.Raw()


class _Choice(Choice):
    message: _Message | None = None
    stop_reason: msgspec.Raw = msgspec.Raw()  # vLLM: the text or token it stopped at
    matched_stop: msgspec.Raw = msgspec.Raw()  # SGLang: the same


class _Details(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Counts(TokenCounts):
    completion_tokens_details: _Details | None = None


class _Completion(Choices[_Choice]):
    usage: _Counts | None = None


class _Stop(msgspec.Struct):
    """Why a message ended."""

    reason: str
    sequence: str | None = None
    explanation: str | None = None


_decode: Final = msgspec.json.Decoder(_Completion).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def message_of(
    body: bytes, *, message_id: str, model: str = "", thinking: bool = False
) -> bytes | Fault:
    """The Message in the body of a 200, as JSON on one line, or the fault it is. Never raises.

    `model` is what it is said to come from where the reply names no model.
    """
    try:
        found = _decode(body)
        choice = _first(found, body)
        if isinstance(choice, Fault):
            return choice
        said = choice.message or _Message()
        blocks = _blocks(said, message_id, thinking=thinking)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return undecodable(problem, body)
    if isinstance(blocks, Fault):
        return blocks
    usage = usage_object(usage_of(found.usage), _thought_tokens(found.usage))
    stop = _stop(choice, said, called=any(block["type"] == _CALLED for block in blocks))
    return _encode(_object(message_id, found.model or model, blocks, stop, usage))


def bare_message(
    reason: str, *, message_id: str, model: str, explanation: str | None = None
) -> bytes:
    """A Message without a word: for a refusal or a lack of room of which no reply was kept."""
    stop = _Stop(reason=reason, explanation=explanation)
    return _encode(_object(message_id, model, [], stop, usage_object(Usage(), None)))


def usage_object(usage: Usage, thought: int | None) -> dict[str, object]:
    """Tokens as Anthropic counts them: what came from a cache is no part of `input_tokens`."""
    fields: dict[str, object] = {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "service_tier": "batch",
    }
    if thought is not None:
        fields["output_tokens_details"] = {"thinking_tokens": thought}
    return fields


def _first(found: _Completion, body: bytes) -> _Choice | Fault:
    """The choice that is the answer, or what is there instead of one."""
    if bytes(found.error) not in NO_ERROR:
        return broken("error_in_200", bytes(found.error))
    if not found.choices:
        return broken("no_choices", body)
    choice = found.choices[0]
    if choice.message is None:
        return broken("no_message", body)
    if choice.finish_reason in _BROKEN:
        return broken(f"finish_{choice.finish_reason}", body)
    return choice


def _object(
    message_id: str,
    model: str,
    content: list[dict[str, object]],
    stop: _Stop,
    usage: dict[str, object],
) -> dict[str, object]:
    said = {"type": REFUSAL, "category": None, "explanation": stop.explanation}
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop.reason,
        "stop_sequence": stop.sequence,
        "stop_details": said if stop.reason == REFUSAL else None,
        "usage": usage,
    }


def _thought_tokens(counts: _Counts | None) -> int | None:
    details = None if counts is None else counts.completion_tokens_details
    return None if details is None else details.reasoning_tokens


def _blocks(
    message: _Message, message_id: str, *, thinking: bool
) -> list[dict[str, object]] | Fault:
    blocks: list[dict[str, object]] = []
    thought = _text(message.reasoning_content) or _text(message.reasoning)
    if thinking and thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    if words := _words(message):
        blocks.append({"type": "text", "text": words, "citations": None})
    for number, call in enumerate(message.tool_calls or ()):
        given = _arguments(call.function.arguments)
        if isinstance(given, Fault):
            return given
        made_up = f"toolu_{message_id.rpartition('_')[2]}_{number}"
        blocks.append(
            {
                "type": _CALLED,
                "id": call.id or made_up,
                "name": call.function.name,
                "input": given,
            }
        )
    return blocks


def _words(message: _Message) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text or "" for part in content)


def _text(raw: msgspec.Raw) -> str:
    """A value if it is a text, else nothing. Raises what decoding raises."""
    return _decode_text(raw) if bytes(raw)[:1] == b'"' else ""


def _arguments(raw: msgspec.Raw) -> msgspec.Raw | Fault:
    """What a tool is called with, on one line. A call without arguments has an empty object."""
    given = bytes(raw)
    if given in NOTHING:
        return msgspec.Raw(b"{}")
    if given[:1] == b'"':
        given = _decode_text(given).encode().strip() or b"{}"
    try:
        _decode_object(given)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault(
            kind=FaultClass.PROTOCOL,
            code="tool_arguments",
            message="the model called a tool with arguments that are no JSON object;"
            " send the request again, or raise max_tokens if the answer was cut short",
            status=200,
        )
    return msgspec.Raw(msgspec.json.format(given, indent=-1))


def _stop(choice: _Choice, message: _Message, *, called: bool) -> _Stop:
    """Servers say `stop` for calls that were forced, so a call counts more than its finish."""
    refused = message.refusal or _refused_parts(message)
    if refused or choice.finish_reason == "content_filter":
        return _Stop(reason=REFUSAL, explanation=refused or None)
    if choice.finish_reason == "length":
        return _Stop(reason=FULL)
    if called:
        return _Stop(reason=_CALLED)
    matched = _text(choice.stop_reason) or _text(choice.matched_stop)
    return _Stop(reason=_STOPPED, sequence=matched) if matched else _Stop(reason=END)


def _refused_parts(message: _Message) -> str:
    content = message.content
    return "".join(part.refusal or "" for part in content) if isinstance(content, list) else ""
