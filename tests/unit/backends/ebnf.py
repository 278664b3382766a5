"""A small reader of the grammars we write: what could be said, and whether something is.

It knows literals, classes, groups, choices and counts, as xgrammar reads them.
"""

import random
import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<literal>"(?:[^"\\]|\\.)*")|(?P<class>\[(?:[^\]\\]|\\.)*\])"""
    r"""|(?P<count>\{\d+(?:,\d*)?\}|[*+?])|(?P<name>[a-z]\w*)|(?P<mark>[()|]))"""
)
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_MORE = 3  # repetitions beyond what is asked
_SAMPLE = " aZ09_-/é漢" + chr(0x1F600)


def _plain(text: str) -> str:
    names = {"n": "\n", "t": "\t", "r": "\r"}
    return _ESCAPE.sub(
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else names.get(m[1], m[1]), text
    )


class Grammar:
    """A grammar's rules, ready to be followed."""

    def __init__(self, text: str) -> None:
        self._rules: dict[str, Any] = {}
        for line in text.rstrip("\n").split("\n"):
            name, right = line.split(" ::= ", 1)
            tokens = [(m.lastgroup, m[m.lastgroup or 0]) for m in _tokens(right)]
            node, rest = _choice(tokens)
            assert not rest, line
            self._rules[name] = node

    def text(self, seed: int) -> str:
        """One of the texts that follow the grammar."""
        return self._said(self._rules["root"], random.Random(seed))

    def takes(self, text: str) -> bool:
        """True when the text follows the grammar."""
        return len(text) in self._ends(self._rules["root"], text, 0)

    def _said(self, node: Any, dice: random.Random) -> str:
        kind, *inner = node
        if kind == "text":
            return str(inner[0])
        if kind == "class":
            return _one_of(inner[0], dice)
        if kind == "name":
            return self._said(self._rules[inner[0]], dice)
        if kind == "choice":
            return self._said(dice.choice(inner[0]), dice)
        if kind == "row":
            return "".join(self._said(one, dice) for one in inner[0])
        one, least, most = inner
        top = least + _MORE if most is None else min(most, least + _MORE)
        return "".join(self._said(one, dice) for _ in range(dice.randint(least, top)))

    def _ends(self, node: Any, text: str, at: int) -> set[int]:
        """Where the node may end that begins at a place."""
        kind, *inner = node
        if kind == "text":
            return {at + len(inner[0])} if text.startswith(inner[0], at) else set()
        if kind == "class":
            return {at + 1} if at < len(text) and re.fullmatch(inner[0], text[at]) else set()
        if kind == "name":
            return self._ends(self._rules[inner[0]], text, at)
        if kind == "choice":
            return {end for one in inner[0] for end in self._ends(one, text, at)}
        if kind == "row":
            ends = {at}
            for one in inner[0]:
                ends = {end for begin in ends for end in self._ends(one, text, begin)}
            return ends
        one, least, most = inner
        ends, found, count = {at}, set({at} if not least else ()), 0
        while ends and (most is None or count < most):
            ends = {end for begin in ends for end in self._ends(one, text, begin)}
            count += 1
            if count >= least:
                if ends <= found:
                    break
                found |= ends
        return found


def _one_of(pattern: str, dice: random.Random) -> str:
    letters = [*map(chr, range(0x20, 0x7F)), *_SAMPLE, *map(chr, range(0xC0, 0x100))]
    fitting = [one for one in letters if re.fullmatch(pattern, one)]
    return str(dice.choice(fitting))


def _tokens(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        assert found is not None, text[at:]
        yield found
        at = found.end()


def _choice(tokens: list[Any]) -> tuple[Any, list[Any]]:
    rows = []
    while True:
        row, tokens = _row(tokens)
        rows.append(row)
        if not tokens or tokens[0] != ("mark", "|"):
            return ("choice", rows), tokens
        tokens = tokens[1:]


def _row(tokens: list[Any]) -> tuple[Any, list[Any]]:
    parts: list[Any] = []
    while tokens and tokens[0] not in (("mark", "|"), ("mark", ")")):
        (kind, text), *tokens = tokens
        if kind == "count":
            parts.append(("times", parts.pop(), *_count(text)))
        elif kind == "mark":
            node, tokens = _choice(tokens)
            assert tokens[0] == ("mark", ")")
            parts.append(node)
            tokens = tokens[1:]
        elif kind == "literal":
            parts.append(("text", _plain(text[1:-1])))
        else:
            parts.append((kind, text))
    assert parts, "an empty row"
    return ("row", parts), tokens


def _count(text: str) -> tuple[int, int | None]:
    if text in "*+?":
        return int(text == "+"), 1 if text == "?" else None
    least, comma, most = text[1:-1].partition(",")
    return int(least), (int(most) if most else None) if comma else int(least)
