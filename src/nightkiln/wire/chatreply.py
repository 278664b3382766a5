"""OpenAI chat completions: what a 200 really says. Pure.

A 200 is not yet an answer. Gateways send HTML, proxies cut bodies, servers
report errors inside a success, models refuse. A body becomes a Reply only if
it holds text (or tool calls) that a model meant to say; all else is a fault.
"""

from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault
from nightkiln.wire.choices import Choice, Choices, parse_choices
from nightkiln.wire.mishaps import NOTHING, broken, used_up, withheld


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(Choice):
    message: _Message | None = None


_decode: Final = msgspec.json.Decoder(Choices[_Choice]).decode


def parse_reply(body: bytes, *, keep_body: bool = False) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises."""
    return parse_choices(_decode, _text, body, keep_body=keep_body)


def _text(choice: _Choice, body: bytes) -> str | Fault:
    finish = choice.finish_reason or ""
    message = choice.message
    if message is None:
        return broken("no_message", body)
    if finish == "content_filter":
        return withheld("content_filter", "the output was stopped by a content filter")
    text, refusal = _said(message)
    if refusal:
        return withheld("refusal", refusal)
    return text or _without_content(message, finish, body)


def _said(message: _Message) -> tuple[str, str]:
    """The text and the refusal of a message; content may come in parts."""
    content = message.content
    if content is None or isinstance(content, str):
        return content or "", message.refusal or ""
    refusal = message.refusal or "".join(part.refusal or "" for part in content)
    return "".join(part.text or "" for part in content), refusal


def _without_content(message: _Message, finish: str, body: bytes) -> str | Fault:
    """Tool calls stand in for text, as the JSON they came in; all else is a fault."""
    calls = bytes(message.tool_calls)
    if calls not in NOTHING:
        try:
            return calls.decode()
        except UnicodeDecodeError as problem:
            return broken("invalid_utf8", body, str(problem))
    if finish == "length":
        return used_up()
    return broken("error_in_200" if finish == "error" else "empty_content", body)
