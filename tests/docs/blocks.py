"""The examples of a page: its fenced blocks, and what the comments before them say.

    <!-- file: NAME -->             the block is written to NAME, not run
    <!-- server: simulate OPTIONS --> the simulated provider answers at 127.0.0.1:8000
    <!-- serves -->                 the block's one command is a server; it stays up
    <!-- not run: REASON -->        the block cannot run here

Without a comment a `console` block is commands behind `$ ` with what they print,
a `python` block is a script, and a `text` block after one is what it prints.
Anything else is a mistake of the page. Nothing here runs anything.
"""

import enum
import re
from pathlib import Path
from typing import Final

import msgspec

VISIBLE_PORT: Final = "127.0.0.1:8000"
_COMMENT: Final = re.compile(
    r"<!--\s*(?!server: (?:begin|end) )"  # these hold the figures of benches, as of any other part
    r"(file|server|serves|not run)(?::\s*(.*?))?\s*-->"
)
_FENCE: Final = re.compile(r"(`{3,})(\w*)\s*$")
_INDENTED: Final = re.compile(r" {4,}\S")


class Kind(enum.StrEnum):
    """What is done with a block."""

    CONSOLE = "console"
    PYTHON = "python"
    OUTPUT = "output"
    FILE = "file"
    SERVES = "serves"
    NOT_RUN = "not run"


class Command(msgspec.Struct, frozen=True):
    """A command and the lines shown below it; None when the page shows none."""

    text: str
    shown: tuple[str, ...] | None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One fenced block."""

    kind: Kind
    line: int
    text: str
    named: str = ""  # of a file its name, of a block that is not run the reason
    server: str | None = None  # options of the simulated provider


class BadPage(Exception):
    """A page holds a block that nobody would run."""


def blocks_of(page: Path, *, is_made: bool = False) -> list[Block]:
    """All blocks of a page in order. Raises BadPage.

    A page that is made from the code shows calls as indented blocks; no other may.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    said: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        if comment := _COMMENT.fullmatch(line.strip()):
            said[comment[1]] = comment[2] or ""
        elif fence := _FENCE.match(line):
            end = lines.index(fence[1], at + 1)
            text = "\n".join(lines[at + 1 : end]) + "\n"
            found.append(_block(page, fence[2], text, said, (at + 1, found)))
            said, at = {}, end
        elif line.strip():
            if said:
                raise BadPage(f"{page.name}:{at + 1}: a comment stands before no block: {said}")
            if not is_made and _INDENTED.match(line) and not lines[at - 1].strip():
                raise BadPage(f"{page.name}:{at + 1}: an indented block; use a fence")
        at += 1
    return found


def _block(
    page: Path, language: str, text: str, said: dict[str, str], place: tuple[int, list[Block]]
) -> Block:
    line, before = place
    server = said.get("server")
    if server is not None and not server.startswith("simulate"):
        raise BadPage(f"{page.name}:{line}: the only server is `simulate`")
    options = None if server is None else server.removeprefix("simulate").strip()
    if "not run" in said:
        if len(said["not run"].split()) < 4:
            raise BadPage(f"{page.name}:{line}: a block that is not run says why")
        return Block(kind=Kind.NOT_RUN, line=line, text=text, named=said["not run"])
    if "file" in said:
        return Block(kind=Kind.FILE, line=line, text=text, named=said["file"])
    if "serves" in said:
        return Block(kind=Kind.SERVES, line=line, text=text)
    if language == "text" and before and before[-1].kind is Kind.PYTHON:
        return Block(kind=Kind.OUTPUT, line=line, text=text)
    if language in (Kind.CONSOLE, Kind.PYTHON):
        return Block(kind=Kind(language), line=line, text=text, server=options)
    raise BadPage(f"{page.name}:{line}: a block of {language or 'no language'} that nothing runs")


def commands_of(text: str) -> list[Command]:
    """The commands of a console block. A line that ends in `\\` goes on in the next."""
    commands: list[Command] = []
    command: list[str] = []
    shown: list[str] = []

    def close() -> None:
        if command:
            commands.append(Command("\n".join(command), tuple(shown) or None))
        command.clear()
        shown.clear()

    for line in text.splitlines():
        if line.startswith("$ "):
            close()
            command.append(line[2:])
        elif command and not shown and (command[-1].endswith("\\") or _is_open(command)):
            command.append(line)
        elif command:
            shown.append(line)
        else:
            raise BadPage(f"a console block begins with `$ `, not with {line!r}")
    close()
    return commands


def _is_open(command: list[str]) -> bool:
    """True inside a quote that goes on in the next line."""
    return "\n".join(command).replace("\\'", "").count("'") % 2 == 1


def difference(shown: tuple[str, ...], printed: str) -> str | None:
    """None when what was printed is what the page shows, else both.

    `…` stands for anything within a line, a line of it alone for any lines.
    """
    pattern = ""
    for line in (one.rstrip() for one in shown):
        if line == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part) for part in line.split("…")) + r"\s*?\n"
    text = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    if re.fullmatch(pattern, text):
        return None
    wanted = "\n".join(shown)
    return f"the page shows:\n{wanted}\nit prints:\n{text}"
