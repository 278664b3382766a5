r"""Regular expressions of a schema's strings as grammars. Pure.

A pattern may match anywhere in a string, so what `^` and `$` do not hold is
open. It becomes the text of a JSON string: characters that JSON has to escape
are written escaped where the pattern names them, and are left out of its
classes. What no grammar can say (looking around, going back, words' borders)
raises UnknownPattern; a pattern is never bent.
"""

from typing import Final

from nightkiln.backends.engines.json_counts import Counts

_CLASSES: Final = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " "}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b"}
_NEVER: Final = r'"\\\x00-\x1f'  # what stands in no JSON string as it is
_DOT: Final = f"[^{_NEVER}]"
_PLAIN: Final = "/.-_@:,;!#%&'\"<>=~` "  # that a backslash may stand before, besides the special
_SPECIAL: Final = "^$\\.*+?()[]{}|"
_DEEP: Final = 32


_DAY: Final = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_CLOCK: Final = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_ZONE: Final = r"(Z|[-+]([01]\d|2[0-3]):[0-5]\d)"
FORMATS: Final = {  # whose shape is plain
    "date": f"^{_DAY}$",
    "time": f"^{_CLOCK}{_ZONE}$",
    "date-time": f"^{_DAY}T{_CLOCK}{_ZONE}$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}


class UnknownPattern(ValueError):
    """No grammar says what the pattern says."""


def body_of(pattern: str, counts: Counts) -> str:
    """The grammar of what stands between the quotes. Raises UnknownPattern."""
    return _Reader(pattern, counts).whole()


class _Reader:
    """Reads a pattern from left to right, once."""

    def __init__(self, pattern: str, counts: Counts) -> None:
        self._counts = counts
        self._text = pattern
        self._at = 0
        self._end = len(pattern)
        self._depth = 0

    def whole(self) -> str:
        if self._text.startswith("^"):
            self._at = 1
        is_open = self._at == 0
        held = self._text.endswith("$") and not self._is_escaped(self._end - 1)
        self._end -= held
        parts = self._choices()
        if self._at != self._end:
            raise UnknownPattern(f"{self._text[self._at]!r} is out of place")
        if len(parts) > 1 and (held or not is_open):
            raise UnknownPattern("^ and $ hold only one side of a choice")
        body = " | ".join(parts)
        before = "char* " if is_open else ""
        return f"{before}({body}){'' if held else ' char*'}"

    def _is_escaped(self, place: int) -> bool:
        """True when an odd number of backslashes stands before a place."""
        head = self._text[:place]
        return (len(head) - len(head.rstrip("\\"))) % 2 == 1

    def _next(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _take(self) -> str:
        if self._at >= self._end:
            raise UnknownPattern("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _choices(self) -> list[str]:
        self._depth += 1
        if self._depth > _DEEP:
            raise UnknownPattern("it nests too deeply")
        parts = [self._row()]
        while self._next() == "|":
            self._take()
            parts.append(self._row())
        self._depth -= 1
        return parts

    def _row(self) -> str:
        pieces = []
        while self._next() not in ("", "|", ")"):
            pieces.append(self._repeated(self._one()))
        return " ".join(pieces) or '""'

    def _one(self) -> str:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._class()
        if letter == ".":
            return _DOT
        if letter == "\\":
            return self._escape()
        if letter in "^$*+?{":
            raise UnknownPattern(f"{letter!r} is out of place")
        return _terminal(letter)

    def _group(self) -> str:
        if self._next() == "?":
            self._take()
            if self._take() != ":":
                raise UnknownPattern("lookaheads, lookbehinds and named groups are not known here")
        parts = self._choices()
        if self._take() != ")":
            raise UnknownPattern("a group does not end")
        return f"({' | '.join(parts)})"

    def _escape(self) -> str:
        letter = self._take()
        if letter in _CLASSES:
            return f"[{_CLASSES[letter]}]"
        if letter.lower() in _CLASSES:
            return f"[^{_CLASSES[letter.lower()]}{_NEVER}]"
        return _terminal(self._escaped(letter))

    def _escaped(self, letter: str) -> str:
        """The character that stands behind a backslash."""
        if letter in _SPECIAL or letter in _PLAIN:
            return letter
        if letter in _CONTROLS and letter != "b":
            return _CONTROLS[letter]
        raise UnknownPattern(f"\\{letter} is not known here")

    def _class(self) -> str:
        negated = self._next() == "^"
        if negated:
            self._take()
        parts: list[str] = []
        while (letter := self._take()) != "]":
            if letter == "\\" and self._next() in _CLASSES:
                parts.append(_CLASSES[self._take()])
                continue
            low = self._member(letter)
            high = low
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._take()
                high = self._member(self._take())
            parts += _ranges(low, high, negated=negated)
        if negated:
            return f"[^{''.join(parts)}{_NEVER}]"
        if not parts:
            raise UnknownPattern("a class of nothing that stands in a JSON string as it is")
        return f"[{''.join(parts)}]"

    def _member(self, letter: str) -> str:
        if letter != "\\":
            return letter
        escaped = self._take()
        return "\b" if escaped == "b" else self._escaped(escaped)

    def _repeated(self, one: str) -> str:
        """A piece, as often as what stands behind it says."""
        sign = self._next()
        if not sign or sign not in "*+?{":
            return one
        self._take()
        times = self._counted(one) if sign == "{" else one + sign
        if self._next() == "?":  # as few as possible: the same strings
            self._take()
        return times

    def _counted(self, one: str) -> str:
        text = ""
        while (letter := self._take()) != "}":
            text += letter
        least, comma, most = text.partition(",")
        if not (least.isdecimal() and (most.isdecimal() or not most)):
            raise UnknownPattern(f"{{{text}}} is no count")
        top = int(most) if most else None if comma else int(least)
        if top is not None and top < int(least):
            raise UnknownPattern(f"{{{text}}} is no count")
        return self._counts.times(one, int(least), top)


def _terminal(letter: str) -> str:
    """One character of the string as a terminal, escaped as JSON wants it."""
    if letter in _CONTROLS.values():
        named = next(name for name, control in _CONTROLS.items() if control == letter)
        return f'"\\\\{named}"'
    if letter < " ":
        raise UnknownPattern("a control character")
    if letter in '"\\':
        return '"\\\\\\' + letter + '"'
    return f'"{letter}"'


def _ranges(low: str, high: str, *, negated: bool) -> list[str]:
    """A range of a class without what stands in no JSON string as it is."""
    if high < low:
        raise UnknownPattern(f"{low}-{high} is no range")
    if negated:
        return [_ranged(low, high)]
    pieces, begin, end = [], max(ord(low), 0x20), ord(high) + 1
    for hole in (*(ord(one) for one in '"\\' if ord(one) < end), end):
        if begin < hole:
            pieces.append(_ranged(chr(begin), chr(hole - 1)))
        begin = max(begin, hole + 1)
    return pieces


def _ranged(low: str, high: str) -> str:
    return _in_class(low) if low == high else f"{_in_class(low)}-{_in_class(high)}"


def _in_class(letter: str) -> str:
    if letter.isascii() and letter.isalnum():
        return letter
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else letter
