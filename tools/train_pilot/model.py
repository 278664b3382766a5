"""A small Llama in plain torch: RMSNorm, rotary positions, SwiGLU, grouped heads, tied output.

It computes what every reader of `llama` GGUF files computes, and nothing more: no
dropout, no biases. Names of the parts follow the GGUF tensors they become.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; everything a GGUF reader must be told."""

    vocabulary: int = 2048
    width: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 3
    hidden: int = 512
    context: int = 1024
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads


class Block(nn.Module):
    """Attention, then a gated feed-forward layer, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inner = shape.kv_heads * shape.head
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, inner, bias=False)
        self.attn_v = nn.Linear(shape.width, inner, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """`x` after this block."""
        x = x + self._attend(self.attn_norm(x), turn)
        y = self.ffn_norm(x)
        gated: Tensor = self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))
        return x + gated

    def _attend(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        shape = self.shape
        q = self.attn_q(x).view(rows, length, shape.heads, shape.head).transpose(1, 2)
        k = self.attn_k(x).view(rows, length, shape.kv_heads, shape.head).transpose(1, 2)
        v = self.attn_v(x).view(rows, length, shape.kv_heads, shape.head).transpose(1, 2)
        group = shape.heads // shape.kv_heads
        q, k = rotated(q, turn), rotated(k, turn).repeat_interleave(group, dim=1)
        v = v.repeat_interleave(group, dim=1)
        # Written out: for lines this short it trains half as fast again as the fused kernel.
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.transpose(-2, -1)) * shape.head**-0.5
        seen = scores.masked_fill(later, float("-inf")).softmax(-1).to(v.dtype) @ v
        out: Tensor = self.attn_output(seen.transpose(1, 2).reshape(rows, length, shape.width))
        return out


class Pilot(nn.Module):
    """Token ids in, logits out, for the whole sequence or for chosen places only."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                small = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if small else 0.02)

    def forward(self, ids: Tensor, where: Tensor | None = None) -> Tensor:
        """Logits at the places where `where` is true, or at every place."""
        x: Tensor = self.token_embd(ids)
        turn = turning(self.shape, ids.shape[1], ids.device)
        for block in self.blk:
            x = block(x, turn)
        x = self.output_norm(x if where is None else x[where])
        return F.linear(x, self.token_embd.weight)


def turning(shape: Shape, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every place, for half a head."""
    half = torch.arange(0, shape.head, 2, device=device, dtype=torch.float32) / shape.head
    angles = torch.outer(
        torch.arange(length, device=device, dtype=torch.float32), shape.rope_base**-half
    )
    return angles.cos(), angles.sin()


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """`x` turned by its place: first half and second half of a head are one plane."""
    cos, sin = turn
    left, right = x.chunk(2, dim=-1)
    turned = torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
    return turned.to(x.dtype)


@torch.no_grad()
def greedy(model: Pilot, ids: list[int], end: int, most: int) -> list[int]:
    """The ids the model writes after `ids`, without a cache: slow, and easy to trust."""
    said: list[int] = []
    while len(said) < most:
        logits = model(torch.tensor([ids + said]))[0, -1]
        said.append(int(logits.argmax()))
        if said[-1] == end:
            break
    return said
