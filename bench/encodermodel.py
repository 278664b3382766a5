"""A text encoder of MiniLM-L6's shape with random weights, written once as OpenVINO writes one.

Its vectors mean nothing and its work is real: six layers, 384 wide, as much
arithmetic a token as the model whose shape it has. The same seed writes the
same weights everywhere.
"""

import inspect
import json
import textwrap
from pathlib import Path
from typing import Any, Final

from bench.enginemodels import MODELS

VOCABULARY: Final = 30522
WIDTH: Final = 384
LAYERS: Final = 6
HEADS: Final = 12
INNER: Final = 1536
CONTEXT: Final = 512
_SPOKEN: Final = 2048  # tokens that text is cut into; the others only fill the vocabulary
_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def random_minilm() -> Path:
    """The model's folder, made when it is not there yet. Needs the extra `local`."""
    folder = MODELS / "random-minilm"
    if not folder.exists():
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        _write(part)
        part.rename(folder)
    return folder


def _write(folder: Path) -> None:
    import openvino

    _tokenizer().save(str(folder / "tokenizer.json"))
    openvino.save_model(_graph(), folder / "openvino_model.xml")
    config = {"model_type": "bert", "max_position_embeddings": CONTEXT, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_SPOKEN,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [inspect.getsource(module) for module in (json, textwrap, inspect)]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _graph() -> Any:
    import numpy as np
    import openvino
    import openvino.opset13 as op

    dice = np.random.default_rng(6)

    def matrix(rows: int, columns: int) -> Any:
        values = dice.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(rows)
        return op.constant(values.astype(np.float32))

    def feed(name: str) -> Any:
        made = op.parameter([-1, -1], np.int64, name=name)
        made.output(0).get_tensor().set_names({name})
        return made

    def through(state: Any, rows: int, columns: int) -> Any:
        return op.matmul(state, matrix(rows, columns), False, False)

    def heads(state: Any) -> Any:
        split = op.reshape(
            through(state, WIDTH, WIDTH), op.constant([0, 0, HEADS, WIDTH // HEADS]), True
        )
        return op.transpose(split, op.constant([0, 2, 1, 3]))

    def normed(state: Any) -> Any:
        return op.mvn(state, op.constant([2]), True, 1e-6, "INSIDE_SQRT")

    ids, mask = feed("input_ids"), feed("attention_mask")
    seen = op.unsqueeze(op.convert(mask, "f32"), op.constant([1, 2]))
    hidden = op.multiply(
        op.subtract(seen, op.constant(np.float32(1))), op.constant(np.float32(1e9))
    )
    state = op.gather(matrix(VOCABULARY, WIDTH), ids, op.constant(0))
    for _ in range(LAYERS):
        scores = op.matmul(heads(state), heads(state), False, True)
        scale = op.constant(np.float32((WIDTH // HEADS) ** -0.5))
        share = op.softmax(op.add(op.multiply(scores, scale), hidden), 3)
        mixed = op.transpose(
            op.matmul(share, heads(state), False, False), op.constant([0, 2, 1, 3])
        )
        joined = op.reshape(mixed, op.constant([0, 0, WIDTH]), True)
        state = normed(op.add(state, through(joined, WIDTH, WIDTH)))
        inner = op.gelu(through(state, WIDTH, INNER), "erf")
        state = normed(op.add(state, through(inner, INNER, WIDTH)))
    state.output(0).get_tensor().set_names({"last_hidden_state"})
    return openvino.Model([state], [ids, mask], "random minilm")
