"""A tiny Llama with random weights, written as a real GGUF file, and its forward pass in numpy.

The weights are f16 in the file, so that an engine computing in f32 must find
the very same greedy tokens as `Reference`, which reads them back from the file.
"""

import argparse
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any, Final, TypeAlias

import gguf
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Array: TypeAlias = npt.NDArray[np.float32]

VOCABULARY: Final = 1024
WIDTH: Final = 128
LAYERS: Final = 2
HEADS: Final = 4
KV_HEADS: Final = 2
HEAD: Final = WIDTH // HEADS
INNER: Final = 256
CONTEXT: Final = 512
EPSILON: Final = 1e-5
ROPE_BASE: Final = 10_000.0
SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL: Final = int(gguf.TokenType.CONTROL)
NORMAL: Final = int(gguf.TokenType.NORMAL)


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE of the SmolLM kind, trained on modules every Python has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [inspect.getsource(module) for module in (argparse, json, textwrap, inspect)]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_model(
    path: Path,
    *,
    seed: int = 7,
    pre: str = "smollm",
    template: str = TEMPLATE,
    has_end: bool = True,
) -> Path:
    """Write the model as GGUF and return its path."""
    tokenizer = train_tokenizer()
    writer = gguf.GGUFWriter(path, "llama")
    _write_settings(writer)
    _write_tokenizer(writer, tokenizer, pre)
    writer.add_chat_template(template)
    if has_end:
        writer.add_eos_token_id(2)
    _write_weights(writer, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_settings(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny")
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_rope_dimension_count(HEAD)
    writer.add_vocab_size(VOCABULARY)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, pre: str) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    by_id = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(by_id)
    writer.add_token_types([CONTROL if token in SPECIAL else NORMAL for token in by_id])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)


def _write_weights(writer: gguf.GGUFWriter, dice: np.random.Generator) -> None:
    def matrix(name: str, rows: int, columns: int, scale: float) -> None:
        values = dice.standard_normal((rows, columns)) * scale
        writer.add_tensor(name, values.astype(np.float16))

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))

    narrow = HEAD * KV_HEADS
    matrix("token_embd.weight", VOCABULARY, WIDTH, 1.0)
    for n in range(LAYERS):
        block = f"blk.{n}"
        norm(f"{block}.attn_norm.weight")
        matrix(f"{block}.attn_q.weight", WIDTH, WIDTH, 0.15)
        matrix(f"{block}.attn_k.weight", narrow, WIDTH, 0.15)
        matrix(f"{block}.attn_v.weight", narrow, WIDTH, 0.15)
        matrix(f"{block}.attn_output.weight", WIDTH, WIDTH, 0.15)
        norm(f"{block}.ffn_norm.weight")
        matrix(f"{block}.ffn_gate.weight", INNER, WIDTH, 0.15)
        matrix(f"{block}.ffn_up.weight", INNER, WIDTH, 0.15)
        matrix(f"{block}.ffn_down.weight", WIDTH, INNER, 0.1)
    norm("output_norm.weight")


class Reference:
    """The forward pass, one sequence at a time, as plainly as it can be said."""

    def __init__(self, path: Path) -> None:
        self._weights = {
            tensor.name: np.asarray(tensor.data, dtype=np.float32)
            for tensor in gguf.GGUFReader(path).tensors
        }

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The next `count` tokens, the most likely one each time; no token ends it."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(np.argmax(self._logits(tokens))))
        return tokens[len(prompt) :]

    def _logits(self, tokens: list[int]) -> Array:
        state = self._weights["token_embd.weight"][tokens]
        for n in range(LAYERS):
            state = state + self._attention(n, self._normed(state, f"blk.{n}.attn_norm.weight"))
            state = state + self._mlp(n, self._normed(state, f"blk.{n}.ffn_norm.weight"))
        last = self._normed(state[-1:], "output_norm.weight")[0]
        logits: Array = self._weights["token_embd.weight"] @ last
        return logits

    def _normed(self, state: Array, name: str) -> Array:
        size = np.sqrt(np.mean(state * state, axis=-1, keepdims=True) + EPSILON)
        normed: Array = state / size * self._weights[name]
        return normed

    def _through(self, name: str, state: Array) -> Array:
        product: Array = state @ self._weights[f"{name}.weight"].T
        return product

    def _attention(self, n: int, state: Array) -> Array:
        length = len(state)
        query = _turned(self._through(f"blk.{n}.attn_q", state).reshape(length, HEADS, HEAD))
        key = _turned(self._through(f"blk.{n}.attn_k", state).reshape(length, KV_HEADS, HEAD))
        value = self._through(f"blk.{n}.attn_v", state).reshape(length, KV_HEADS, HEAD)
        key, value = (np.repeat(each, HEADS // KV_HEADS, axis=1) for each in (key, value))
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(HEAD))
        scores += np.triu(np.full((length, length), -np.inf, dtype=np.float32), 1)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", scores, value).reshape(length, WIDTH)
        return self._through(f"blk.{n}.attn_output", mixed)

    def _mlp(self, n: int, state: Array) -> Array:
        gate = self._through(f"blk.{n}.ffn_gate", state)
        inner = gate / (1.0 + np.exp(-gate)) * self._through(f"blk.{n}.ffn_up", state)
        return self._through(f"blk.{n}.ffn_down", inner)


def _turned(heads: Array) -> Array:
    """Rotary positions over neighbouring pairs, as GGUF lays Llama's weights out."""
    positions: Array = np.arange(len(heads), dtype=np.float32)
    speeds = ROPE_BASE ** (-np.arange(0, HEAD, 2, dtype=np.float32) / HEAD)
    angles = positions[:, None, None] * speeds
    even, odd = heads[..., 0::2], heads[..., 1::2]
    turned: Any = np.empty_like(heads)
    turned[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
    turned[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    result: Array = turned
    return result
