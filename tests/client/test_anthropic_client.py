"""Anthropic's own client, sync and async, as its users have it, against `nightkiln serve`.

Every test runs with whichever release is installed: older ones send the first version
of the API and the key in a header of its own, newer ones the second and a bearer token.
"""

import asyncio
import inspect
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from tests.client.proxy import before
from tests.client.recorder import Recorder, recording, text
from tests.client.server import Running, running
from tests.scenario.place import DEADLINE_S, simulated

Client: TypeAlias = Anthropic | AsyncAnthropic
FIRST, SECOND = "2023-06-01", "2026-10-21"
RECORDED = """
[endpoints.recorded]
url = "{url}"
models = ["recorded"]
thinking = "template"
"""


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, recorder: Recorder) -> Iterator[Running]:
    folder, more = tmp_path_factory.mktemp("serving"), RECORDED.format(url=recorder.url)
    with simulated() as provider, running(folder, provider, more=more) as found:
        yield found


@pytest.fixture(params=[Anthropic, AsyncAnthropic])
async def client(request: pytest.FixtureRequest, server: Running) -> AsyncIterator[Client]:
    made: Client = request.param(base_url=server.url, api_key=server.key)
    yield made
    await got(made.close())


async def got(asked: Any) -> Any:
    """What a call of either client gives."""
    return await asked if inspect.isawaitable(asked) else asked


async def everything(lines: Any) -> list[Any]:
    """All of a list, page by page, or of a stream."""
    lines = await got(lines)
    if hasattr(lines, "__aiter__"):
        return [one async for one in lines]
    return list(lines)


def request(name: str, **more: Any) -> Any:
    params = {
        "model": "m",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": f"Say {name}"}],
        **more,
    }
    return {"custom_id": name, "params": params}


async def asked(client: Client, *requests: Any, **more: Any) -> Any:
    return await got(client.messages.batches.create(requests=list(requests), **more))


async def ended(client: Client, batch: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline, f"the batch is still {batch.processing_status}"
        tick = 0.05
        await asyncio.sleep(tick)
        batch = await got(client.messages.batches.retrieve(batch.id))
    return batch


async def results(client: Client, batch: Any) -> dict[str, Any]:
    """What became of each request, once the batch has ended."""
    await ended(client, batch)
    lines = await everything(client.messages.batches.results(batch.id))
    return {line.custom_id: line.result for line in lines}


async def answer(client: Client, recorder: Recorder, **params: Any) -> tuple[Any, Any]:
    """What the recorded endpoint was asked for a request, and the result."""
    seen = len(recorder.asked)
    batch = await asked(client, request("one", model="recorded", **params))
    found = (await results(client, batch))["one"]
    return recorder.asked[seen:], found


async def fails(kind: type[Exception], asking: Callable[[], Any]) -> Any:
    """The error that a call ends with."""

    async def call() -> None:
        await got(asking())

    with pytest.raises(kind) as failed:
        await call()
    return failed.value


def counts_of(batch: Any) -> tuple[int, ...]:
    counts = batch.request_counts
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return tuple(getattr(counts, name) for name in names)


async def test_from_a_create_to_the_messages_to_nothing(client: Client) -> None:
    batch = await asked(client, *(request(f"r{row}") for row in range(30)))
    assert batch.id.startswith("msgbatch_")
    assert (batch.type, batch.processing_status) == ("message_batch", "in_progress")
    assert counts_of(batch) == (30, 0, 0, 0, 0)
    assert batch.results_url is None
    lives_s = (batch.expires_at - batch.created_at).total_seconds()
    assert lives_s == pytest.approx(24 * 3600, abs=60)
    batch = await ended(client, batch)
    assert counts_of(batch) == (0, 30, 0, 0, 0)
    assert batch.created_at < batch.ended_at < batch.expires_at
    assert batch.results_url == f"/v1/messages/batches/{batch.id}/results"
    lines = await everything(client.messages.batches.results(batch.id))
    assert [line.custom_id for line in lines] == [f"r{row}" for row in range(30)]
    for line in lines:
        assert line.result.type == "succeeded"
        message = line.result.message
        assert isinstance(message, Message)
        assert (message.type, message.role, message.model) == ("message", "assistant", "m")
        assert message.content[0].type == "text"
        assert message.usage.input_tokens > 0
    gone = await got(client.messages.batches.delete(batch.id))
    assert (gone.id, gone.type) == (batch.id, "message_batch_deleted")
    await fails(anthropic.NotFoundError, lambda: client.messages.batches.retrieve(batch.id))


async def test_the_same_is_served_under_a_prefix(server: Running, client: Client) -> None:
    there = client.with_options(base_url=f"{server.url}/anthropic")
    batch = await asked(there, request("a"))
    assert (await results(there, batch))["a"].type == "succeeded"


async def test_bad_params_end_their_own_request_and_no_other(client: Client) -> None:
    batch = await asked(
        client,
        request("good"),
        request("none", max_tokens=0),
        request("hot", temperature=7.0, extra=1),
        request("unserved", model="claude-9"),
        request("poison", messages=[{"role": "user", "content": "__poison__"}]),
    )
    found = await results(client, batch)
    assert counts_of(await ended(client, batch)) == (0, 1, 4, 0, 0)
    assert {name: one.type for name, one in found.items()} == {
        "good": "succeeded",
        "none": "errored",
        "hot": "errored",
        "unserved": "errored",
        "poison": "errored",
    }
    errors = {name: one.error.error for name, one in found.items() if one.type == "errored"}
    assert {error.type for error in errors.values()} == {"invalid_request_error"}
    assert errors["none"].message == "max_tokens: Input should be greater than or equal to 1"
    assert "claude-9" in errors["unserved"].message


async def test_what_is_said_reaches_the_model_as_a_chat_and_its_answer_comes_back(
    client: Client, recorder: Recorder
) -> None:
    def say(_: Any) -> dict[str, Any]:
        call = {"name": "weather", "arguments": '{"city": "Oslo"}'}
        tools = [{"id": "call_1", "type": "function", "function": call}]
        return text("I shall look.", finish="tool_calls", tool_calls=tools)

    recorder.say = say
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    [body], result = await answer(
        client,
        recorder,
        system=[{"type": "text", "text": "Be brief."}],
        stop_sequences=["END"],
        tools=[{"name": "weather", "description": "Of a city.", "input_schema": schema}],
        tool_choice={"type": "any"},
        messages=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "which city"}],
            },
        ],
    )
    assert body["model"] == "recorded"
    assert body["max_tokens"] == 20
    assert body["stop"] == ["END"]
    assert body["tool_choice"] == "required"
    [tool] = body["tools"]
    assert tool["function"]["parameters"] == schema
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert body["messages"][0]["content"] == "Be brief."
    assert body["messages"][3]["tool_call_id"] == "t1"
    message = result.message
    assert message.stop_reason == "tool_use"
    said, used = message.content
    assert (said.type, said.text) == ("text", "I shall look.")
    assert (used.type, used.id, used.name) == ("tool_use", "call_1", "weather")
    assert used.input == {"city": "Oslo"}
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (12, 8, 5)


async def test_a_stop_sequence_and_a_lack_of_room_are_said_in_the_message(
    client: Client, recorder: Recorder
) -> None:
    recorder.say = lambda _: text("1, 2") | {"stop_reason": "3"}
    _, result = await answer(client, recorder, stop_sequences=["3"])
    message = result.message
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "3")
    recorder.say = lambda _: text("1, 2, 3", finish="length")
    _, result = await answer(client, recorder)
    assert result.message.stop_reason == "max_tokens"


async def test_thoughts_are_shown_to_who_asks_for_them(client: Client, recorder: Recorder) -> None:
    recorder.say = lambda _: text("4", reasoning_content="two and two")
    _, quiet = await answer(client, recorder)
    assert [block.type for block in quiet.message.content] == ["text"]
    _, shown = await answer(client, recorder, thinking={"type": "adaptive"})
    assert [block.type for block in shown.message.content] == ["thinking", "text"]
    assert shown.message.content[0].thinking == "two and two"
    enough: Any = {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    [body], _ = await answer(client, recorder, **enough)
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["thinking_token_budget"] == 2000
    refused = (await results(client, await asked(client, request("m", **enough))))["m"]
    assert "cannot be told to think" in refused.error.error.message


async def test_the_second_version_takes_no_sampling_parameters(
    client: Client, recorder: Recorder
) -> None:
    recorder.say = lambda _: text("fine")
    for version, kind in ((FIRST, "succeeded"), (SECOND, "errored")):
        there = client.with_options(default_headers={"anthropic-version": version})
        bodies, result = await answer(there, recorder, temperature=0.5)
        assert result.type == kind
        assert [body["temperature"] for body in bodies] == [0.5] * (kind == "succeeded")


@pytest.mark.parametrize("version", [FIRST, SECOND, None, "2020-01-01"])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_a_version_has_to_be_named_and_a_key_may_come_either_way(
    server: Running, version: str | None, header: str
) -> None:
    sent = {header: server.key if header == "x-api-key" else f"Bearer {server.key}"}
    if version is not None:
        sent["anthropic-version"] = version
    status, said, headers = get(f"{server.url}/v1/messages/batches", sent)
    assert status == (200 if version in (FIRST, SECOND) else 400)
    assert headers["request-id"].startswith("req_")
    if status == 400:
        assert said["type"] == "error"
        assert said["error"]["type"] == "invalid_request_error"
        assert "anthropic-version" in said["error"]["message"]
        assert said["request_id"] == headers["request-id"]


def get(url: str, headers: dict[str, str]) -> tuple[int, Any, Any]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=DEADLINE_S
        ) as reply:
            return reply.status, json.loads(reply.read()), reply.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read()), refused.headers


async def test_a_cancelled_batch_has_a_result_for_every_request(
    server: Running, client: Client
) -> None:
    server.provider.slow(300)
    try:
        batch = await asked(client, *(request(f"r{row}") for row in range(400)))
        error = await fails(
            anthropic.BadRequestError, lambda: client.messages.batches.delete(batch.id)
        )
        assert "in progress" in str(error)
        batch = await got(client.messages.batches.cancel(batch.id))
        assert batch.processing_status in ("canceling", "ended")
        assert batch.cancel_initiated_at is not None
        again = await got(client.messages.batches.cancel(batch.id))
        assert again.id == batch.id
    finally:
        server.provider.slow(0)
    batch = await ended(client, batch)
    found = [one.type for one in (await results(client, batch)).values()]
    processing, succeeded, errored, canceled, expired = counts_of(batch)
    assert (processing, errored, expired, succeeded + canceled) == (0, 0, 0, 400)
    assert (found.count("succeeded"), found.count("canceled")) == (succeeded, canceled)
    assert canceled > 0
    over = await got(client.messages.batches.cancel(batch.id))
    assert over.processing_status == "ended"


async def test_lists_are_paged_both_ways_without_a_gap(client: Client) -> None:
    ids = [(await asked(client, request("a"))).id for _ in range(5)][::-1]
    page = await got(client.messages.batches.list(limit=2))
    assert [one.id for one in page.data] == ids[:2]
    assert (page.first_id, page.last_id, page.has_more) == (ids[0], ids[1], True)
    listed = [one.id for one in await everything(client.messages.batches.list(limit=2))]
    assert listed[:5] == ids
    newer = await got(client.messages.batches.list(limit=2, before_id=ids[4]))
    assert [one.id for one in newer.data] == ids[2:4]
    newest = await everything(client.messages.batches.list(limit=3, before_id=ids[4]))
    assert {one.id for one in newest} == {*ids[:4]}


async def test_a_create_whose_answer_was_lost_is_one_batch(server: Running, client: Client) -> None:
    with before(server.url) as proxy:
        proxy.lost = 2
        there = client.with_options(base_url=proxy.url)
        batch = await asked(there, request(f"lost-{type(client).__name__}"))
        assert proxy.count("POST", "/v1/messages/batches") == 3
    mine = await got(client.messages.batches.list(limit=2))
    before_it = [one.id for one in mine.data]
    assert before_it[0] == batch.id
    assert (await asked(client, request(f"lost-{type(client).__name__}"))).id != batch.id
    named = {"idempotency-key": f"once-{type(client).__name__}"}
    first = await asked(client, request("k"), extra_headers=named)
    assert (await asked(client, request("k"), extra_headers=named)).id == first.id
    with pytest.raises(anthropic.ConflictError):
        await asked(client, request("other"), extra_headers=named)


async def test_tokens_are_counted_without_asking_the_model(
    client: Client, recorder: Recorder
) -> None:
    seen, count = len(recorder.asked), client.messages.count_tokens

    async def tokens(words: str, **more: Any) -> int:
        said: Any = [{"role": "user", "content": words}]
        return int((await got(count(model="recorded", messages=said, **more))).input_tokens)

    short, long = await tokens("Hello."), await tokens("Hello. " * 400)
    assert 0 < short < long
    assert await tokens("Hello.", system="Be brief. " * 100) > short
    assert len(recorder.asked) == seen


async def test_errors_are_what_the_client_makes_of_them(client: Client) -> None:
    bad, missing = anthropic.BadRequestError, anthropic.NotFoundError
    batches = client.messages.batches

    def create(*requests: Any) -> Any:
        return batches.create(requests=list(requests))

    error = await fails(bad, create)
    assert error.body["error"]["type"] == "invalid_request_error"
    assert "requests" in str(error)
    assert error.request_id.startswith("req_")
    error = await fails(bad, lambda: create(request("a"), request("a")))
    assert "requests.1.custom_id: Duplicate custom_id" in str(error)
    error = await fails(bad, lambda: create(request("no spaces")))
    assert "requests.0.custom_id" in str(error)
    error = await fails(bad, lambda: batches.list(limit=0))
    assert "limit" in str(error)
    await fails(bad, lambda: batches.list(limit=1001))
    await fails(missing, lambda: batches.list(after_id="msgbatch_unknown"))
    for ask in (batches.retrieve, batches.cancel, batches.delete, batches.results):
        error = await fails(missing, lambda ask=ask: ask("msgbatch_unknown"))  # type: ignore[misc]
        assert error.body["error"]["type"] == "not_found_error"
    count: Any = client.messages.count_tokens
    await fails(missing, lambda: count(model="m0", messages=[{"role": "user", "content": "x"}]))
    error = await fails(bad, lambda: count(model="m", messages=[{"role": "us", "content": "x"}]))
    assert "messages.0.role" in str(error)
    stranger = client.with_options(api_key="nk_wrong")
    error = await fails(anthropic.AuthenticationError, stranger.messages.batches.list)
    assert error.body["error"]["type"] == "authentication_error"
