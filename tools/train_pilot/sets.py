"""The evaluation sets as files, and how they are counted.

A set is JSON lines. The drawn sets hold the question as asked (`system`, `prompt`)
and the whole `answer`; the hand-written set and the tickets of the examples hold a
text and its labels, and are asked with the first wording of each task.
"""

import csv
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nightkiln import pilot
from tools.train_pilot import tasks

ROWS = 600
SEED = 7_000_003  # far from the seed of training: sentences of seen templates, but other ones
TASKS = ("topic", "sentiment", "urgency", "extract", "fields")


@dataclass(frozen=True)
class Question:
    """One question and the answer that counts as right."""

    task: str
    system: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Score:
    """How many of how many answers were exactly right."""

    right: int
    rows: int

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.right / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        return f"{self.right}/{self.rows} = {100 * self.share:.1f} %"


def drawn(held_out: bool, rows: int = ROWS) -> list[Question]:
    """Questions from the grammar, as many of each task; no text comes twice."""
    dice = random.Random(SEED + held_out)
    found: list[Question] = []
    texts: set[str] = set()
    while len(found) < rows:
        made = tasks.example(dice, held_out=held_out, task=TASKS[len(found) % len(TASKS)])
        if made.task != TASKS[len(found) % len(TASKS)] or made.source.text in texts:
            continue
        if made.spans != ((0, len(made.answer)),):
            continue  # a forced shape needs an engine that forces it
        texts.add(made.source.text)
        found.append(Question(made.task, made.system, made.prompt, made.answer))
    return found


def write(questions: list[Question], out: Path) -> None:
    """Writes questions as JSON lines."""
    rows = (
        {"task": one.task, "system": one.system, "prompt": one.prompt, "answer": one.answer}
        for one in questions
    )
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out.write_text(text, encoding="utf-8")


def read(file: Path) -> list[Question]:
    """Questions as `write` left them."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Question(**json.loads(line)) for line in lines]


def hand_written() -> dict[str, list[Question]]:
    """The hand-written rows, asked for each label, and for order and product as JSON."""
    lines = (pilot.data_folder() / "hand_written.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    asked: dict[str, list[Question]] = {}
    for task, wordings in tasks.SINGLES.items():
        asked[task] = [
            Question(task, "", f"{wordings[0]}\n\n{row['text']}", row[task]) for row in rows
        ]
    asked["extract"] = [
        Question(
            "extract",
            "",
            f"{pilot.EXTRACT_INSTRUCTIONS[0]}\n\n{row['text']}",
            json.dumps({"order": row["order"], "product": row["product"]}, ensure_ascii=False),
        )
        for row in rows
    ]
    return asked


def tickets(file: Path) -> list[Question]:
    """The example tickets with the label a person gave them, asked as the example asks."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    wording = pilot.TOPIC_INSTRUCTIONS[0]
    return [Question("topic", "", f"{wording} {row['text']}", row["human_label"]) for row in rows]


def tickets_as_fields(file: Path) -> list[Question]:
    """The example tickets asked for all three labels as JSON; the answer is the topic alone."""
    wording = tasks.worded(pilot.FIELDS_INSTRUCTIONS[0], list(tasks.LABELS))
    plain = pilot.TOPIC_INSTRUCTIONS[0]
    return [
        Question("fields", "", one.prompt.replace(plain, wording, 1), one.answer)
        for one in tickets(file)
    ]


def scored(questions: list[Question], answers: list[str]) -> dict[str, Score]:
    """Exact matches, in all and by task."""
    right: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for one, answer in zip(questions, answers, strict=True):
        for name in ("all", one.task):
            rows[name] += 1
            right[name] += answer.strip() == one.answer
    return {name: Score(right[name], rows[name]) for name in rows}
