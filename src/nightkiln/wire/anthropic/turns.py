"""The turns of a conversation, from Anthropic's messages to those of a chat. Pure.

The two differ in shape. Anthropic has two speakers whose turns alternate, and
neighbouring messages of one speaker are one turn. What a tool brought is a block
of the user's next turn there, and a message of its own here, right after the
calls; so every call needs its result in the turn that follows, which is checked,
because chat servers do not. What the assistant said around its calls stands
before them.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from nightkiln.wire.anthropic.blocks import (
    Document,
    Placed,
    Text,
    ThoughtBlock,
    ToolResult,
    ToolUse,
    read_content,
)
from nightkiln.wire.anthropic.parts import (
    Content,
    Part,
    TextPart,
    content_of,
    parts_of,
    text_of,
    texts_only,
)
from nightkiln.wire.anthropic.rules import Rules, Thinking
from nightkiln.wire.anthropic.wording import Refused, joined, unsupported

_ROLES: Final = ("user", "assistant", "system")
_FAILED: Final = "Error: "  # how a chat is told that a tool failed; it has no mark for it
_encode: Final = msgspec.json.Encoder().encode


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message as it comes in."""

    role: str
    content: str | list[msgspec.Raw]


class _Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class _Call(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    id: str
    function: _Function


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a chat, as it goes out."""

    role: str
    content: Content | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class _Turn(msgspec.Struct):
    role: str
    at: str
    blocks: list[Placed]


def chat_messages(
    system: str | list[msgspec.Raw] | None, messages: list[Message], rules: Rules
) -> list[ChatMessage]:
    """The messages of a chat. Raises Refused, naming the first place that cannot be said."""
    chat: list[ChatMessage] = []
    if system:
        chat.append(_system(read_content(system, "system")))
    waiting: dict[str, str] = {}  # calls without a result yet, and where they are
    last = ""
    for turn in _turns(messages):
        last = turn.role
        if turn.role == "system":
            chat.append(_system(turn.blocks))
        elif turn.role == "user":
            chat += _user(turn, waiting, rules)
            waiting = {}
        else:
            _refuse_waiting(waiting)
            said, waiting = _assistant(turn, rules)
            chat.append(said)
    _refuse_waiting(waiting)
    if last == "assistant" and not rules.prefill:
        raise unsupported(
            joined("messages", str(len(messages) - 1)),
            "this backend cannot go on from words of the assistant;"
            " end the conversation with a user message",
        )
    return chat


def ends_with_assistant(messages: list[Message]) -> bool:
    """True when the answer goes on from what the assistant has begun to say."""
    return messages[-1].role == "assistant"


def _turns(messages: list[Message]) -> Iterator[_Turn]:
    """Neighbouring messages of one role as one turn."""
    turn: _Turn | None = None
    for number, message in enumerate(messages):
        at = joined("messages", str(number))
        if message.role not in _ROLES:
            known = ", ".join(f"'{name}'" for name in _ROLES)
            raise Refused(joined(at, "role"), f"Input should be one of {known}")
        if not message.content:
            raise Refused(joined(at, "content"), "messages must have non-empty content")
        blocks = read_content(message.content, joined(at, "content"))
        if turn is not None and turn.role == message.role:
            turn.blocks += blocks
            continue
        if turn is not None:
            yield turn
        turn = _Turn(role=message.role, at=at, blocks=blocks)
    if turn is not None:
        yield turn


def _system(blocks: list[Placed]) -> ChatMessage:
    for placed in blocks:
        if not isinstance(placed.block, Text):
            raise Refused(placed.at, "a system prompt holds text blocks only")
    parts = [part for placed in blocks for part in parts_of(placed)]
    return ChatMessage(role="system", content=content_of(parts))


def _user(turn: _Turn, waiting: dict[str, str], rules: Rules) -> list[ChatMessage]:
    """The results of tools first, each a message, then everything else as one."""
    chat: list[ChatMessage] = []
    parts: list[Part] = []
    for placed in turn.blocks:
        block = placed.block
        if isinstance(block, ToolResult):
            if parts:
                raise Refused(placed.at, "tool_result blocks have to come first in a user message")
            chat.append(_result(block, placed.at, waiting))
            continue
        if isinstance(block, Text) and block.citations and rules.is_strict:
            raise Refused(joined(placed.at, "citations"), "Extra inputs are not permitted")
        parts += parts_of(placed)
    _refuse_waiting(waiting)
    if parts:
        chat.append(ChatMessage(role="user", content=content_of(parts)))
    return chat


def _result(block: ToolResult, at: str, waiting: dict[str, str]) -> ChatMessage:
    """What a call brought. The call is no longer waiting then."""
    if waiting.pop(block.tool_use_id, None) is None:
        raise Refused(
            joined(at, "tool_use_id"), "the turn before has no tool_use block with this id"
        )
    if block.toolset_name is not None:
        raise unsupported(joined(at, "toolset_name"), "toolsets are Anthropic's own; leave it out")
    content: Content = ""
    if block.content:
        inner = read_content(block.content, joined(at, "content"))
        parts = [part for placed in inner for part in parts_of(placed)]
        content = content_of(texts_only(parts, joined(at, "content"), "the result of a tool"))
    if block.is_error:
        content = _failed(content)
    return ChatMessage(role="tool", tool_call_id=block.tool_use_id, content=content)


def _failed(content: Content) -> Content:
    if isinstance(content, str):
        return _FAILED + content
    return [TextPart(_FAILED.strip()), *content]


def _assistant(turn: _Turn, rules: Rules) -> tuple[ChatMessage, dict[str, str]]:
    """What the assistant said, and the calls it made with where they are."""
    words: list[str] = []
    thoughts: list[str] = []
    calls: list[_Call] = []
    waiting: dict[str, str] = {}
    for placed in turn.blocks:
        match placed.block:
            case Text():
                words.append(text_of(placed.block, placed.at))
            case ThoughtBlock():
                thoughts.append(_thought(placed.block, placed.at, rules))
            case ToolUse():
                if placed.block.id in waiting:
                    raise Refused(joined(placed.at, "id"), "tool_use ids must be unique")
                calls.append(_call(placed.block, placed.at))
                waiting[placed.block.id] = placed.at
            case Document() if rules.is_strict:
                raise Refused(placed.at, "document blocks are not permitted in assistant messages")
            case _:
                raise unsupported(
                    placed.at,
                    "a chat cannot hold this in what the assistant said;"
                    " put it into a user message",
                )
    said = ChatMessage(
        role="assistant",
        content="".join(words) if words else None,
        tool_calls=calls or None,
        reasoning_content="\n".join(thoughts) or None,
    )
    return said, waiting


def _thought(block: ThoughtBlock, at: str, rules: Rules) -> str:
    if rules.thinking is Thinking.NONE:
        raise unsupported(
            at, "this backend cannot be given thinking; leave thinking blocks out of messages"
        )
    return block.thinking


def _call(block: ToolUse, at: str) -> _Call:
    caller = block.caller
    if block.toolset_name is not None:
        raise unsupported(joined(at, "toolset_name"), "toolsets are Anthropic's own; leave it out")
    if caller is not None and bytes(caller.get("type", b"")) != b'"direct"':
        raise unsupported(
            joined(at, "caller"), "only calls that the model made itself can be told to another"
        )
    given = msgspec.json.format(_encode(block.input), indent=-1)
    return _Call(id=block.id, function=_Function(name=block.name, arguments=given.decode()))


def _refuse_waiting(waiting: dict[str, str]) -> None:
    for at in waiting.values():
        raise Refused(at, "this tool_use has no tool_result in the user message that follows")
