"""The content blocks of Anthropic's messages, read one at a time. It translates nothing.

A block is read by its type, so that what is wrong is said of that type and
fields nobody knows are refused. `cache_control` is read and let go: it asks for
nothing that changes an answer, and backends keep prefixes as they see fit.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from nightkiln.wire.anthropic.wording import Json, Refused, decoded, joined, unsupported

NOTHING: Final = (b"", b"null")


class _Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    cache_control: dict[str, msgspec.Raw] | None = None


class Citations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the answer shall cite a source."""

    enabled: bool | None = None


class Text(_Block, frozen=True, kw_only=True):
    """Words."""

    text: str
    citations: list[msgspec.Raw] | None = None


class Image(_Block, frozen=True, kw_only=True):
    """A picture."""

    source: msgspec.Raw
    transformations: msgspec.Raw = msgspec.Raw()


class Document(_Block, frozen=True, kw_only=True):
    """A text or a PDF."""

    source: msgspec.Raw
    citations: Citations | None = None
    context: str | None = None
    title: str | None = None


class SearchResult(_Block, frozen=True, kw_only=True):
    """Something the caller found."""

    content: list[msgspec.Raw]
    source: str
    title: str
    citations: Citations | None = None


class ThoughtBlock(_Block, frozen=True, kw_only=True):
    """What the assistant thought earlier."""

    thinking: str
    signature: str = ""


class ToolUse(_Block, frozen=True, kw_only=True):
    """A call that the assistant made earlier."""

    id: str
    name: str
    input: dict[str, msgspec.Raw]
    caller: dict[str, msgspec.Raw] | None = None
    toolset_name: str | None = None


class ToolResult(_Block, frozen=True, kw_only=True):
    """What a call brought."""

    tool_use_id: str
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    toolset_name: str | None = None


Block: TypeAlias = Text | Image | Document | SearchResult | ThoughtBlock | ToolUse | ToolResult


class Placed(msgspec.Struct, frozen=True):
    """A block and the path to it."""

    at: str
    block: Block


class _Tagged(msgspec.Struct):
    type: str


def _reader(kind: type[Any]) -> Callable[[Json], Any]:
    return msgspec.json.Decoder(kind).decode


_decode_tag: Final = msgspec.json.Decoder(_Tagged).decode
_KINDS: Final[Mapping[str, Callable[[Json], Any]]] = {
    "text": _reader(Text),
    "image": _reader(Image),
    "document": _reader(Document),
    "search_result": _reader(SearchResult),
    "thinking": _reader(ThoughtBlock),
    "tool_use": _reader(ToolUse),
    "tool_result": _reader(ToolResult),
}
_THEIRS: Final = frozenset(
    {
        "bash_code_execution_tool_result",
        "browser_state",
        "code_execution_tool_result",
        "container_upload",
        "mcp_tool_result",
        "mcp_tool_use",
        "redacted_thinking",
        "server_tool_use",
        "text_editor_code_execution_tool_result",
        "tool_reference",
        "tool_search_tool_result",
        "web_fetch_tool_result",
        "web_search_tool_result",
    }
)  # what only Anthropic's own servers write and read


def read_block(raw: bytes | msgspec.Raw, at: str) -> Placed:
    """The block at a place. Raises Refused."""
    tag = decoded(_decode_tag, raw, at).type
    if tag in _THEIRS:
        raise unsupported(
            at, f"{tag} blocks are read by Anthropic's own servers only; leave the block out"
        )
    read = _KINDS.get(tag)
    if read is None:
        expected = ", ".join(f"'{name}'" for name in _KINDS)
        said = f"'{tag[:40]}' found using 'type' is none of the expected tags: {expected}"
        raise Refused(at, f"Input tag {said}")
    here = joined(at, tag)
    return Placed(here, decoded(read, raw, here))


def read_content(content: str | list[msgspec.Raw], at: str) -> list[Placed]:
    """The blocks of some content: a text alone is one block. Raises Refused."""
    if isinstance(content, str):
        return [Placed(at, Text(type="text", text=content))]
    return [read_block(raw, joined(at, str(number))) for number, raw in enumerate(content)]
