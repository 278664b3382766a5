"""Single values out of JSON lines, as text, without decoding the rest.

Only the keys that are asked for are looked at; the parser skips the others. A
string is its characters, null is empty, and everything else is its own JSON
text made compact: a number keeps every digit the user wrote.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

_ABSENT: Final = msgspec.Raw()
_ANY_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNSPEAKABLE: Final = re.compile(r'["\\\x00-\x1f]')  # what a struct's field cannot be called


class Picker:
    """Takes the values of some top-level keys out of JSON objects, in the keys' order."""

    def __init__(self, keys: Sequence[str]) -> None:
        # A struct lets the parser skip the other keys, but cannot be told every
        # name; names with quotes or control characters take the slower way.
        fields = {key: f"f{index}" for index, key in enumerate(dict.fromkeys(keys))}
        self._keys = tuple(keys)
        self._fields: tuple[str, ...] | None = None
        self._decode: Callable[[str | bytes], Any] = _ANY_KEYS.decode
        if not any(_UNSPEAKABLE.search(key) for key in keys):
            wanted = msgspec.defstruct(
                "Wanted",
                [(field, msgspec.Raw, _ABSENT) for field in fields.values()],
                rename={field: key for key, field in fields.items()},
                gc=False,
            )
            self._fields = tuple(fields[key] for key in keys)
            self._decode = msgspec.json.Decoder(wanted).decode

    def raws(self, line: str | bytes) -> list[msgspec.Raw]:
        """The values as JSON text; an absent key is an empty one."""
        found = self._decode(line)
        if self._fields is None:
            return [found.get(key, _ABSENT) for key in self._keys]
        return [getattr(found, field) for field in self._fields]

    def texts(self, lines: Iterable[str | bytes]) -> list[list[str]]:
        """For every line the values as text; an absent key is empty text."""
        return [[text_of(raw) for raw in self.raws(line)] for line in lines]


def text_of(raw: msgspec.Raw) -> str:
    """A JSON value as text: strings as they are, null as nothing, the rest as compact JSON."""
    if not raw:
        return ""
    json_text = bytes(raw)
    match json_text[:1]:
        case b'"':
            return msgspec.json.decode(json_text, type=str)
        case b"n":
            return ""
        case b"{" | b"[":
            return msgspec.json.format(json_text, indent=-1).decode()
        case _:
            return json_text.decode()
