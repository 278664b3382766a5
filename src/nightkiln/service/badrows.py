"""The bad rows of a job after its input was read: counted, shown, written, or refused.

They live in the input segments, so they outlast every run and every retry.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import JobSpec
from nightkiln.service.outputs import STDOUT, opened
from nightkiln.tables.badrows import Flaw, restored, stored, told, where, with_flaws
from nightkiln.tables.base import BadRow, Place
from nightkiln.tables.batch_in import named_repeated
from nightkiln.tables.formats import open_reader
from nightkiln.tables.unique import Duplicate
from nightkiln.vault.home import JobFiles
from nightkiln.vault.segments import SegmentNote, mark_bad, notes, stored_bad

SHOWN: Final = 10
WRITES_ALL: Final = "--bad-rows FILE writes all of them"  # said where nobody gave it
_ID_SHOWN: Final = 80  # characters of an id in a message
_READ_ROWS: Final = 1000


class _Line(msgspec.Struct, frozen=True):
    """A bad row as `--bad-rows` writes it."""

    row: int
    line: int
    reason: str
    text: str


def count(files: JobFiles) -> int:
    """How many rows of a job are bad."""
    return sum(note.bad for note in notes(files))


def all_of(files: JobFiles) -> Iterator[BadRow]:
    """The bad rows of a job, in order."""
    return map(restored, stored_bad(files))


def shown(files: JobFiles, rows: int, *, written: str | None = None) -> list[str]:
    """What a user is told once: how many there are and the first of them; nothing without any.

    `written` is the file that has all of them already.
    """
    total = count(files)
    if not total:
        return []
    verb = "row is" if total == 1 else "rows are"
    lines = [f"{total:,} of {rows:,} {verb} bad and will not be asked"]
    lines += [told(bad) for bad in islice(all_of(files), SHOWN)]
    if total > SHOWN:
        more = WRITES_ALL if written is None else written_in(written)
        lines.append(f"and {total - SHOWN:,} more; {more}")
    return lines


def written_in(output: str) -> str:
    """Where all bad rows are, in words."""
    return f"{'standard output' if output == STDOUT else output} has all of them"


def check_output(output: str, *, source_path: str, results: str | None) -> None:
    """Refuse a file for bad rows that could not be written, before anything is spent."""
    if output == STDOUT:
        if results == STDOUT:
            raise UsageError("-o and --bad-rows cannot both be standard output")
        return
    path = Path(output).expanduser().absolute()
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"--bad-rows {output} cannot be written", hint="name a file in a folder")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} may not be written", hint="name another file")
    taken = [source_path, *([] if results in (None, STDOUT) else [str(results)])]
    if any(path == Path(name).expanduser().absolute() for name in taken):
        raise UsageError(
            f"--bad-rows {output} is the input or the output", hint="name another file"
        )


def write(files: JobFiles, output: str) -> int:
    """Write all bad rows as JSON lines, an empty file when there are none; how many they are."""
    encode, total = msgspec.json.Encoder().encode, 0
    with opened(output) as out:
        for bad in all_of(files):
            out.write(encode(_Line(bad.row, bad.line, bad.reason, bad.text)) + b"\n")
            total += 1
    return total


def refuse(spec: JobSpec, files: JobFiles, rows: int) -> None:
    """Raise InputError when the job may have no bad rows, or has no others."""
    total = count(files)
    if not total or (total < rows and spec.source.on_bad_row != "fail"):
        return
    if spec.source.batch is not None and spec.source.batch.translated:
        return  # there every request ends for itself, though all of them be bad
    first = list(islice(all_of(files), SHOWN))
    raise refusal(spec, first, total, rows)


def refusal(spec: JobSpec, first: Sequence[BadRow], total: int, rows: int) -> InputError:
    """The error of a job that bad rows fail: the first of them and how many there are."""
    which = "no row can be used" if total == rows else f"{total:,} of {rows:,} rows are bad"
    lines = [f"{spec.source.name}: {which}", *(f"  {told(bad)}" for bad in first)]
    if total > len(first):
        lines.append(f"  and {total - len(first):,} more; {WRITES_ALL}")
    hints = {bad.hint for bad in first}
    hint = hints.pop() if len(hints) == 1 else ""
    if not hint:
        hint = "mend these rows" + (", or let them be: --on-bad-row error" if total < rows else "")
    return InputError("\n".join(lines), line=first[0].line or None, hint=hint)


def mark_repeated(
    spec: JobSpec, files: JobFiles, sealed: Sequence[SegmentNote], found: Sequence[Duplicate]
) -> None:
    """Make bad rows of those whose custom id is another row's already. Safe to repeat.

    Which rows they are is known only at the end of the input; the lines they
    are on are read once more, for who repeats an id wants to see both.
    """
    marks = _marks(spec, found)
    for number, note in enumerate(sealed):
        end = note.first_row + sum(note.group_rows)
        if mine := {row: text for row, text in marks.items() if note.first_row <= row < end}:
            mark_bad(files, number, mine)


def _marks(spec: JobSpec, found: Sequence[Duplicate]) -> dict[int, str]:
    """What a segment keeps of each repeated row."""
    repeats = {twin.row: twin for twin in found}
    firsts = {twin.first_row: 0 for twin in found}
    last, marks = max(repeats), {}
    for block in open_reader(spec.source).blocks(Place(), rows=_READ_ROWS):
        row = block.end.row - block.rows.num_rows
        flaws: dict[int, Flaw] = {}
        for index in range(block.rows.num_rows):
            line = block.starts[index] if block.starts else block.lines[0] + index
            if row + index in firsts:
                firsts[row + index] = line
            if (twin := repeats.get(row + index)) is not None:
                flaw = _repeated(twin, firsts[twin.first_row])
                flaws[index] = flaw if spec.source.batch is None else named_repeated(flaw)
        if flaws:
            texts = stored(with_flaws(block, flaws))
            marks.update({row + index: texts[index].as_py() for index in flaws})
        if block.end.row > last:
            break
    return marks


def _repeated(twin: Duplicate, first_line: int) -> Flaw:
    value = twin.id if len(twin.id) <= _ID_SHOWN else twin.id[:_ID_SHOWN] + "…"
    first = where(twin.first_row, first_line)
    return Flaw(f'the id "{value}" is that of {first} already', "give each row its own id")
