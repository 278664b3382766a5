"""Every fault as a client sees it on the wire."""

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from email.message import Message

import msgspec
import pytest

from nightkiln.simulate import Simulator, prompt_hash

DEADLINE_S = 10.0
BODY = b'{"messages":[{"content":"q"}]}'
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
Answer = tuple[int, Message, bytes]
Start = Callable[..., Awaitable[Simulator]]
Call = Callable[..., Awaitable[Answer]]


async def test_500_is_an_error_in_the_shape_of_the_api(start: Start, chat: Call) -> None:
    sim = await start(p500=1)
    status, headers, body = await chat(sim, "q")
    assert (status, headers["retry-after"]) == (500, None)
    assert msgspec.json.decode(body)["error"]["type"] == "server_error"
    assert sim.stats().by_outcome == {"http_500": 1}


@pytest.mark.parametrize(
    ("settings", "status", "wait", "outcome"),
    [
        ({"p503": 1}, 503, "1", "http_503"),
        ({"p429": 1, "retry_after": 7}, 429, "7", "http_429_injected"),
    ],
)
async def test_a_busy_answer_says_when_to_come_back(
    start: Start, chat: Call, settings: dict[str, object], status: int, wait: str, outcome: str
) -> None:
    sim = await start(**settings)
    got, headers, _ = await chat(sim, "q")
    assert (got, headers["retry-after"]) == (status, wait)
    assert headers["retry-after-ms"] == f"{wait}000"
    assert sim.stats().by_outcome == {outcome: 1}


async def test_a_reset_is_a_reset(start: Start, chat: Call) -> None:
    sim = await start(preset=1)
    with pytest.raises(ConnectionResetError):
        await chat(sim, "q")
    assert sim.stats().by_outcome == {"fault_reset": 1}
    assert sim.stats().inflight == 0


async def test_a_hang_sends_nothing_until_it_resets(start: Start, chat: Call) -> None:
    sim = await start(ptimeout=1, hang_s=0.05)
    with pytest.raises(ConnectionResetError):
        await chat(sim, "q")
    assert sim.stats().by_outcome == {"fault_timeout": 1, "fault_reset": 1}


async def test_a_hang_ends_when_the_client_gives_up(start: Start) -> None:
    sim = await start(ptimeout=1)
    _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(REQUEST)
    async with asyncio.timeout(DEADLINE_S):
        while not sim.stats().by_outcome:
            await asyncio.sleep(0.001)
        assert sim.stats().inflight == 1
        writer.close()
        await writer.wait_closed()
        while sim.stats().inflight:
            await asyncio.sleep(0.001)
    assert sim.stats().by_outcome == {"fault_timeout": 1, "client_disconnect": 1}


async def test_a_truncated_body_is_shorter_than_its_length(start: Start, chat: Call) -> None:
    sim = await start(ptruncate=1)
    with pytest.raises(http.client.IncompleteRead) as cut:
        await chat(sim, "q")
    assert cut.value.partial.startswith(b'{"id":"chatcmpl-')
    assert sim.stats().by_outcome == {"fault_truncate": 1}


async def test_a_truncated_stream_never_ends_properly(start: Start, chat: Call) -> None:
    sim = await start(ptruncate=1)
    with pytest.raises(http.client.IncompleteRead) as cut:
        await chat(sim, "q", stream=True)
    assert prompt_hash("q").encode() in cut.value.partial
    assert b"[DONE]" not in cut.value.partial


@pytest.mark.parametrize(
    ("flag", "kind", "fragment"),
    [
        ("pmalformed", "application/json", b"<html>oops"),
        ("pempty", "application/json", b""),
        ("phtml", "text/html; charset=utf-8", b"<!doctype html>"),
    ],
)
async def test_a_useless_200_is_complete_and_no_json(
    start: Start, chat: Call, flag: str, kind: str, fragment: bytes
) -> None:
    sim = await start(**{flag: 1})
    status, headers, body = await chat(sim, "q")
    assert (status, headers["content-type"]) == (200, kind)
    assert fragment in body
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)
    assert (sim.stats().by_outcome, sim.stats().ok) == ({f"fault_{flag[1:]}": 1}, 0)
    assert sim.stats().answered_prompts == 0


async def test_an_answer_without_choices_is_valid_json(start: Start, chat: Call) -> None:
    sim = await start(pnochoices=1)
    status, _, body = await chat(sim, "q")
    assert status == 200
    assert "choices" not in msgspec.json.decode(body)
    assert sim.stats().by_outcome == {"fault_nochoices": 1}


async def test_a_drip_brings_the_right_answer_byte_by_byte(start: Start) -> None:
    sim = await start(pdrip=1, drip_s=0.0005, out_tokens="const:1")
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(REQUEST)
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.read(4096) == b"{"
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        rest = await reader.readexactly(size - 1)
    assert prompt_hash("q") in msgspec.json.decode(b"{" + rest)["id"]
    assert sim.stats().by_outcome == {"fault_drip": 1, "ok": 1}
    writer.close()
    await writer.wait_closed()


async def test_a_fault_comes_after_the_latency_and_holds_a_slot(start: Start, chat: Call) -> None:
    sim = await start(p500=1, latency="const:30")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await chat(sim, "q")
    assert loop.time() - begun >= 0.03
    assert (sim.stats().max_inflight, sim.stats().inflight) == (1, 0)


async def test_faults_come_at_their_shares_and_keep_the_connection(start: Start) -> None:
    sim = await start(p500=0.2, phtml=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    for _ in range(200):
        writer.write(REQUEST)
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(size)
    outcomes = sim.stats().by_outcome
    assert sum(outcomes.values()) == sim.stats().requests == 200
    assert 20 <= outcomes["http_500"] <= 60
    assert 20 <= outcomes["fault_html"] <= 60
    writer.close()
    await writer.wait_closed()
