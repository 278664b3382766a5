"""The pilot's tokenizer: byte-level BPE, trained on the grammar's own text.

Digits are split singly before the GPT-2 pattern, because copying an order number
is learned much sooner digit by digit. The GGUF name of that combination is
`smollm`; any other name would make readers of the file split numbers differently.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.train_pilot import tasks

PRE = "smollm"
SIZE = 2048
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, END, SYSTEM, USER, ASSISTANT)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def chat(prompt: str, system: str = "") -> str:
    """What the chat template makes of one question, up to where the answer begins."""
    before = f"{SYSTEM}{system}{END}" if system else ""
    return f"{before}{USER}{prompt}{END}{ASSISTANT}"


def trained(seed: int, examples: int = 40_000) -> Tokenizer:
    """A tokenizer trained on `examples` conversations of the grammar."""
    made = empty(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_texts(seed, examples), trainer)
    return made


def rebuilt(tokens: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    """The tokenizer again from what a GGUF file says about it."""
    vocabulary = {token: at for at, token in enumerate(tokens)}
    made = empty(models.BPE(vocab=vocabulary, merges=merges))
    made.add_special_tokens(list(SPECIAL))
    return made


def empty(model: models.BPE) -> Tokenizer:
    """A tokenizer that splits text as GGUF readers do for `smollm`."""
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return made


def parts(made: Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    """(tokens in id order, merges in rank order), as a GGUF file stores them."""
    told = json.loads(made.to_str())["model"]
    tokens = sorted(told["vocab"], key=told["vocab"].__getitem__)
    return tokens, [(left, right) for left, right in told["merges"]]


def load(path: Path) -> Tokenizer:
    """A tokenizer as `trained` and `save` left it."""
    return Tokenizer.from_file(str(path))


def _texts(seed: int, examples: int) -> Iterator[str]:
    dice = random.Random(seed)
    for _ in range(examples):
        made = tasks.example(dice)
        yield made.prompt
        yield made.answer
