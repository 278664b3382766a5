"""A server with a prefix cache of bounded size, as batch servers have: `--blocks N --port 0`.

Prompts are cut into blocks of sixteen tokens (four characters each). A block is cached
when it and all before it were read and none of the later ones pushed it out. What is
not cached is read one request after another, at so many tokens a second; then
each answer takes the same time. Counts at `/_ctl/stats`. Nothing here knows of nightkiln.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections import OrderedDict
from hashlib import blake2b

import msgspec

BLOCK = 64  # characters
TOKENS_OF_BLOCK = 16
ANSWER_S = 0.2  # to write an answer
PREFILL = 20_000  # tokens a second


class Counts(msgspec.Struct):
    """What `/_ctl/stats` says."""

    requests: int = 0
    tokens: int = 0
    cached: int = 0
    began: float = 0.0
    ended: float = 0.0


class Message(msgspec.Struct):
    """One message of a chat."""

    content: str


class Chat(msgspec.Struct):
    """A request's body, as far as it is looked at."""

    messages: list[Message]


class Machine:
    """The cache and the clock of the one processor."""

    def __init__(self, blocks: int) -> None:
        self.counts = Counts()
        self._room = blocks
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._free_at = 0.0

    def read(self, text: str) -> tuple[int, int]:
        """Tokens of a prompt, and how many of them were cached; all of them are now."""
        chain, cached, unbroken = 0, 0, True
        for at in range(0, len(text) - BLOCK + 1, BLOCK):
            chain = hash((chain, text[at : at + BLOCK]))
            unbroken = unbroken and chain in self._blocks
            cached += unbroken * TOKENS_OF_BLOCK
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._room:
            self._blocks.popitem(last=False)
        return len(text) // 4, cached

    async def answer(self, body: bytes) -> bytes:
        """A chat's reply, when it is ready."""
        text = msgspec.json.decode(body, type=Chat).messages[-1].content
        tokens, cached = self.read(text)
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + (tokens - cached) / PREFILL
        counts = self.counts
        counts.began = counts.began or now
        counts.requests += 1
        counts.tokens += tokens
        counts.cached += cached
        await asyncio.sleep(self._free_at - now + ANSWER_S)
        counts.ended = time.monotonic()
        return _reply(text, tokens, cached)


def _reply(text: str, tokens: int, cached: int) -> bytes:
    digest = blake2b(text.encode(), digest_size=8).hexdigest()
    usage = {
        "prompt_tokens": tokens,
        "completion_tokens": 8,
        "total_tokens": tokens + 8,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    message = {"role": "assistant", "content": f"h:{digest} ok"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return msgspec.json.encode(
        {"id": "c", "object": "chat.completion", "model": "stub", "choices": [choice]}
        | {"usage": usage}
    )


async def _serve(
    machine: Machine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(x[15:]) for x in lines if x.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            if b"/_ctl/stats" in lines[0]:
                said = msgspec.json.encode(machine.counts)
            else:
                said = await machine.answer(body)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(said), said)
            )
            await writer.drain()
    writer.close()


async def serve(port: int, blocks: int) -> None:
    """Serve until killed."""
    machine = Machine(blocks)
    server = await asyncio.start_server(
        lambda reader, writer: _serve(machine, reader, writer), "127.0.0.1", port, limit=2**20
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--blocks", type=int, required=True)
    given = parser.parse_args()
    sys.exit(asyncio.run(serve(given.port, given.blocks)))
