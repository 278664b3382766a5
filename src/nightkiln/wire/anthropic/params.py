"""The params of a message, said as a chat to whatever serves the model. Pure.

Everything in them is said, or refused with what to do about it; the few fields
that are let go say nothing about an answer (`cache_control`, `service_tier`).
What comes out is the body of a chat completion, as a batch line would hold it.
"""

from typing import Annotated, Final

import msgspec

from nightkiln.core.fault import Fault
from nightkiln.core.request import WireBody
from nightkiln.wire.anthropic.blocks import NOTHING
from nightkiln.wire.anthropic.rules import Rules, Version
from nightkiln.wire.anthropic.thoughts import Effort, ThinkingParams, is_shown, thinking_fields
from nightkiln.wire.anthropic.tools import ToolChoice, choice_fields, function_tools
from nightkiln.wire.anthropic.turns import Message, chat_messages, ends_with_assistant
from nightkiln.wire.anthropic.wording import EXTRA, REQUIRED, Refused, decoded, joined, unsupported
from nightkiln.wire.structured import response_format

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_MOST_MESSAGES: Final = 100_000
_ALONE: Final = "a batch cannot do this; leave it out"
_ELSEWHERE: Final = "this is a feature of Anthropic's own servers; leave it out"
_UNSERVED: Final = {
    "cache_hint": _ALONE,
    "container": _ELSEWHERE,
    "context_hint": _ALONE,
    "context_management": _ELSEWHERE,
    "diagnostics": _ELSEWHERE,
    "inference_geo": "where a model runs is for your own backends to say; leave it out",
    "mcp_servers": _ELSEWHERE,
    "previous_thread_event_id": _ALONE,
    "speed": _ALONE,
    "store": _ALONE,
    "user_profile_id": _ELSEWHERE,
    "workspace_id": "projects are told apart by their keys; leave it out",
}

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    user_id: str | None = None


class _Format(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    schema: dict[str, msgspec.Raw]


class _OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    effort: str | None = None
    format: _Format | None = None


class _Params(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=_MOST_MESSAGES)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    system: str | list[msgspec.Raw] | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] | None = None
    stream: bool | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    metadata: _Metadata | None = None
    thinking: ThinkingParams | None = None
    output_config: _OutputConfig | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: ToolChoice | None = None
    cache_control: dict[str, msgspec.Raw] | None = None
    service_tier: str | None = None
    cache_hint: msgspec.Raw = msgspec.Raw()
    container: msgspec.Raw = msgspec.Raw()
    context_hint: msgspec.Raw = msgspec.Raw()
    context_management: msgspec.Raw = msgspec.Raw()
    diagnostics: msgspec.Raw = msgspec.Raw()
    inference_geo: msgspec.Raw = msgspec.Raw()
    mcp_servers: msgspec.Raw = msgspec.Raw()
    previous_thread_event_id: msgspec.Raw = msgspec.Raw()
    speed: msgspec.Raw = msgspec.Raw()
    store: msgspec.Raw = msgspec.Raw()
    user_profile_id: msgspec.Raw = msgspec.Raw()
    workspace_id: msgspec.Raw = msgspec.Raw()


class _Named(msgspec.Struct):
    model: str = ""
    thinking: ThinkingParams | None = None


_decode: Final = msgspec.json.Decoder(_Params).decode
_decode_name: Final = msgspec.json.Decoder(_Named).decode
_encode: Final = msgspec.json.Encoder().encode


def translate(params: bytes | msgspec.Raw, rules: Rules) -> WireBody | Fault:
    """The chat that the params of a message ask for, or the fault of a row that is never asked.

    The fault's message is what an `errored` line says.
    """
    try:
        found = decoded(_decode, params, "")
        if found.max_tokens is None:
            raise Refused("max_tokens", REQUIRED)
        return _said(found, rules)
    except Refused as problem:
        return problem.fault


def translate_count(body: bytes, rules: Rules) -> WireBody | Fault:
    """The chat whose tokens are to be counted: the same params, but without `max_tokens`."""
    try:
        found = decoded(_decode, body, "")
        if found.max_tokens is not None:
            raise Refused("max_tokens", EXTRA)
        return _said(found, rules)
    except Refused as problem:
        return problem.fault


def model_of(params: bytes | msgspec.Raw) -> str:
    """The model that is asked for; empty where that cannot be read. Never raises."""
    named = _named(params)
    return "" if named is None else named.model


def shows_thinking(params: bytes | msgspec.Raw) -> bool:
    """Whether the caller wants to see the thinking before an answer. Never raises."""
    named = _named(params)
    return named is not None and is_shown(named.thinking)


def _named(params: bytes | msgspec.Raw) -> _Named | None:
    try:
        return _decode_name(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _said(params: _Params, rules: Rules) -> WireBody:
    """Raises Refused."""
    _refuse_unserved(params)
    fields: dict[str, object] = {
        "model": params.model,
        "messages": chat_messages(params.system, params.messages, rules),
    }
    if params.max_tokens is not None:
        fields["max_tokens"] = params.max_tokens
    fields |= _sampling(params, rules)
    if params.stop_sequences:
        fields["stop"] = params.stop_sequences
    if params.metadata is not None and params.metadata.user_id:
        fields["user"] = params.metadata.user_id
    tools = function_tools(params.tools or [])
    if tools:
        fields["tools"] = tools
    if params.tool_choice is not None:
        fields |= choice_fields(params.tool_choice, tools)
    fields |= _output(params, rules)
    if ends_with_assistant(params.messages):
        fields |= {"add_generation_prompt": False, "continue_final_message": True}
    return WireBody(_encode(fields))


def _refuse_unserved(params: _Params) -> None:
    if params.stream:
        raise Refused("stream", "answers of a batch are not streamed; leave it out")
    for name, why in _UNSERVED.items():
        given: msgspec.Raw = getattr(params, name)
        if bytes(given) not in NOTHING:
            raise unsupported(name, why)


def _sampling(params: _Params, rules: Rules) -> dict[str, object]:
    given = {name: getattr(params, name) for name in _SAMPLING}
    said = {name: value for name, value in given.items() if value is not None}
    if said and not rules.takes_sampling:
        name = next(iter(said))
        raise Refused(
            name,
            f"{EXTRA}. Version {rules.version} has no sampling parameters;"
            f" leave it out or send anthropic-version: {Version.FIRST}",
        )
    return said


def _output(params: _Params, rules: Rules) -> dict[str, object]:
    """What is said of thinking and of the form of the answer."""
    config = params.output_config or _OutputConfig()
    effort: Effort | None = None
    if config.effort is not None:
        try:
            effort = Effort(config.effort)
        except ValueError:
            known = ", ".join(f"'{name}'" for name in Effort)
            raise Refused("output_config.effort", f"Input should be one of {known}") from None
    fields = thinking_fields(params.thinking, effort, params.max_tokens, rules.thinking)
    if config.format is not None:
        fields["response_format"] = _form(config.format)
    return fields


def _form(form: _Format) -> msgspec.Raw:
    at = "output_config.format"
    if form.type != "json_schema":
        raise Refused(joined(at, "type"), "Input should be 'json_schema'")
    try:
        return msgspec.Raw(response_format(_encode(form.schema)))
    except (TypeError, RecursionError) as problem:
        raise Refused(joined(at, "schema"), "Input is no valid JSON schema") from problem
