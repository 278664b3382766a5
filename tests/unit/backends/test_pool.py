"""The pool's own promises: old connections go, timers end, TLS is checked."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightkiln.backends.transport import HttpReply, Pool, Target
from nightkiln.backends.transport import pool as pool_module
from nightkiln.core.fault import Fault

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-One: a\r\nx-one: b\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.read(65536):
            writer.write(REPLY)
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def post(pool: Pool) -> HttpReply | Fault:
    return await pool.post(b"{}", asyncio.get_running_loop().time() + 20)


async def test_idle_connections_are_closed_and_the_timer_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "SWEEP_S", 0.01)
    monkeypatch.setattr(pool_module, "IDLE_S", 0.02)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool(Target(f"http://127.0.0.1:{port}/", {}))
        replies = await asyncio.gather(*(post(pool) for _ in range(3)))
        assert all(isinstance(reply, HttpReply) for reply in replies)
        await until(lambda: pool.size == 0)
        assert pool.idle == 0
        assert isinstance(await post(pool), HttpReply)
        await pool.aclose()


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answer(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool(Target(f"http://127.0.0.1:{port}/", {}))
        assert isinstance(await post(pool), HttpReply)
        writers[0].close()
        await until(lambda: pool.size == 0)
        assert isinstance(await post(pool), HttpReply)
        assert len(writers) == 2
        await pool.aclose()


def test_headers_are_read_in_lower_case_and_the_first_one_counts() -> None:
    reply = HttpReply(200, [(b"X-One", b"a"), (b"x-one", b"b")], b"")
    assert reply.headers() == {"x-one": "a"}
    assert reply.header(b"x-one") == "a"
    assert reply.header(b"x-two") == ""


def test_an_https_target_needs_a_tls_context() -> None:
    with pytest.raises(ValueError, match="TLS"):
        Pool(Target("https://h/", {}))


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates_are_verified(certificate: Path, trusted: bool) -> None:
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context = ssl.create_default_context(cafile=certificate / "cert.pem" if trusted else None)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=served)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool(Target(f"https://localhost:{port}/", {}), tls=context)
        outcomes = [await post(pool) for _ in range(2)]
        await pool.aclose()
    if trusted:
        assert [outcome.body for outcome in outcomes if isinstance(outcome, HttpReply)] == [
            b"ok"
        ] * 2
    else:
        assert [(f.code, f.unreachable) for f in outcomes if isinstance(f, Fault)] == [
            ("tls", True)
        ] * 2


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A port whose queue is full: the kernel drops every further handshake."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def test_a_host_that_swallows_handshakes_is_unreachable(black_hole: str) -> None:
    pool = Pool(Target(black_hole, {}))
    fault = await pool.post(b"{}", asyncio.get_running_loop().time() + 0.2)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.unreachable, fault.sent) == ("connect_timeout", True, False)
    assert pool.size == 0


async def test_cancelling_while_connecting_leaves_nothing_behind(black_hole: str) -> None:
    pool = Pool(Target(black_hole, {}))
    task = asyncio.create_task(post(pool))
    await until(lambda: pool.size == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.size == 0


async def test_an_early_refusal_of_a_large_body_is_heard_and_its_connection_dropped() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await until(lambda: pool.size == 0)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        pool = Pool(Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}))
        reply = await pool.post(b"x" * 30_000_000, asyncio.get_running_loop().time() + 20)
        assert isinstance(reply, HttpReply)
        assert (reply.status, pool.idle) == (413, 0)
        await until(lambda: pool.size == 0)
        await pool.aclose()
