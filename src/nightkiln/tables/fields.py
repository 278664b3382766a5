"""Single values out of JSON lines, as text, without decoding the rest.

Only the keys that are asked for are looked at; the parser skips the others. A
string is its characters, null is empty, and everything else is its own JSON
text made compact: a number keeps every digit the user wrote.
"""

from collections.abc import Iterable, Sequence

import msgspec

_ABSENT = msgspec.Raw()


class Picker:
    """Takes the values of some top-level keys out of JSON objects, in the keys' order."""

    def __init__(self, keys: Sequence[str]) -> None:
        names = [f"f{index}" for index in range(len(keys))]
        wanted = msgspec.defstruct(
            "Wanted",
            [(name, msgspec.Raw, _ABSENT) for name in names],
            rename=dict(zip(names, keys, strict=True)),
            gc=False,
        )
        self._names = names
        self._decode = msgspec.json.Decoder(wanted).decode

    def raws(self, line: str | bytes) -> list[msgspec.Raw]:
        """The values as JSON text; an absent key is an empty one."""
        found = self._decode(line)
        return [getattr(found, name) for name in self._names]

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
