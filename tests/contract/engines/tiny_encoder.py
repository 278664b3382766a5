"""A tiny text encoder with random weights, written as OpenVINO writes one, and the same in numpy.

One block of attention and feed-forward after embeddings of tokens, places and
token types. `Reference` embeds one text at a time and knows nothing of batches.
"""

import json
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import openvino
import openvino.opset13 as op
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

Array: TypeAlias = npt.NDArray[np.float32]

WIDTH: Final = 32
HEADS: Final = 4
HEAD: Final = WIDTH // HEADS
INNER: Final = 64
CONTEXT: Final = 64
EPSILON: Final = 1e-6
SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
TEXTS: Final = (
    "the parcel arrived late and the box was torn",
    "please cancel my order and refund the money",
    "der Bär läuft über die Straße",
    "東京 は 晴れ です",
)


def train_tokenizer() -> Tokenizer:
    """A small byte-level BPE that puts [CLS] and [SEP] around a text."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_encoder(
    folder: Path,
    *,
    seed: int = 5,
    pooling: str | None = "mean",
    normalize: bool = True,
    token_types: bool = True,
    truncate_at: int | None = None,
) -> Path:
    """Write the model into a new folder. `pooling` None leaves sentence-transformers' files out."""
    folder.mkdir(parents=True)
    tokenizer = train_tokenizer()
    if truncate_at is not None:
        tokenizer.enable_truncation(truncate_at)
        tokenizer.enable_padding(length=truncate_at)
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = _weights(seed, tokenizer.get_vocab_size())
    np.savez(folder / "weights.npz", **weights)
    openvino.save_model(_graph(weights, token_types), folder / "openvino_model.xml", False)
    config = {"model_type": "bert", "max_position_embeddings": CONTEXT, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config))
    if pooling is not None:
        _write_modules(folder, pooling, normalize)
    return folder


def _write_modules(folder: Path, pooling: str, normalize: bool) -> None:
    place = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{place}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{place}.Pooling"},
    ]
    if normalize:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{place}.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    names = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken", "max": "max_tokens"}
    asked = {f"pooling_mode_{name}": kind == pooling for kind, name in names.items()}
    settings = {"word_embedding_dimension": WIDTH, **asked, "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def _weights(seed: int, words: int) -> dict[str, Array]:
    dice = np.random.default_rng(seed)
    shapes = {
        "words": (words, WIDTH),
        "places": (CONTEXT, WIDTH),
        "types": (2, WIDTH),
        "query": (WIDTH, WIDTH),
        "key": (WIDTH, WIDTH),
        "value": (WIDTH, WIDTH),
        "out": (WIDTH, WIDTH),
        "up": (WIDTH, INNER),
        "down": (INNER, WIDTH),
    }
    return {
        name: (dice.standard_normal(shape) * 0.4).astype(np.float32)
        for name, shape in shapes.items()
    }


def _graph(weights: dict[str, Array], token_types: bool) -> Any:
    feeds = [_feed(name) for name in ("input_ids", "attention_mask")]
    state = op.gather(op.constant(weights["words"]), feeds[0], op.constant(0))
    length = op.gather(op.shape_of(feeds[0]), op.constant(1), op.constant(0))
    places = op.range(op.constant(np.int64(0)), length, op.constant(np.int64(1)), "i64")
    state = op.add(state, op.gather(op.constant(weights["places"]), places, op.constant(0)))
    if token_types:
        feeds.append(_feed("token_type_ids"))
        state = op.add(state, op.gather(op.constant(weights["types"]), feeds[2], op.constant(0)))
    state = _attention(state, feeds[1], weights)
    inner = op.gelu(op.matmul(state, op.constant(weights["up"]), False, False), "tanh")
    state = _normed(op.add(state, op.matmul(inner, op.constant(weights["down"]), False, False)))
    state.output(0).get_tensor().set_names({"last_hidden_state"})
    return openvino.Model([state], feeds, "tiny encoder")


def _feed(name: str) -> Any:
    feed = op.parameter([-1, -1], np.int64, name=name)
    feed.output(0).get_tensor().set_names({name})
    return feed


def _attention(state: Any, mask: Any, weights: dict[str, Array]) -> Any:
    def heads(name: str) -> Any:
        through = op.matmul(state, op.constant(weights[name]), False, False)
        split = op.reshape(through, op.constant([0, 0, HEADS, HEAD]), True)
        return op.transpose(split, op.constant([0, 2, 1, 3]))

    seen = op.unsqueeze(op.convert(mask, "f32"), op.constant([1, 2]))
    hidden = op.multiply(
        op.subtract(seen, op.constant(np.float32(1))), op.constant(np.float32(1e9))
    )
    scores = op.matmul(heads("query"), heads("key"), False, True)
    scores = op.add(op.multiply(scores, op.constant(np.float32(HEAD**-0.5))), hidden)
    mixed = op.transpose(
        op.matmul(op.softmax(scores, 3), heads("value"), False, False), op.constant([0, 2, 1, 3])
    )
    joined = op.reshape(mixed, op.constant([0, 0, WIDTH]), True)
    return _normed(op.add(state, op.matmul(joined, op.constant(weights["out"]), False, False)))


def _normed(state: Any) -> Any:
    return op.mvn(state, op.constant([2]), True, EPSILON, "INSIDE_SQRT")


class Reference:
    """The encoder, one text at a time, as plainly as it can be said."""

    def __init__(self, folder: Path, *, pooling: str = "mean", normalize: bool = True) -> None:
        self._tokenizer = train_tokenizer()
        self._weights = dict(np.load(folder / "weights.npz"))
        self._pooling = pooling
        self._normalize = normalize

    def tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._tokenizer.encode(text).ids)

    def embed(self, text: str, *, token_types: bool = True) -> Array:
        """The vector of a text."""
        weights = self._weights
        ids = self._tokenizer.encode(text).ids
        state = weights["words"][ids] + weights["places"][: len(ids)]
        if token_types:
            state = state + weights["types"][0]
        state = _plain_norm(state + self._mixed(state) @ weights["out"])
        inner = state @ weights["up"]
        inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        state = _plain_norm(state + inner @ weights["down"])
        vector: Array = {"mean": state.mean(axis=0), "cls": state[0], "last": state[-1]}[
            self._pooling
        ]
        return vector / np.linalg.norm(vector) if self._normalize else vector

    def _mixed(self, state: Array) -> Array:
        query, key, value = (
            (state @ self._weights[name]).reshape(len(state), HEADS, HEAD)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(HEAD))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Array = np.einsum("hqk,khd->qhd", scores, value).reshape(len(state), WIDTH)
        return mixed


def _plain_norm(state: Array) -> Array:
    centred = state - state.mean(axis=-1, keepdims=True)
    normed: Array = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return normed
