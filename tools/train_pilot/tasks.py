"""Turns tickets into questions and answers in every wording the pilot knows.

The wordings themselves stand in `nightkiln.pilot`, because whoever uses the pilot
must be able to read them. What is here is how they are put around a ticket.

One kind of example is marked `forced`: any wording, answered with JSON whose keys
the wording does not give away. That is what a schema enforced by the engine looks
like to the model; only the values count in the loss then.
"""

import json
import random
from dataclasses import dataclass

from nightkiln import pilot
from tools.train_pilot.grammar import Ticket, ticket

SINGLES = {
    "topic": pilot.TOPIC_INSTRUCTIONS,
    "sentiment": pilot.SENTIMENT_INSTRUCTIONS,
    "urgency": pilot.URGENCY_INSTRUCTIONS,
}
LABELS = ("sentiment", "topic", "urgency")
VAGUE = ("Classify this ticket.", "Answer as JSON.", "Sort this ticket.", "Fill in the fields.")

PLACES = (
    (0.4, "{wording} {text}"),
    (0.65, "{wording}\n\n{text}"),
    (0.75, "{wording}\n{text}"),
    (0.85, "{wording}\n\n{name}: {text}"),
    (0.9, '{wording}\n\n"{text}"'),
    (1.0, "{text}\n\n{wording}"),
)  # what is asked, before or after what it is asked about, and how often each


@dataclass(frozen=True)
class Example:
    """One conversation of two turns, and which characters of the answer are worth learning."""

    task: str
    system: str
    prompt: str
    answer: str
    spans: tuple[tuple[int, int], ...]
    source: Ticket


def example(
    dice: random.Random, *, held_out: bool = False, task: str = "", training: bool = False
) -> Example:
    """One example of `task`, or of a task chosen as training mixes them."""
    task = (
        task
        or dice.choices(("extract", "fields", "topic", "sentiment", "urgency"), (38, 36, 10, 8, 8))[
            0
        ]
    )
    naming = task == "extract" or dice.random() < 0.1
    source = ticket(dice, held_out=held_out, extracting=naming, training=training)
    if not source.topic and task in ("fields", "topic", "urgency"):
        task = "sentiment"
    if task in SINGLES:
        answer = str(getattr(source, task))
        wording = dice.choice(SINGLES[task])
        spans: tuple[tuple[int, int], ...] = ((0, len(answer)),)
    elif task == "extract":
        wording = dice.choice(pilot.EXTRACT_INSTRUCTIONS)
        answer, spans = written(source, ("order", "product"), dice, forced=dice.random() < 0.15)
    else:
        wording, answer, spans = _fields(dice, source)
    system, prompt = _placed(dice, wording, source.text)
    return Example(task, system, prompt, answer, spans, source)


def written(
    source: Ticket, names: tuple[str, ...], dice: random.Random, *, forced: bool
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The JSON answer with these fields, and the spans of it that training scores."""
    compact = forced and dice.random() < 0.3
    comma, colon = (",", ":") if compact else (", ", ": ")
    text, spans = "{", []
    for at, name in enumerate(names):
        text += f'{comma if at else ""}"{name}"{colon}"'
        value = json.dumps(getattr(source, name), ensure_ascii=False)[1:]
        spans.append((len(text), len(text) + len(value)))
        text += value
    text += "}"
    return text, tuple(spans) if forced else ((0, len(text)),)


def _fields(dice: random.Random, source: Ticket) -> tuple[str, str, tuple[tuple[int, int], ...]]:
    names = list(LABELS)
    kind = dice.random()
    if kind < 0.4:
        names = dice.sample(LABELS, dice.randint(1, 3))
    elif kind < 0.6:
        names = dice.sample(pilot.FIELDS, dice.randint(2, 5))
    forced = dice.random() < 0.25
    if forced:
        wordings = (*VAGUE, *SINGLES["topic"], *pilot.EXTRACT_INSTRUCTIONS[:1])
        wording = dice.choice(wordings)
    else:
        wording = worded(dice.choice(pilot.FIELDS_INSTRUCTIONS), names)
    answer, spans = written(source, tuple(names), dice, forced=forced)
    return wording, answer, spans


def worded(wording: str, names: list[str]) -> str:
    """An instruction of FIELDS_INSTRUCTIONS with its fields named."""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    shape = "{" + ", ".join(f'"{name}": "..."' for name in names) + "}"
    return wording.replace("{fields}", listed).replace("{shape}", shape)


def _placed(dice: random.Random, wording: str, text: str) -> tuple[str, str]:
    """(system, user) with the wording before, after or apart from the ticket."""
    kind = dice.random()
    if kind < 0.15:
        return wording, text
    shape = next(shape for below, shape in PLACES if kind < below)
    if "{name}" in shape:
        name = dice.choice(("Ticket", "Text", "Message", "Review"))
        shape = shape.replace("{name}", name)
    return "", shape.replace("{wording}", wording).replace("{text}", text)
