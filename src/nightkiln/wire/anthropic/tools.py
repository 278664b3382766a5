"""Tools and the choice among them, from Anthropic's words to the functions of a chat. Pure."""

import re
from typing import Final

import msgspec

from nightkiln.wire.anthropic.wording import Refused, decoded, joined, unsupported

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CUSTOM: Final = "custom"
_DIRECT: Final = ["direct"]


class _Kind(msgspec.Struct):
    type: str | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input_schema: dict[str, msgspec.Raw]
    type: str | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: dict[str, msgspec.Raw] | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None  # how an answer would be streamed
    input_examples: list[msgspec.Raw] | None = None


class ToolChoice(msgspec.Struct, forbid_unknown_fields=True):
    """Whether and which tool is to be used."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Function(msgspec.Struct, omit_defaults=True):
    name: str
    parameters: dict[str, msgspec.Raw]
    description: str | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    """A tool of a chat."""

    function: _Function


_decode_kind: Final = msgspec.json.Decoder(_Kind).decode
_decode_tool: Final = msgspec.json.Decoder(_Tool).decode


def function_tools(tools: list[msgspec.Raw]) -> list[FunctionTool]:
    """The tools as functions. Raises Refused."""
    found = [_function(raw, joined("tools", str(number))) for number, raw in enumerate(tools)]
    names: set[str] = set()
    for number, tool in enumerate(found):
        if tool.function.name in names:
            raise Refused(joined("tools", str(number), "name"), "Tool names must be unique")
        names.add(tool.function.name)
    return found


def choice_fields(choice: ToolChoice, tools: list[FunctionTool]) -> dict[str, object]:
    """The fields of a chat that say which tool to use. Raises Refused."""
    if not tools:
        raise Refused("tool_choice", "it says nothing without tools; give tools or leave it out")
    fields: dict[str, object] = {"tool_choice": _chosen(choice, tools)}
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields


def _chosen(choice: ToolChoice, tools: list[FunctionTool]) -> object:
    match choice.type:
        case "auto" | "none":
            return choice.type
        case "any":
            return "required"
        case "tool" if choice.name is None:
            raise Refused("tool_choice.tool.name", "Field required")
        case "tool":
            if all(tool.function.name != choice.name for tool in tools):
                raise Refused("tool_choice.tool.name", "there is no tool of this name in tools")
            return {"type": "function", "function": {"name": choice.name}}
        case _:
            raise Refused(
                "tool_choice.type", "Input should be one of 'auto', 'any', 'tool', 'none'"
            )


def _function(raw: msgspec.Raw, at: str) -> FunctionTool:
    kind = decoded(_decode_kind, raw, at).type
    if kind not in (None, _CUSTOM):
        raise unsupported(
            at,
            f"tools of type '{kind[:40]}' are Anthropic's own; describe a tool with input_schema",
        )
    here = joined(at, _CUSTOM)
    tool = decoded(_decode_tool, raw, here)
    if not _NAME.fullmatch(tool.name):
        raise Refused(joined(here, "name"), "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    if bytes(tool.input_schema.get("type", b"")) != b'"object"':
        raise Refused(joined(here, "input_schema.type"), "Input should be 'object'")
    _refuse_special(tool, here)
    return FunctionTool(
        _Function(
            name=tool.name,
            parameters=tool.input_schema,
            description=tool.description,
            strict=tool.strict,
        )
    )


def _refuse_special(tool: _Tool, at: str) -> None:
    """Raises Refused for what a function of a chat has no word for."""
    if tool.input_examples:
        raise unsupported(
            joined(at, "input_examples"), "put the examples into the tool's description"
        )
    if tool.defer_loading:
        raise unsupported(joined(at, "defer_loading"), "all tools are loaded; leave it out")
    if tool.allowed_callers not in (None, _DIRECT):
        raise unsupported(
            joined(at, "allowed_callers"), "only the model itself calls tools; leave it out"
        )
