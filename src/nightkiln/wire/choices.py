"""Replies that come in choices, as those of chats and of completions do. Pure."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault
from nightkiln.wire.mishaps import NOTHING, broken, undecodable
from nightkiln.wire.tokencounts import TokenCounts, usage_of


class Choice(msgspec.Struct):
    """What every kind of choice says; each dialect adds the place of its text."""

    finish_reason: str | None = None


ChoiceT = TypeVar("ChoiceT", bound=Choice)


class Choices(msgspec.Struct, Generic[ChoiceT]):
    """The body of a 200, before anybody knows whether it is an answer."""

    choices: list[ChoiceT] | None = None
    model: str | None = None
    usage: TokenCounts | None = None
    error: msgspec.Raw = msgspec.Raw()


def parse_choices(
    decode: Callable[[bytes], Choices[ChoiceT]],
    text_of: Callable[[ChoiceT, bytes], str | Fault],
    body: bytes,
    *,
    keep_body: bool,
) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises.

    `text_of` finds the text of the first choice, or says what is wrong with it.
    """
    try:
        found = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return undecodable(problem, body)
    if bytes(found.error) not in NOTHING:
        return broken("error_in_200", bytes(found.error))
    if not found.choices:
        return broken("no_choices", body)
    choice = found.choices[0]
    text = text_of(choice, body)
    if isinstance(text, Fault):
        return text
    return Reply(
        text=text,
        finish_reason=choice.finish_reason or "",
        usage=usage_of(found.usage),
        model=found.model or "",
        body=body if keep_body else None,
    )
