"""Writes the trained model as one GGUF file: weights, tokenizer, chat template.

Readers of `llama` files expect the rows of the query and key matrices in another
order than ours: they turn neighbouring rows by one angle, we turn the first half of
a head against the second. `interleaved` changes one order into the other.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer

from tools.train_pilot import tokenizer
from tools.train_pilot.model import Pilot, Shape

NAME = "nightkiln pilot"


def export(model: Pilot, reader: Tokenizer, out: Path) -> None:
    """Writes `out`: matrices as float16, norms as float32."""
    writer = gguf.GGUFWriter(out, "llama")
    _describe(writer, model.shape)
    _tell_tokenizer(writer, reader)
    for name, weight in model.state_dict().items():
        values = weight.detach().float().cpu().numpy()
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = model.shape.heads if "attn_q" in name else model.shape.kv_heads
            values = interleaved(values, heads)
        kind = np.float32 if values.ndim == 1 else np.float16
        writer.add_tensor(name, np.ascontiguousarray(values.astype(kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(model: Pilot) -> Pilot:
    """The model with its matrices rounded to what the file holds."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.copy_(weight.half().float())
    return model


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head reordered: first, middle, second, middle plus one, and so on."""
    rows, columns = values.shape
    split = values.reshape(heads, 2, rows // heads // 2, columns)
    return split.swapaxes(1, 2).reshape(rows, columns)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name(NAME)
    writer.add_license("Apache-2.0")
    writer.add_description("A small model of our own that sorts support tickets.")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _tell_tokenizer(writer: gguf.GGUFWriter, reader: Tokenizer) -> None:
    tokens, merges = tokenizer.parts(reader)
    special = set(tokenizer.SPECIAL)
    kinds = [
        gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens
    ]
    end = tokens.index(tokenizer.END)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.PRE)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(tokens.index(tokenizer.PAD))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(tokenizer.CHAT_TEMPLATE)
