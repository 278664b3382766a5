"""An endpoint that goes wrong on purpose, byte by byte, where a test says so.

It answers every chat with `answer to` and the prompt, unless the rule of the
test names an act for that request. It counts what it was asked by prompt, so
that a test can say who was asked how often.
"""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

from tests.scenario.network import enter_network

DRIP_S: Final = 0.05  # between two bytes of a reply that drips
BOMB_BYTES: Final = 1024**3  # what the bomb becomes; it is sent as a megabyte
_START_S: Final = 30.0


class Asked:
    """One request that has arrived whole, and the connection it came on."""

    def __init__(
        self,
        text: str,
        nth: int,
        model: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.text = text  # of the prompt
        self.nth = nth  # time this prompt is asked, from 1
        self.model = model
        self.reader = reader
        self.writer = writer

    def good(self, *, model: str | None = None) -> bytes:
        """The body of a right answer."""
        content = f"answer to {self.text}"
        reply = {
            "model": self.model if model is None else model,
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 3},
        }
        return json.dumps(reply).encode()

    async def says(self, *pieces: bytes) -> None:
        """Send these bytes."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def left(self, within_s: float | None = None) -> bool:
        """Wait for the client to leave; True when it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.reader.read()
            return True
        return False

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        reset(self.writer)


Act: TypeAlias = Callable[[Asked], Awaitable[None]]
Rule: TypeAlias = Callable[[Asked], Act | None]


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection with a TCP reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def whole(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A complete reply; `headers` are lines with their ends."""
    kind = "content-type: application/json\r\n" if "content-type" not in headers else ""
    size = f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{size}{kind}{headers}\r\n".encode() + body


def refuses(status: str, *, code: str = "", kind: str = "", headers: str = "") -> Act:
    """An error in the shape of the OpenAI API."""

    async def act(asked: Asked) -> None:
        error = {"message": "said by the test", "type": kind, "code": code or None}
        body = json.dumps({"error": error}).encode()
        await asked.says(whole(body, status=status, headers=headers))

    return act


def answers(make: Callable[[Asked], bytes]) -> Act:
    """A whole reply, made from the request; the connection stays."""

    async def act(asked: Asked) -> None:
        await asked.says(make(asked))

    return act


async def good(asked: Asked) -> None:
    """The right answer."""
    await asked.says(whole(asked.good()))


async def drips_its_head(asked: Asked) -> None:
    """A right answer whose head comes byte by byte, for longer than anybody waits."""
    await _drip(asked, b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 4_000)


async def drips_its_body(asked: Asked) -> None:
    """A right answer whose body comes byte by byte, for longer than anybody waits."""
    reply = whole(asked.good() + b" " * 4_000)
    head, end, body = reply.partition(b"\r\n\r\n")
    await asked.says(head + end)
    await _drip(asked, body)


async def _drip(asked: Asked, text: bytes) -> None:
    for at in range(len(text)):
        await asked.says(text[at : at + 1])
        if await asked.left(DRIP_S):
            return


async def resets(asked: Asked) -> None:
    """A reset when the request has been read."""
    asked.reset()


async def resets_within_its_reply(asked: Asked) -> None:
    """A reset when half of the reply is sent."""
    reply = whole(asked.good())
    await asked.says(reply[: len(reply) // 2])
    asked.reset()


async def truncates(asked: Asked) -> None:
    """Half of the body, then the end of the connection."""
    await asked.says(whole(asked.good())[:-40])
    asked.writer.close()


async def hangs(asked: Asked) -> None:
    """Nothing, until the client leaves."""
    await asked.left()


def gzip_bomb() -> Act:
    """A megabyte that wants to become a gigabyte, though nobody asked for gzip."""
    piece = gzip.compress(bytes(BOMB_BYTES // 64))
    reply = whole(piece * 64, headers="content-encoding: gzip\r\n")
    return answers(lambda _: reply)


async def header_bomb(asked: Asked) -> None:
    """Header after header, until the client leaves."""
    await asked.says(b"HTTP/1.1 200 OK\r\n")
    line = b"x-more: " + b"a" * 4_000 + b"\r\n"
    while not asked.writer.is_closing():
        await asked.says(line)


async def speaks_ssh(asked: Asked) -> None:
    """Another protocol altogether."""
    await asked.says(b"SSH-2.0-OpenSSH_9.2\r\n")


def answered_by(model: str) -> Act:
    """The right answer of another model."""
    return answers(lambda asked: whole(asked.good(model=model)))


class FaultServer:
    """The endpoint. `rule` may be replaced while it serves; it runs in a thread of its own."""

    def __init__(self, rule: Rule = lambda _: None) -> None:
        self.rule = rule
        self.refuses_connections: Callable[[int], bool] = lambda _: False
        self.asked: Counter[str] = Counter()  # requests by prompt
        self.came_at: dict[str, list[float]] = {}  # the monotonic times of these
        self.connections = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def requests(self) -> int:
        """How many requests came."""
        return self.asked.total()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuses_connections(self.connections):
            reset(writer)
            return
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._exchange(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        self.came_at.setdefault(text, []).append(time.monotonic())
        asked = Asked(text, self.asked[text], body["model"], reader, writer)
        await (self.rule(asked) or good)(asked)

    async def serve(self, host: str, ready: threading.Event, over: asyncio.Event) -> None:
        """Serve until `over`."""
        server = await asyncio.start_server(self._serve, host, 0)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await over.wait()
        server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()


@contextlib.contextmanager
def fault_server(
    rule: Rule = lambda _: None, *, host: str = "127.0.0.1", within: int | None = None
) -> Iterator[FaultServer]:
    """A server of one test; `within` the network of another process, where that is given."""
    made, ready = FaultServer(rule), threading.Event()
    runner, over = asyncio.Runner(), asyncio.Event()

    async def serve() -> None:
        if within is not None:
            enter_network(within)
        await made.serve(host, ready, over)

    def run() -> None:
        with runner:
            runner.run(serve())  # which also ends what still hangs

    thread = threading.Thread(target=run, name="fault server")
    thread.start()
    try:
        assert ready.wait(_START_S)
        yield made
    finally:
        runner.get_loop().call_soon_threadsafe(over.set)
        thread.join(_START_S)
