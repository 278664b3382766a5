"""Measures a GGUF file through the real engine and prints every figure of the README."""

import json
import time
from pathlib import Path

from nightkiln import pilot
from tools.train_pilot import sets
from tools.train_pilot.engine import Engine, labels_schema
from tools.train_pilot.sets import Question, scored

ROOT = Path(__file__).resolve().parents[2]


def every_set() -> dict[str, list[Question]]:
    """All sets by the name they have in the README."""
    data = pilot.data_folder()
    named = {
        "seen templates": sets.read(data / "seen_templates.jsonl"),
        "held-out templates": sets.read(data / "held_out_templates.jsonl"),
        "examples/tickets.csv": sets.tickets(ROOT / "examples" / "tickets.csv"),
    }
    by_hand = sets.hand_written()
    return named | {f"hand-written, {task}": rows for task, rows in by_hand.items()}


def evaluate(file: Path, wrong: bool = False) -> None:
    """Prints one line per set and task; with `wrong` also every answer that was not right."""
    engine = Engine(file)
    for name, questions in every_set().items():
        began = time.monotonic()
        answers = engine.answers([(one.system, one.prompt) for one in questions])
        rate = len(questions) / (time.monotonic() - began)
        found = scored(questions, answers)
        parts = "; ".join(f"{task} {score}" for task, score in found.items())
        print(f"{name}: {parts} ({rate:.0f} rows/s)")
        if wrong:
            for one, answer in zip(questions, answers, strict=True):
                if answer.strip() != one.answer:
                    print(f"    {one.prompt!r}\n      said {answer!r}, right is {one.answer!r}")
    _with_schema(engine)


def _with_schema(engine: Engine) -> None:
    """The example tickets again, the shape of the answer forced by the engine."""
    asked = sets.tickets_as_fields(ROOT / "examples" / "tickets.csv")
    answers = engine.answers([(one.system, one.prompt) for one in asked], schema=labels_schema())
    right = sum(
        json.loads(answer)["topic"] == one.answer
        for answer, one in zip(answers, asked, strict=True)
    )
    print(f"examples/tickets.csv, schema enforced: topic {sets.Score(right, len(asked))}")
