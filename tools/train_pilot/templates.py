"""Reads the phrase files: sections of templates, each with its labels and its side of the split.

A phrase file is plain text. `## name | sentiment | urgency` opens a section, every
other line is one template. `(a|b|)` chooses, and may nest; `{slot}` is filled from
the lexicon later, so noise can be kept away from what must be copied exactly.

Whether a template is held out of training follows from its own text and nothing
else: adding a line elsewhere never moves another line across the split.
"""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PHRASES = Path(__file__).with_name("phrases")
HELD_OUT_OF = 6  # one template in six never enters training


@dataclass(frozen=True)
class Template:
    """One line of a phrase file."""

    text: str

    @property
    def held_out(self) -> bool:
        """Whether training never sees this line."""
        return zlib.crc32(self.text.encode()) % HELD_OUT_OF == 0

    def choose(self, dice: random.Random) -> str:
        """One wording of this template, its slots still open."""
        return _Expansion(self.text, dice).whole()


@dataclass(frozen=True)
class Section:
    """Templates that mean the same kind of thing and so share their labels."""

    file: str
    name: str
    sentiment: str
    urgency: str
    templates: tuple[Template, ...]

    def side(self, held_out: bool) -> tuple[Template, ...]:
        """The templates on one side of the split."""
        return tuple(entry for entry in self.templates if entry.held_out == held_out)


class _Expansion:
    """A recursive descent over one template: text, `(`, alternatives, `)`."""

    def __init__(self, text: str, dice: random.Random) -> None:
        self._text = text
        self._dice = dice
        self._at = 0

    def whole(self) -> str:
        said = self._sequence()
        if self._at != len(self._text):
            raise ValueError(f"a bracket closes that never opened: {self._text}")
        return " ".join(said.split())

    def _sequence(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            if self._text[self._at] == "(":
                parts.append(self._alternatives())
            else:
                parts.append(self._text[self._at])
                self._at += 1
        return "".join(parts)

    def _alternatives(self) -> str:
        choices: list[str] = []
        while True:
            self._at += 1
            choices.append(self._sequence())
            if self._at >= len(self._text):
                raise ValueError(f"a bracket never closes: {self._text}")
            if self._text[self._at] == ")":
                self._at += 1
                return self._dice.choice(choices)


@cache
def sections(file: str) -> tuple[Section, ...]:
    """The sections of one phrase file, in the order they are written."""
    text = (PHRASES / f"{file}.txt").read_text(encoding="utf-8")
    return tuple(_sections(file, text))


@cache
def section(file: str, name: str) -> Section:
    """One section by name. Raises KeyError when the file has no such section."""
    for found in sections(file):
        if found.name == name:
            return found
    raise KeyError(f"{file}.txt has no section {name!r}")


def _sections(file: str, text: str) -> Iterator[Section]:
    for block in text.split("## ")[1:]:
        title, *lines = [line.rstrip() for line in block.splitlines() if line.strip()]
        name, sentiment, urgency = ([part.strip() for part in title.split("|")] + ["", ""])[:3]
        yield Section(file, name, sentiment, urgency, tuple(Template(line) for line in lines))
