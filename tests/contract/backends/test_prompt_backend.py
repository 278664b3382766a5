"""What every prompt backend promises, asked of an endpoint over real sockets.

Each fault is a behaviour of a small raw server: it reads one whole request and
then does exactly what the test says, byte by byte.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from nightkiln.backends.base import PromptBackend
from nightkiln.backends.endpoints.openai import EndpointSettings, OpenAIEndpoint
from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.request import Request

F = FaultClass
Act: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GOOD = json.dumps(
    {
        "model": "m-1",
        "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    }
).encode()
PLENTY = 20.0
SHORT = 0.3


def whole(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


class Server:
    """One behaviour for all its connections; counts what it saw."""

    def __init__(self, *acts: Act) -> None:
        self.acts = acts
        self.requests: list[bytes] = []
        self.connections = 0
        self.lost = asyncio.Event()
        self.url = ""
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                act = self.acts[min(len(self.requests), len(self.acts)) - 1]
                await act(reader, writer)
        self.lost.set()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.writers.discard(writer)

    async def stop(self) -> None:
        async with asyncio.timeout(PLENTY):
            while self.writers:
                for writer in self.writers:
                    writer.transport.abort()
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def serving(*acts: Act) -> AsyncIterator[Server]:
    server = Server(*acts)
    tasks = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = tasks.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/v1"
    async with tasks:
        try:
            yield server
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def asking(url: str, **more: str) -> AsyncIterator[PromptBackend]:
    backend = OpenAIEndpoint(EndpointSettings(url=url, **more))  # type: ignore[arg-type]
    try:
        yield backend
    finally:
        await backend.aclose()


async def ask(backend: PromptBackend, within_s: float = PLENTY) -> Reply | Fault:
    now = asyncio.get_running_loop().time()
    return await backend.answer(Request(0, b'{"m":1}'), deadline=now + within_s)


async def outcome_of(*acts: Act, within_s: float = PLENTY) -> Reply | Fault:
    async with serving(*acts) as server, asking(server.url) as backend:
        return await ask(backend, within_s)


def says(*pieces: bytes) -> Act:
    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return act


def closes(*pieces: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*pieces)(reader, writer)
        writer.close()

    return act


def resets(*pieces: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*pieces)(reader, writer)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return act


def hangs(*pieces: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*pieces)(reader, writer)
        await reader.read()  # until we go away

    return act


def drips(text: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in single_bytes(text):
            writer.write(piece)
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.02)
                return

    return act


def single_bytes(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CLOSED = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "act",
    [
        says(whole(GOOD)),
        says(whole(GOOD)[:30], whole(GOOD)[30:150], whole(GOOD)[150:]),
        says(*single_bytes(whole(GOOD))),
        says(CHUNKED, chunk(GOOD[:5]), chunk(GOOD[5:]) + b"0\r\n\r\n"),
        says(CHUNKED + b"%x;ext=1\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(GOOD), GOOD)),
        closes(CLOSED, GOOD[:7], GOOD[7:]),
        closes(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
        says(b"HTTP/1.1 100 Continue\r\n\r\n", whole(GOOD)),
        says(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + whole(GOOD)),
        closes(whole(GOOD, headers="connection: close\r\n")),
    ],
    ids=[
        "content-length", "in pieces", "byte by byte", "chunked", "trailers", "close-delimited",
        "http 1.0", "100 continue", "early hints", "connection close",
    ],
)  # fmt: skip
async def test_a_good_reply_arrives_however_it_is_framed(act: Act) -> None:
    reply = await outcome_of(act)
    assert isinstance(reply, Reply), reply
    assert (reply.text, reply.model, reply.usage.input_tokens) == ("hello", "m-1", 2)


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (closes(), F.AMBIGUOUS, "connection_closed"),
        (resets(), F.AMBIGUOUS, "connection_reset"),
        (resets(b"HTTP/1.1 200 OK\r\n"), F.AMBIGUOUS, "truncated_reply"),
        (closes(whole(GOOD)[:-9]), F.AMBIGUOUS, "truncated_reply"),
        (closes(CHUNKED + b"ff\r\nabc"), F.AMBIGUOUS, "truncated_reply"),
        (says(whole(GOOD[:-9])), F.PROTOCOL, "malformed_json"),
        (says(whole(b"<html>busy</html>")), F.PROTOCOL, "html_body"),
        (says(whole(b"")), F.PROTOCOL, "empty_body"),
        (says(whole(GOOD.replace(b"hello", b"\xff\xfe"))), F.PROTOCOL, "invalid_utf8"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), F.PROTOCOL, "bad_http"),
        (says(whole(b'{"error":{"message":"m"}}')), F.PROTOCOL, "error_in_200"),
        (says(whole(b"{}", status="401 No", headers="")), F.AUTH, "http_401"),
        (says(whole(b"", status="500 Oh")), F.TRANSIENT, "http_500"),
        (says(whole(b"", status="204 Nothing")[:-2] + b"\r\n"), F.PROTOCOL, "http_204"),
    ],
)
async def test_a_bad_reply_is_a_fault_of_its_class(act: Act, kind: FaultClass, code: str) -> None:
    fault = await outcome_of(act)
    assert isinstance(fault, Fault), fault
    assert (fault.kind, fault.code, fault.sent) == (kind, code, True)


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([b"HTTP/1.1 200 OK\r\n", b"x: " + b"a" * 100_000], "headers_too_large"),
        ([b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 201 + b"\r\n"], "headers_too_large"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 9_000], "headers_too_large"),
        ([CHUNKED, b"1\r\na\r\n0\r\n", b"t: " + b"a" * 100_000], "bad_http"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"] + [b"a" * 2**20] * 70, "body_too_large"),
    ],
    ids=["one long header", "many headers", "endless interim replies", "trailers", "huge body"],
)  # fmt: skip
async def test_no_reply_grows_without_bound(pieces: list[bytes], code: str) -> None:
    fault = await outcome_of(hangs(*pieces))
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (F.PROTOCOL, code)


@pytest.mark.parametrize(
    "act",
    [
        hangs(),
        hangs(whole(GOOD)[:-1]),
        drips(whole(GOOD) * 9),
        drips(whole(b"x" * 500)[30:]),
    ],
    ids=["silence", "last byte missing", "drip", "drip of nonsense"],
)
async def test_the_deadline_is_absolute(act: Act) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with serving(act) as server, asking(server.url) as backend:
        outcome = await ask(backend, SHORT)
        assert loop.time() - started < SHORT + 2.0
        assert isinstance(outcome, Fault)
        assert (outcome.kind, outcome.code) in {
            (F.AMBIGUOUS, "timeout"),
            (F.PROTOCOL, "bad_http"),  # nonsense may be seen through before the deadline
        }
        await asyncio.wait_for(server.lost.wait(), PLENTY)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ("retry-after: 7\r\n", 7.0),
        ("Retry-After: 0.5\r\n", 0.5),
        ("retry-after-ms: 250\r\nretry-after: 9\r\n", 0.25),
        ("retry-after: -1\r\n", None),
        ("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 0.0),
        ("", None),
    ],
)
async def test_a_throttled_request_says_how_long_to_wait(headers: str, wait: float | None) -> None:
    fault = await outcome_of(says(whole(b"{}", status="429 Slow", headers=headers)))
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.retry_after_s) == (F.THROTTLE, wait)


async def test_an_exhausted_credit_is_quota_not_throttling() -> None:
    body = (
        b'{"error":{"type":"insufficient_quota","code":"credit_balance_exhausted","message":"m"}}'
    )
    fault = await outcome_of(says(whole(body, status="429 No")))
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (F.QUOTA, "credit_balance_exhausted")


async def test_a_redirect_is_never_followed() -> None:
    async with serving(says(whole(GOOD))) as elsewhere:
        target = f"location: {elsewhere.url}/chat/completions\r\n"
        fault = await outcome_of(says(whole(b"", status="307 There", headers=target)))
        assert isinstance(fault, Fault)
        assert (fault.kind, fault.code) == (F.ROUTE, "redirect")
        assert elsewhere.connections == 0


async def test_a_closed_port_is_unreachable_and_nothing_was_sent() -> None:
    async with serving() as server:
        url = server.url
    async with asking(url) as backend:
        fault = await ask(backend)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (F.TRANSIENT, "connection_refused")
    assert fault.unreachable
    assert not fault.sent


async def test_a_host_that_nobody_knows_is_unreachable() -> None:
    async with asking("http://no-such-host.invalid/v1") as backend:
        fault = await ask(backend)
    assert isinstance(fault, Fault)
    assert fault.unreachable
    assert fault.code in {"dns", "connect_timeout"}


async def test_connections_are_kept_and_used_again() -> None:
    async with serving(says(whole(GOOD))) as server, asking(server.url) as backend:
        for _ in range(5):
            assert isinstance(await ask(backend), Reply)
        assert (len(server.requests), server.connections) == (5, 1)


async def test_a_failed_status_keeps_its_connection() -> None:
    bad, good = says(whole(b"{}", status="500 Oh")), says(whole(GOOD))
    async with serving(bad, good) as server, asking(server.url) as backend:
        assert isinstance(await ask(backend), Fault)
        assert isinstance(await ask(backend), Reply)
        assert server.connections == 1


@pytest.mark.parametrize("extra", [whole(GOOD.replace(b"hello", b"WRONG")), b"garbage"])
async def test_a_second_reply_is_never_taken_for_the_next_rows_answer(extra: bytes) -> None:
    async with serving(says(whole(GOOD) + extra), says(whole(GOOD))) as server:
        async with asking(server.url) as backend:
            for _ in range(2):
                reply = await ask(backend)
                assert isinstance(reply, Reply)
                assert reply.text == "hello"
        assert server.connections == 2


async def test_many_requests_run_side_by_side_and_get_their_own_answers() -> None:
    async with serving(says(whole(GOOD))) as server, asking(server.url) as backend:
        replies = await asyncio.gather(*(ask(backend) for _ in range(50)))
        assert all(isinstance(reply, Reply) for reply in replies)
        assert server.connections == 50


async def test_cancelling_closes_the_connection() -> None:
    async with serving(hangs()) as server, asking(server.url) as backend:
        task = asyncio.create_task(ask(backend))
        async with asyncio.timeout(PLENTY):
            while not server.requests:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.lost.wait(), PLENTY)


async def test_closing_twice_is_safe_and_nothing_is_sent_afterwards() -> None:
    async with serving(says(whole(GOOD))) as server:
        async with asking(server.url) as backend:
            await ask(backend)
            await backend.aclose()
            fault = await ask(backend)
        assert isinstance(fault, Fault)
        assert (fault.kind, fault.sent) == (F.LOCAL, False)
        assert len(server.requests) == 1


async def test_the_request_is_what_the_protocol_asks_for() -> None:
    async with serving(says(whole(GOOD, headers="X-Request-Id: r-1\r\n"))) as server:
        async with asking(server.url + "/", credential="sk-secret-1") as backend:
            reply = await ask(backend)
        assert isinstance(reply, Reply)
        assert reply.request_id == "r-1"
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
        assert {"authorization: Bearer sk-secret-1", "accept-encoding: identity"} <= set(lines)
        assert body == b'{"m":1}'


async def test_a_credential_that_a_server_repeats_does_not_reach_the_fault() -> None:
    body = b'{"error":{"message":"wrong: hunter2hunter2"}}'
    async with serving(says(whole(body, status="401 No"))) as server:
        backend = OpenAIEndpoint(EndpointSettings(url=server.url, credential="hunter2hunter2"))
        fault = await ask(backend)
        await backend.aclose()
    assert isinstance(fault, Fault)
    assert "hunter2" not in repr(fault) + repr(backend) + backend.name
