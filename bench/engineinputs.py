"""What the engines are asked in `bench/engines.py`: the same rows on every machine."""

import csv
import random
import string
from pathlib import Path

import msgspec
from bench.enginemodels import random_135m

from nightkiln import pilot

SHARE_OF_COPIES = 0.3
PLAIN, COPIES, SHARED = "plain", "30 % duplicate rows", "shared system prompt"
VARIANTS = (PLAIN, COPIES, SHARED)
_SEED = 20


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Rows for one model. Every answer is `max_tokens` long, whatever the model wants to say."""

    model: str
    texts: tuple[str, ...]
    max_tokens: int
    system: str | None = None
    side_by_side: int = 64  # sequences in one step
    kv_cache_gb: int = 1

    def saved(self, path: Path) -> Path:
        """Write it for a child process."""
        path.write_bytes(msgspec.json.encode(self))
        return path

    def table(self, path: Path) -> Path:
        """Write the rows as a CSV with one column `text`."""
        with path.open("w", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["text"])
            writer.writerows([text] for text in self.texts)
        return path


def pilot_task(rows: int, variant: str = PLAIN) -> Task:
    """Tickets for the pilot, about 60 tokens each, 8 tokens back."""
    data = pilot.data_folder()
    prompts = [row["prompt"] for row in _rows(data / "held_out_templates.jsonl")]
    examples = [row["text"] for row in _rows(data / "hand_written.jsonl")][:6]
    texts = [f"{prompts[n % len(prompts)]} Order {n:06d}." for n in range(rows)]
    system = " ".join([pilot.TOPIC_INSTRUCTIONS[0], *examples])
    return _varied(Task(model=str(pilot.path()), texts=tuple(texts), max_tokens=8), system, variant)


def random_task(rows: int, variant: str = PLAIN) -> Task:
    """Invented words for the random model, 16 to 200 tokens each, 32 tokens back."""
    dice = random.Random(_SEED)
    words = [
        "".join(dice.choices(string.ascii_lowercase, k=dice.randint(2, 6))) for _ in range(500)
    ]
    texts = [" ".join(dice.choices(words, k=dice.randint(5, 70))) for _ in range(rows)]
    task = Task(model=str(random_135m()), texts=tuple(texts), max_tokens=32)
    return _varied(task, " ".join(dice.choices(words, k=90)), variant)


def _varied(task: Task, system: str, variant: str) -> Task:
    if variant == SHARED:
        return msgspec.structs.replace(task, system=system)
    if variant == COPIES:
        return msgspec.structs.replace(task, texts=_with_copies(task.texts))
    return task


def _with_copies(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts, three in ten of them replaced by one that came before."""
    dice, out = random.Random(_SEED), [texts[0]]
    for text in texts[1:]:
        out.append(dice.choice(out) if dice.random() < SHARE_OF_COPIES else text)
    return tuple(out)


def _rows(path: Path) -> list[dict[str, str]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
