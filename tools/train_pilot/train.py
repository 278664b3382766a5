"""Trains the pilot: seeded, on what the grammar makes up as it goes, loss on answers only.

The schedule is a short rise and then a cosine. The first tenth of the steps sees
short texts full of numbers to copy, because copying is the slowest thing to
appear and everything else is easy once it is there.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tools.train_pilot import tasks, tokenizer
from tools.train_pilot.model import Pilot, Shape

LONGEST = 320
POOL = 2048  # examples that are sorted by length before they are cut into batches


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    seed: int = 20261120
    steps: int = 4000
    tokens: int = 3000
    rate: float = 3e-3
    warm: int = 100
    decay: float = 0.05
    device: str = "cpu"
    stop: int | None = None  # end here, in the middle of the schedule
    start: Path | None = None  # weights to go on from; the schedule begins anew


LEGS = (
    Plan(steps=13_000, stop=5_500),
    Plan(seed=20261121, steps=7_000, rate=2e-3),
    Plan(seed=20261122, steps=4_000, rate=1.2e-3),
)  # how the shipped weights were made: each leg goes on from the one before


@dataclass(frozen=True)
class Row:
    """One example as ids, and which of them the loss counts."""

    ids: list[int]
    counted: list[bool]


def train(
    plan: Plan, reader: Tokenizer, out: Path, each: Callable[[int, float], None] | None = None
) -> Pilot:
    """Trains a model and writes its weights to `out` as it goes along."""
    torch.manual_seed(plan.seed)
    model: Pilot = Pilot(Shape(vocabulary=reader.get_vocab_size())).to(plan.device)
    if plan.start is not None:
        model.load_state_dict(torch.load(plan.start, map_location=plan.device))
    optimisers = _optimisers(model, plan)
    stream = batches(plan, reader)
    shown, since = 0.0, time.monotonic()
    last = plan.stop or plan.steps
    for step in range(last):
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = plan.rate * pace(plan, step)
        loss = _step(model, next(stream), plan.device, optimisers)
        shown += loss
        if each is not None:
            each(step, loss)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} loss {shown / 50:.4f} {time.monotonic() - since:.0f} s",
                  flush=True)  # fmt: skip
            shown = 0.0
        if (step + 1) % 500 == 0 or step + 1 == last:
            torch.save(model.state_dict(), out)
    model.eval()
    return model


def pace(plan: Plan, step: int) -> float:
    """The share of the full rate at this step."""
    if step < plan.warm:
        return (step + 1) / plan.warm
    done = (step - plan.warm) / max(1, plan.steps - plan.warm)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def batches(plan: Plan, reader: Tokenizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of about `plan.tokens` ids, rows of like length together."""
    dice = random.Random(plan.seed)
    made = 0
    while True:
        early = plan.start is None and made < plan.steps // 10
        pool = sorted((row(reader, dice, early) for _ in range(POOL)), key=lambda one: len(one.ids))
        cut: list[list[Row]] = [[]]
        for one in pool:
            if (len(cut[-1]) + 1) * len(one.ids) > plan.tokens:
                cut.append([])
            cut[-1].append(one)
        dice.shuffle(cut)
        for rows in cut:
            if rows:
                yield _padded(rows)
                made += 1


def row(reader: Tokenizer, dice: random.Random, early: bool = False) -> Row:
    """One example as ids; what is too long for training is drawn again."""
    while True:
        task = "extract" if early and dice.random() < 0.5 else ""
        made = tasks.example(dice, task=task, training=True)
        ids = reader.encode(tokenizer.chat(made.prompt, made.system)).ids
        answer = reader.encode(made.answer)
        counted = [
            any(start < b and end > a for a, b in made.spans) for start, end in answer.offsets
        ]
        end = reader.token_to_id(tokenizer.END)
        assert end is not None
        whole = [*ids, *answer.ids, end]
        if len(whole) <= (96 if early else LONGEST):
            return Row(whole, [False] * len(ids) + counted + [True])


def _padded(rows: list[Row]) -> tuple[Tensor, Tensor]:
    longest = max(len(one.ids) for one in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    counted = torch.zeros(len(rows), longest, dtype=torch.bool)
    for at, one in enumerate(rows):
        ids[at, : len(one.ids)] = torch.tensor(one.ids)
        counted[at, : len(one.ids)] = torch.tensor(one.counted)
    return ids, counted


def _step(
    model: Pilot,
    batch: tuple[Tensor, Tensor],
    device: str,
    optimisers: tuple[torch.optim.Optimizer, ...],
) -> float:
    ids, counted = (part.to(device) for part in batch)
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(ids[:, :-1], counted[:, 1:])
    loss = F.cross_entropy(logits.float(), ids[:, 1:][counted[:, 1:]])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return float(loss.detach())


def _optimisers(model: Pilot, plan: Plan) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms."""
    inner = [weight for name, weight in model.named_parameters()
             if weight.dim() == 2 and name.startswith("blk")]  # fmt: skip
    ids = {id(weight) for weight in inner}
    outer = [weight for weight in model.parameters() if id(weight) not in ids]
    return (
        torch.optim.Muon(
            inner, lr=plan.rate, weight_decay=plan.decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(outer, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    )
