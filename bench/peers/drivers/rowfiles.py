"""What every driver shares: its arguments, its rows, and the file its answers go to.

A driver is called as `DRIVER URL INPUT OUTPUT CONCURRENCY`. The input is JSON
lines with `custom_id` and `text`, the output JSON lines with `custom_id` and
`answer`; a row that could not be answered has `null`. Standard library only.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MODEL = "stub"
KEY = "none"
RETRIES = 5


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a driver was called with."""

    url: str  # ends with /v1
    rows: list[dict[str, str]]
    output: Path
    concurrency: int


def task() -> Task:
    """The command line as a task."""
    url, source, output, concurrency = sys.argv[1:]
    with Path(source).open() as given:
        rows = [json.loads(line) for line in given]
    return Task(url=url, rows=rows, output=Path(output), concurrency=int(concurrency))


def messages(row: dict[str, str]) -> list[dict[str, str]]:
    """A row as a conversation."""
    return [{"role": "user", "content": row["text"]}]


def line(row: dict[str, str], answer: str | None) -> str:
    """A line of the output."""
    return json.dumps({"custom_id": row["custom_id"], "answer": answer}) + "\n"


def write(given: Task, answers: Iterable[object]) -> None:
    """Write the answers, one for each row in order; whatever is no text is a lost row."""
    with given.output.open("w") as out:
        for row, answer in zip(given.rows, answers, strict=True):
            out.write(line(row, answer if isinstance(answer, str) else None))
