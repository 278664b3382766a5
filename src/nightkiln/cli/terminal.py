"""What a stream can show: escapes, colours, letters beyond ASCII, and how wide it is.

A stream that is no terminal gets plain lines and never an escape.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Final, TextIO

_SHOWN: Final = "✓✗▓░·…→"
_PLAIN: Final = str.maketrans(
    {"✓": "ok ", "✗": "x ", "▓": "#", "░": "-", "·": "|", "…": "...", "→": "->"}
)
_COLOURS: Final = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}
_CLEAR: Final = "\r\x1b[2K"


class Terminal:
    """A stream and its abilities. Writes lines, and on a terminal one line that changes."""

    def __init__(
        self, stream: TextIO, *, is_tty: bool, colour: bool, unicode: bool, width: int = 80
    ) -> None:
        self.is_tty = is_tty
        self.width = width
        self._stream = stream
        self._colour = colour
        self._unicode = unicode
        self._drawn = False

    def say(self, text: str) -> None:
        """A line that stays, above the changing one."""
        self.clear()
        self._stream.write(self.plain(text) + "\n")
        self._stream.flush()

    def draw(self, pieces: list[tuple[str, str]]) -> None:
        """Replace the changing line with pieces of (text, colour). Only on a terminal."""
        room, shown = self.width - 1, []
        for text, colour in pieces:
            clipped = self.plain(text)[:room]
            room -= len(clipped)
            shown.append(self.coloured(clipped, colour))
        self._stream.write(_CLEAR + "".join(shown))
        self._stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take the changing line away."""
        if self._drawn:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._drawn = False

    def plain(self, text: str) -> str:
        """The text in letters the stream can show."""
        return text if self._unicode else text.translate(_PLAIN)

    def coloured(self, text: str, colour: str) -> str:
        """The text in a colour, where colours are shown."""
        if not self._colour or not colour or not text:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def terminal(
    stream: TextIO, *, no_color: bool = False, environ: Mapping[str, str] = os.environ
) -> Terminal:
    """What `stream` can show, here and now."""
    is_tty = stream.isatty() and environ.get("TERM") != "dumb"
    return Terminal(
        stream,
        is_tty=is_tty,
        colour=is_tty and not no_color and not environ.get("NO_COLOR"),
        unicode=_encodes(_SHOWN, getattr(stream, "encoding", None) or "ascii"),
        width=max(20, shutil.get_terminal_size().columns) if is_tty else 80,
    )


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
