"""`python tools/train_pilot STEP`: each step of making the pilot, by name.

sets       write the evaluation sets that come from the grammar
train      tokenizer and weights, into --work
export     the GGUF file from --work, and torch against the engine on 20 prompts
evaluate   every figure, through the engine
all        the four above, one after the other
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(prog="train_pilot", description=__doc__)
    parser.add_argument("step", choices=("sets", "train", "export", "evaluate", "all"))
    parser.add_argument("--work", type=Path, default=ROOT / ".pilot", help="weights in the making")
    parser.add_argument("--out", type=Path, help="the GGUF file; the shipped one by default")
    parser.add_argument("--steps", type=int, help="one leg of so many, not the shipped ones")
    parser.add_argument("--start", type=Path, help="weights to go on from, with --steps")
    parser.add_argument("--rate", type=float, default=3e-3, help="of learning, with --steps")
    parser.add_argument("--seed", type=int, default=20261120, help="with --steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda when there is one")
    parser.add_argument("--wrong", action="store_true", help="also print each wrong answer")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name, step in (("sets", _sets), ("train", _train), ("export", _export)):
        if args.step in (name, "all"):
            step(args)
    if args.step in ("evaluate", "all"):
        from tools.train_pilot.evaluate import evaluate

        evaluate(_file(args), args.wrong)


def _file(args: argparse.Namespace) -> Path:
    from nightkiln import pilot

    named: Path | None = args.out
    return named or pilot.path()


def _sets(_args: argparse.Namespace) -> None:
    from nightkiln import pilot
    from tools.train_pilot import sets

    for held_out, name in ((False, "seen_templates"), (True, "held_out_templates")):
        sets.write(sets.drawn(held_out), pilot.data_folder() / f"{name}.jsonl")


def _train(args: argparse.Namespace) -> None:
    import torch

    from tools.train_pilot import tokenizer
    from tools.train_pilot.train import LEGS, Plan, train

    torch.set_num_threads(args.threads)
    legs: tuple[Plan, ...] = LEGS
    if args.steps:
        legs = (Plan(seed=args.seed, steps=args.steps, rate=args.rate, start=args.start),)
    words, weights = args.work / "tokenizer.json", args.work / "weights.pt"
    if legs[0].start is None:
        tokenizer.trained(legs[0].seed).save(str(words))
    reader = tokenizer.load(words)
    for number, leg in enumerate(legs):
        start = weights if number else leg.start
        train(replace(leg, start=start, device=args.device), reader, weights)


def _export(args: argparse.Namespace) -> None:
    import torch

    from tools.train_pilot import export, tokenizer
    from tools.train_pilot.model import Pilot, Shape
    from tools.train_pilot.parity import differing

    reader = tokenizer.load(args.work / "tokenizer.json")
    model = Pilot(Shape(vocabulary=reader.get_vocab_size()))
    model.load_state_dict(torch.load(args.work / "weights.pt", map_location="cpu"))
    export.export(model, reader, _file(args))
    different = differing(export.rounded(model).eval(), _file(args))
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size} parameters, {_file(args).stat().st_size} bytes; torch and the engine"
          f" differ on {len(different)} of 20 prompts {different}")  # fmt: skip


if __name__ == "__main__":
    main()
