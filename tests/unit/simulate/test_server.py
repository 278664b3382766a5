"""The simulator over real sockets: answers, limits, capacity, counts and live changes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from email.message import Message

import msgspec
import pytest

from nightkiln.simulate import Simulator, SimulatorStats, prompt_hash

DEADLINE_S = 10.0
Answer = tuple[int, Message, bytes]
Start = Callable[..., Awaitable[Simulator]]
Call = Callable[..., Coroutine[None, None, Answer]]


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_true():
            await asyncio.sleep(0.001)


def text_of(body: bytes) -> str:
    text = msgspec.json.decode(body)["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


async def test_each_prompt_gets_the_answer_with_its_own_hash(start: Start, chat: Call) -> None:
    sim = await start()
    for prompt in ("one", "zwei", "三"):
        status, headers, body = await chat(sim, prompt)
        assert status == 200
        assert text_of(body).startswith(f"h:{prompt_hash(prompt)} ")
        assert headers["x-prompt-hash"] == prompt_hash(prompt)


async def test_models_and_health_are_served(start: Start, call: Call) -> None:
    sim = await start()
    status, _, body = await call(sim, "/v1/models")
    assert (status, msgspec.json.decode(body)["data"][0]["object"]) == (200, "model")
    assert (await call(sim, "/health"))[0] == 200
    assert (await call(sim, "/nowhere"))[0] == 404
    assert (await call(sim, "/v1/chat/completions"))[0] == 405
    assert sim.url == f"http://127.0.0.1:{sim.port}/v1"


async def test_embeddings_are_served(start: Start, call: Call) -> None:
    sim = await start(embed_dim=3)
    status, _, body = await call(sim, "/v1/embeddings", {"model": "e", "input": ["a", "b"]})
    assert status == 200
    assert [len(row["embedding"]) for row in msgspec.json.decode(body)["data"]] == [3, 3]


@pytest.mark.parametrize("itl", [0, 1])
async def test_a_stream_ends_with_done_and_counts_as_ok(start: Start, chat: Call, itl: int) -> None:
    sim = await start(itl=itl, latency="const:1", out_tokens="const:100", sse_tokens=25)
    status, headers, body = await chat(sim, "q", stream=True)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert f"h:{prompt_hash('q')} ".encode() in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert (sim.stats().ok, sim.stats().completion_tokens) == (1, 100)


async def test_latency_and_tokens_take_their_time(start: Start, chat: Call) -> None:
    sim = await start(latency="const:20", itl=1, out_tokens="const:20", slow_per_inflight=10)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await chat(sim, "q")
    assert loop.time() - begun >= 0.05


async def test_a_poisoned_prompt_always_gets_400(start: Start, chat: Call) -> None:
    sim = await start()
    assert (await chat(sim, "a __poison__ b"))[0] == 400
    assert sim.stats().by_outcome == {"http_400": 1}
    assert (sim.stats().requests, sim.stats().unique_prompts) == (1, 0)


async def test_a_request_that_cannot_be_read_gets_400(start: Start, call: Call) -> None:
    sim = await start()
    status, _, body = await call(sim, "/v1/chat/completions", {"messages": []})
    assert status == 400
    assert "messages must not be empty" in msgspec.json.decode(body)["error"]["message"]
    assert sim.stats().by_outcome == {"bad_request": 1}


async def test_without_the_api_key_it_answers_401(start: Start, call: Call, chat: Call) -> None:
    sim = await start(api_key="sesame")
    assert (await chat(sim, "q"))[0] == 401
    assert (await chat(sim, "q", headers={"Authorization": "Bearer wrong"}))[0] == 401
    assert (await call(sim, "/v1/models"))[0] == 401
    assert (await chat(sim, "q", headers={"Authorization": "Bearer sesame"}))[0] == 200
    assert (await chat(sim, "q", headers={"x-api-key": "sesame"}))[0] == 200
    assert (await call(sim, "/_ctl/stats"))[0] == 200
    assert sim.stats().by_outcome == {"http_401": 2, "ok": 2}


async def test_the_request_limit_is_told_and_kept(start: Start, chat: Call) -> None:
    sim = await start(rpm=6, burst_s=10)
    status, headers, _ = await chat(sim, "one")
    assert (status, headers["x-ratelimit-limit-requests"]) == (200, "6")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    status, headers, body = await chat(sim, "two")
    assert status == 429
    assert 8 <= int(headers["retry-after"]) <= 10
    assert 8000 <= int(headers["retry-after-ms"]) <= 10_000
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert msgspec.json.decode(body)["error"]["code"] == "rate_limit_exceeded"
    assert sim.stats().by_outcome == {"ok": 1, "http_429_requests": 1}


async def test_the_token_limit_is_told_and_kept(start: Start, chat: Call) -> None:
    sim = await start(tpm=60, burst_s=30, out_tokens="const:20")
    status, headers, _ = await chat(sim, "q")
    assert (status, headers["x-ratelimit-limit-tokens"]) == (200, "60")
    assert headers["x-ratelimit-remaining-tokens"] == "9"
    assert (await chat(sim, "q"))[0] == 429
    assert sim.stats().by_outcome == {"ok": 1, "http_429_tokens": 1}


async def test_beyond_capacity_one_waits_and_the_next_is_refused(start: Start, chat: Call) -> None:
    sim = await start(capacity=1, queue=1, latency="const:1e6", retry_after=2.5)
    first = asyncio.create_task(chat(sim, "first"))
    await until(lambda: sim.stats().inflight == 1)
    second = asyncio.create_task(chat(sim, "second"))
    await until(lambda: sim.stats().queued == 1)
    status, headers, _ = await chat(sim, "third")
    assert (status, headers["retry-after"], headers["retry-after-ms"]) == (429, "3", "2500")
    assert not first.done()
    sim.configure(sim.settings.changed({"latency": 0, "capacity": 2}))
    assert (await second)[0] == 200
    assert (sim.stats().max_inflight, sim.stats().max_queue) == (2, 1)
    assert sim.stats().by_outcome == {"http_429_capacity": 1, "ok": 1}
    await sim.__aexit__(None, None, None)
    with pytest.raises(ConnectionError):
        await first


async def test_a_full_house_serves_everybody_in_the_end(start: Start, chat: Call) -> None:
    sim = await start(capacity=2, latency="const:2")
    answers = await asyncio.gather(*(chat(sim, f"row {i}") for i in range(12)))
    assert {status for status, _, _ in answers} == {200}
    stats = sim.stats()
    assert (stats.ok, stats.max_inflight, stats.inflight, stats.queued) == (12, 2, 0, 0)
    assert 0 < stats.mean_inflight <= 2


async def test_a_client_that_leaves_frees_its_slot_and_its_place(start: Start) -> None:
    sim = await start(capacity=1, latency="const:1e6")
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
    body = b'{"messages":[{"content":"q"}]}'
    writers = []
    for _ in range(2):
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(request % (len(body), body))
        writers.append(writer)
    await until(lambda: sim.stats().inflight == 1 and sim.stats().queued == 1)
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    await until(lambda: sim.stats().by_outcome == {"client_disconnect": 2})
    stats = sim.stats()
    assert (stats.inflight, stats.queued, stats.open_connections) == (0, 0, 0)


async def test_pipelined_and_piecemeal_requests_are_answered_in_order(start: Start) -> None:
    sim = await start(latency="const:1")
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    raw = b""
    for number in range(5):
        body = b'{"messages":[{"content":"row %d"}]}' % number
        head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        raw += head + body
    writer.write(raw[:150])
    await writer.drain()
    writer.write(raw[150:])
    for number in range(5):
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        assert f"x-prompt-hash: {prompt_hash(f'row {number}')}".encode() in head
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(size)
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_asks_to_close_is_closed(start: Start) -> None:
    sim = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.read()).endswith(b"{}")
    writer.close()
    await writer.wait_closed()


async def test_a_careful_client_is_told_to_continue(start: Start) -> None:
    sim = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(b"POST /_ctl/reset HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"{}")
    async with asyncio.timeout(DEADLINE_S):
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 10_000), b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 40000000\r\n\r\n" + b"x" * 39_999_999, b"413"),
    ],
)
async def test_what_is_out_of_bounds_is_turned_away(
    start: Start, raw: bytes, status: bytes
) -> None:
    sim = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(raw)
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.readuntil(b"\r\n")).split()[1] == status
    writer.transport.abort()
    await until(lambda: sim.stats().open_connections == 0)


async def test_it_changes_while_it_runs(start: Start, call: Call, chat: Call) -> None:
    sim = await start()
    assert (await chat(sim, "q"))[0] == 200
    status, _, body = await call(sim, "/_ctl/config", {"p500": 1, "latency": "uniform:1,2"})
    shown = msgspec.json.decode(body)
    assert (status, shown["p500"], shown["latency"]) == (200, 1, "uniform:1,2")
    assert (await chat(sim, "q"))[0] == 500
    assert msgspec.json.decode((await call(sim, "/_ctl/config"))[2]) == shown


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"p5": 1}, "unknown keys: p5"),
        ({"latency": "soon"}, "latency cannot be"),
        ({"p500": 0.9, "p503": 0.9}, "more than 1"),
        ([1], "Expected `object`"),
    ],
)
async def test_a_wrong_change_is_refused_and_changes_nothing(
    start: Start, call: Call, change: object, complaint: str
) -> None:
    sim = await start()
    before = sim.settings
    status, _, body = await call(sim, "/_ctl/config", change)
    assert status == 400
    assert complaint in msgspec.json.decode(body)["error"]["message"]
    assert sim.settings == before


async def test_counts_tell_repeats_from_waste(start: Start, call: Call, chat: Call) -> None:
    sim = await start(p500=1)
    await chat(sim, "a")
    sim.configure(sim.settings.changed({"p500": 0}))
    for prompt in ("a", "b", "a", "a"):
        await chat(sim, prompt)
    stats = msgspec.json.decode((await call(sim, "/_ctl/stats"))[2], type=SimulatorStats)
    assert (stats.requests, stats.ok) == (5, 4)
    assert (stats.unique_prompts, stats.answered_prompts) == (2, 2)
    assert (stats.duplicates, stats.resent_after_ok) == (3, 2)
    assert stats.requests_per_prompt_max == 4
    assert stats.by_outcome == {"http_500": 1, "ok": 4}
    prompts = msgspec.json.decode((await call(sim, "/_ctl/prompts"))[2])
    assert prompts == sim.prompts() == {prompt_hash("a"): 4, prompt_hash("b"): 1}


async def test_a_reset_forgets_all_counts(start: Start, call: Call, chat: Call) -> None:
    sim = await start()
    await chat(sim, "a")
    assert (await call(sim, "/_ctl/reset", {}))[0] == 200
    stats = sim.stats()
    assert (stats.requests, stats.ok, stats.by_outcome) == (0, 0, {})
    assert (stats.unique_prompts, stats.requests_per_prompt_max, sim.prompts()) == (0, 0, {})


async def test_without_tracking_no_prompt_is_kept(start: Start, call: Call, chat: Call) -> None:
    sim = await start(track=0)
    await chat(sim, "a")
    await chat(sim, "a")
    assert (sim.stats().ok, sim.stats().unique_prompts, sim.prompts()) == (2, 0, {})
    assert (await call(sim, "/_ctl/prompts"))[0] == 404


async def test_the_same_seed_breaks_the_same_requests(start: Start, chat: Call) -> None:
    runs = []
    for _ in range(2):
        sim = await start(p500=0.5, seed=11)
        runs.append([(await chat(sim, f"{i}"))[0] for i in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}
