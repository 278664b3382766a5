"""Who asks before the server is there hears that it starts, and then the server itself."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest

from nightkiln.core.errors import UsageError
from nightkiln.http.running import Listening
from nightkiln.http.starting import starting

DEADLINE_S = 30.0


def asked(url: str) -> tuple[int, object]:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


async def test_everybody_hears_that_it_starts_until_somebody_takes_over() -> None:
    async with starting(Listening(port=0)) as early:
        listener = early.hand_over()
    assert listener.fileno() == -1  # nobody took it, so it is closed
    async with starting(Listening(port=0)) as early:
        port = early.port
        for path in ("/readyz", "/v1/models"):
            said = await asyncio.to_thread(asked, f"http://127.0.0.1:{port}{path}")
            assert said == (503, {"status": "starting"})
        listener = early.hand_over()
        waiting = asyncio.create_task(asyncio.to_thread(asked, f"http://127.0.0.1:{port}/"))

        async def ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            writer.close()

        server = await asyncio.start_server(ready, sock=listener)
        assert await asyncio.wait_for(waiting, DEADLINE_S) == (200, {})
        server.close()


async def test_who_says_nothing_is_left_and_a_port_that_is_taken_is_told() -> None:
    async with starting(Listening(port=0)) as early:
        reader, writer = await asyncio.open_connection("127.0.0.1", early.port)
        writer.write(b"GET / HT")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
        writer.close()
        with pytest.raises(UsageError, match="cannot listen"):
            async with starting(Listening(port=early.port)):
                pass
