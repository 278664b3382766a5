"""Whether the engine writes the same greedy token ids as torch does with the same weights.

Both sides compute in float32 here: in bfloat16, which the engine prefers where a
processor has it, two words that are nearly as likely may change places.
"""

from pathlib import Path

import torch

from tools.train_pilot import sets, tokenizer
from tools.train_pilot.engine import Engine
from tools.train_pilot.model import Pilot, greedy


def differing(model: Pilot, file: Path, rows: int = 20) -> list[str]:
    """The prompts, of `rows` tried, whose ids differ between torch and the engine."""
    engine = Engine(file, {"INFERENCE_PRECISION_HINT": "f32"})
    asked = sets.drawn(held_out=False, rows=rows)
    prompts = [engine.reader.encode(tokenizer.chat(one.prompt, one.system)).ids for one in asked]
    end = engine.reader.token_to_id(tokenizer.END)
    torch.set_num_threads(1)
    ours = [
        [one for one in greedy(model, prompt, end, most=64) if one != end] for prompt in prompts
    ]
    theirs = engine.ids(prompts)
    return [one.prompt for one, a, b in zip(asked, ours, theirs, strict=True) if a != b]
