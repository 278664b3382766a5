"""Rows that hold the text of a control token: for the model it must be text, and no token.

A chat template marks turns with control tokens, which it writes as text, such as
`<|im_end|>`. A row that holds the same characters would end its own turn and begin one
of the model's or the system's. What a row says is data, so it must not.

Such rows are rare. Those that are found have every such text replaced by one
private character before the template is rendered, and what the template then
writes as control tokens is its own. Where the tokenizer is ours, the characters
are put back and become the tokens of ordinary text. An engine's own tokenizer
knows no such difference: there they are put back with an invisible space after
their first character, by which they are no control token any more.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.chat_refusals import TemplateRefusal

_PRIVATE: Final = (range(0x100000, 0x10FFFE), range(0xF0000, 0xFFFFE), range(0xE000, 0xF900))
_UNSEEN_SPACE: Final = "\u200b"
_FILES: Final = ("tokenizer.json", "tokenizer_config.json")


class Hidden(msgspec.Struct, frozen=True):
    """Messages without control texts, and what stands for each of them."""

    messages: list[Message]
    letters: dict[str, str]  # the control text of each private character


class ControlTexts:
    """The control tokens of a vocabulary, as texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        # The longest first, for a token may begin with another.
        self._texts = sorted({text for text in texts if len(text) > 1}, key=len, reverse=True)
        pattern = "|".join(map(re.escape, self._texts)) or r"(?!)"
        self._one = re.compile(pattern)
        self._split = re.compile(f"({pattern})")

    def hidden(self, messages: list[Message]) -> Hidden:
        """The messages with private characters for these texts. Raises TemplateRefusal."""
        search = self._one.search
        if not any(search(one.text) or search(one.role) for one in messages):
            return Hidden(messages, {})
        said = [text for one in messages for text in (one.role, one.text)]
        used = set().union(*said)
        found = {control for text in said for control in self._one.findall(text)}
        free = (letter for block in _PRIVATE for letter in map(chr, block) if letter not in used)
        letters = dict(zip(sorted(found), free, strict=False))
        if len(letters) < len(found):
            raise TemplateRefusal("the messages hold control tokens and all private characters")

        def without(text: str) -> str:
            return self._one.sub(lambda match: letters[match.group()], text)

        plain = [Message(without(one.role), without(one.text)) for one in messages]
        return Hidden(plain, {letter: text for text, letter in letters.items()})

    def pieces(self, text: str) -> list[str]:
        """A text cut at these texts: every second piece is one of them."""
        return self._split.split(text)


def shown(text: str, letters: dict[str, str]) -> str:
    """A text with what its private characters stand for."""
    return text.translate({ord(letter): said for letter, said in letters.items()})


def broken(text: str, letters: dict[str, str]) -> str:
    """The same, with an invisible space in each."""
    return shown(
        text, {letter: said[0] + _UNSEEN_SPACE + said[1:] for letter, said in letters.items()}
    )


def control_texts_of(folder: Path) -> list[str]:
    """The control tokens that the tokenizer's files beside a model name; none without files."""
    found: list[str] = []
    for name in _FILES:
        try:
            said = msgspec.json.decode((folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        found += _special(said)
    return found


def _special(said: Any) -> list[str]:
    """What `added_tokens` or `added_tokens_decoder` call special."""
    if not isinstance(said, dict):
        return []
    listed, by_id = said.get("added_tokens"), said.get("added_tokens_decoder")
    tokens = [*(listed if isinstance(listed, list) else ())]
    tokens += by_id.values() if isinstance(by_id, dict) else ()
    return [
        token["content"]
        for token in tokens
        if isinstance(token, dict)
        and token.get("special") is True
        and isinstance(token.get("content"), str)
    ]
