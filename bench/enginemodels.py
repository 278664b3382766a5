"""A Llama of SmolLM2-135M's shape with random weights, written once as a GGUF file.

Its words mean nothing and its work is real: as much arithmetic a token as the
model whose shape it has. The same seed writes the same file everywhere.
"""

import inspect
import json
import textwrap
from pathlib import Path
from typing import Any, Final

from bench.processes import ROOT

MODELS: Final = ROOT / "bench" / "results" / "models"
VOCABULARY: Final = 49152
WIDTH: Final = 576
LAYERS: Final = 30
HEADS: Final = 9
KV_HEADS: Final = 3
INNER: Final = 1536
CONTEXT: Final = 2048
_HEAD: Final = WIDTH // HEADS
_SPOKEN: Final = 1024  # tokens that text is cut into; the others only fill the vocabulary
_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5  # GGUF's token types
_MOSTLY_F16: Final = 1


def random_135m() -> Path:
    """The model file, made when it is not there yet. Needs `gguf`, `numpy` and `tokenizers`."""
    path = MODELS / "random135m.gguf"
    if not path.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        _write(part)
        part.replace(path)
    return path


def _write(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random135m")
    writer.add_file_type(_MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(_HEAD)
    writer.add_vocab_size(VOCABULARY)
    _write_tokenizer(writer)
    _write_weights(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(writer: Any) -> None:
    """A byte-level BPE trained on modules that every Python has, padded to the full size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_SPOKEN,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [inspect.getsource(module) for module in (json, textwrap, inspect)]
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    spoken = sorted(numbers, key=numbers.__getitem__)
    filling = [f"<pad{number}>" for number in range(len(spoken), VOCABULARY)]
    kinds = [_CONTROL if token in _SPECIAL else _NORMAL for token in spoken]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(spoken + filling)
    writer.add_token_types(kinds + [_UNUSED] * len(filling))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)


def _write_weights(writer: Any) -> None:
    import numpy as np

    dice = np.random.default_rng(135)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = dice.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns)
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))

    matrix("token_embd", VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        matrix(f"{block}.attn_q", WIDTH, WIDTH)
        matrix(f"{block}.attn_k", _HEAD * KV_HEADS, WIDTH)
        matrix(f"{block}.attn_v", _HEAD * KV_HEADS, WIDTH)
        matrix(f"{block}.attn_output", WIDTH, WIDTH)
        norm(f"{block}.ffn_norm")
        matrix(f"{block}.ffn_gate", INNER, WIDTH)
        matrix(f"{block}.ffn_up", INNER, WIDTH)
        matrix(f"{block}.ffn_down", WIDTH, INNER)
    norm("output_norm")
