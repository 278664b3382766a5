"""Input tables that are the same on every machine, and the check that each row got its answer.

Prompts are 75 bytes. A right answer begins with `h:` and the prompt's hash.
"""

import csv
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

import msgspec

Prompts: TypeAlias = Callable[[int], str]  # the text of a row, by its number

PROMPT_BYTES = 75
LONG_BYTES = 8192
_WORDS = "say in one word whether this customer is happy, sad or neither: "


def prompt(row: int) -> str:
    """The text of a row."""
    text = f"{row:08d} {_WORDS}"
    return text + "." * (PROMPT_BYTES - len(text))


def long_prompt(row: int) -> str:
    """The text of a row with a document of eight kilobytes in it."""
    text = f"{row:08d} {_WORDS}"
    return text + (f"line {row % 97} of a letter from a customer; " * 200)[: LONG_BYTES - len(text)]


def repeating(row: int) -> str:
    """The text of a row where three rows in ten are repeated: one near by, two from anywhere."""
    return prompt(original(row))


def original(row: int) -> int:
    """The first row with this row's text."""
    tens, one = divmod(row, 10)
    if one < 7:
        return row
    if one == 7:
        return row - 7
    before, which = divmod(row * 7919 % max(10, tens * 10), 10)
    return before * 10 + min(which, 6)


def others(job: int) -> Prompts:
    """Texts that no other job of a bench has."""
    return lambda row: prompt(row + 1_000_000 * (job + 1))


def csv_table(path: Path, rows: int, *, of: Prompts = prompt) -> Path:
    """A CSV with one column `text`."""
    with path.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["text"])
        writer.writerows([of(row)] for row in range(rows))
    return path


def jsonl_table(path: Path, rows: int) -> Path:
    """JSON lines with a `custom_id` and a `text`."""
    with path.open("w") as out:
        for row in range(rows):
            out.write(f'{{"custom_id":"request-{row:08d}","text":"{prompt(row)}"}}\n')
    return path


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What an output table holds."""

    rows: int
    right: int  # in place, `ok`, and with the answer to their own prompt

    def wrong_of(self, rows: int) -> int:
        """Rows lost, wrong, or out of order, of as many as there should be."""
        return rows - self.right + abs(self.rows - rows)


def checked(path: Path, *, of: Prompts = prompt) -> Checked:
    """Compare every row of an output with the prompt that belongs there."""
    rows = right = 0
    for row in _rows(path):
        right += _is_right(row, of(rows))
        rows += 1
    return Checked(rows=rows, right=right)


def _is_right(row: dict[str, str], text: str) -> bool:
    digest = blake2b(text.encode(), digest_size=8).hexdigest()
    return (
        row["text"] == text and row["status"] == "ok" and row["answer"].startswith(f"h:{digest} ")
    )


def differing(one: Path, other: Path, *, but: frozenset[str]) -> int:
    """Rows that are not the same in two outputs, columns in `but` aside."""
    count = 0
    for left, right in zip(_rows(one), _rows(other), strict=True):
        count += any(left[name] != right[name] for name in left if name not in but)
    return count


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as given:
        yield from csv.DictReader(given)
