"""A client for the simulator under test: the standard library's, in a thread."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from email.message import Message

import msgspec
import pytest

from nightkiln.simulate import Simulator, SimulatorSettings

DEADLINE_S = 10.0
Answer = tuple[int, Message, bytes]


def _exchange(port: int, path: str, body: object, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        raw = None if body is None else msgspec.json.encode(body)
        connection.request("GET" if raw is None else "POST", path, body=raw, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Simulator]]]:
    async with AsyncExitStack() as stack:

        async def begin(**settings: object) -> Simulator:
            return await stack.enter_async_context(Simulator(SimulatorSettings().changed(settings)))

        yield begin


@pytest.fixture
def call() -> Callable[..., Awaitable[Answer]]:
    async def send(
        sim: Simulator, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await asyncio.to_thread(_exchange, sim.port, path, body, headers or {})

    return send


@pytest.fixture
def chat(call: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    async def send(
        sim: Simulator, prompt: str, *, headers: dict[str, str] | None = None, **more: object
    ) -> Answer:
        body = {"model": "m", "messages": [{"role": "user", "content": prompt}]} | more
        return await call(sim, "/v1/chat/completions", body, headers)

    return send
