"""An engine's answer as a whole body in OpenAI's form, for jobs that keep bodies."""

import base64
import struct
import time
import uuid
from typing import Any

import msgspec

from nightkiln.core.answer import Reply


class Token(msgspec.Struct, frozen=True):
    """One token of an answer."""

    text: str
    logprob: float
    raw: bytes | None  # None: unknown, as for a part of a character that came as text


def chat_completion(reply: Reply, tokens: list[Token] | None, *, top: bool) -> bytes:
    """The body of a reply; with `top` every token is also said to be the likeliest."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": reply.text},
        "logprobs": None if tokens is None else {"content": [_said(one, top) for one in tokens]},
        "finish_reason": reply.finish_reason,
    }
    usage = reply.usage
    return msgspec.json.encode(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": reply.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
            },
        }
    )


def embedding_list(reply: Reply, *, packed: bool) -> bytes:
    """The body of a reply whose text is a vector; `packed` is OpenAI's base64 of its floats."""
    vector: msgspec.Raw | str = msgspec.Raw(reply.text.encode())
    if packed:
        numbers = msgspec.json.decode(reply.text, type=list[float])
        vector = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    tokens = reply.usage.input_tokens
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "model": reply.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _said(token: Token, top: bool) -> dict[str, Any]:
    raw = None if token.raw is None else list(token.raw)
    one = {"token": token.text, "logprob": token.logprob, "bytes": raw}
    return {**one, "top_logprobs": [one] if top else []}
