"""Batches, from the upload to the answers, with OpenAI's client as it is."""

import json
from typing import Any

import openai
import pytest
from tests.client.openai.asking import (
    BODIES,
    CHAT,
    ENDS,
    Client,
    asked,
    everything,
    fails,
    got,
    lines_of,
    once,
    text_of,
    uploaded,
)
from tests.client.proxy import before
from tests.client.server import Running


@pytest.mark.parametrize("endpoint", BODIES)
async def test_from_an_upload_to_the_answers(client: Client, endpoint: str) -> None:
    batch = await asked(client, lines_of(30, endpoint), endpoint, metadata={"who": "me"})
    assert batch.id.startswith("batch_")
    assert (batch.object, batch.endpoint, batch.completion_window) == ("batch", endpoint, "24h")
    batch = await once(client, batch)
    assert batch.status == "completed"
    assert batch.metadata == {"who": "me"}
    assert batch.error_file_id is None
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 30, 0)
    times = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at]
    assert times == sorted(times)
    lines = [
        json.loads(line) for line in (await text_of(client, batch.output_file_id)).splitlines()
    ]
    assert [line["custom_id"] for line in lines] == [f"r{row}" for row in range(30)]
    assert {line["response"]["status_code"] for line in lines} == {200}
    assert {line["error"] for line in lines} == {None}
    file = await got(client.files.retrieve(batch.output_file_id))
    assert file.purpose == "batch_output"
    assert file.bytes == len((await text_of(client, batch.output_file_id)).encode())


async def test_a_failed_line_is_in_the_error_file_and_the_batch_is_completed(
    client: Client,
) -> None:
    lines = lines_of(10).replace(b"Say 3", b"Say __poison__ 3")
    batch = await once(client, await asked(client, lines))
    counts = batch.request_counts
    assert (batch.status, counts.completed, counts.failed) == ("completed", 9, 1)
    failure = json.loads(await text_of(client, batch.error_file_id))
    assert failure["custom_id"] == "r3"
    assert failure["response"]["status_code"] == 400
    assert failure["error"]["message"]
    assert '"r3"' not in await text_of(client, batch.output_file_id)


async def test_a_batch_whose_lines_all_fail_is_completed(client: Client) -> None:
    lines = lines_of(3).replace(b"Say", b"__poison__")
    batch = await once(client, await asked(client, lines))
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert len((await text_of(client, batch.error_file_id)).splitlines()) == 3


async def test_a_cancelled_batch_keeps_what_it_has(server: Running, client: Client) -> None:
    server.provider.slow(300)
    try:
        batch = await asked(client, lines_of(400))
        batch = await once(client, batch, "in_progress")
        while not batch.request_counts.completed and batch.status == "in_progress":
            batch = await got(client.batches.retrieve(batch.id))
        live = json.loads(server.get(f"/v1/batches/{batch.id}"))  # some clients know no usage
        assert live["status"] == "in_progress"
        assert 0 < live["request_counts"]["completed"] < 400
        usage = live["usage"]
        assert usage["output_tokens"] > 0
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        batch = await got(client.batches.cancel(batch.id))
        assert batch.status in ("cancelling", "cancelled")
        again = await got(client.batches.cancel(batch.id))
        assert again.id == batch.id
    finally:
        server.provider.slow(0)
    batch = await once(client, batch)
    assert batch.status == "cancelled"
    counts = batch.request_counts
    assert counts.total == 400
    assert counts.completed + counts.failed == 400
    assert 0 < counts.completed < 400
    answered = (await text_of(client, batch.output_file_id)).splitlines()
    missing = [
        json.loads(line) for line in (await text_of(client, batch.error_file_id)).splitlines()
    ]
    assert (len(answered), len(missing)) == (counts.completed, counts.failed)
    assert missing[-1]["error"]["code"] == "batch_cancelled"


async def test_a_batch_that_expires_keeps_what_it_has(server: Running, client: Client) -> None:
    server.provider.slow(300)
    try:
        ours = {"nightkiln": {"deadline": "3s"}}
        batch = await once(client, await asked(client, lines_of(3000), extra_body=ours))
    finally:
        server.provider.slow(0)
    assert batch.status == "expired"
    assert batch.expired_at is not None
    answered = (await text_of(client, batch.output_file_id)).splitlines()
    missing = (await text_of(client, batch.error_file_id)).splitlines()
    assert 0 < len(answered) < 3000
    assert len(answered) + len(missing) == 3000
    counts = batch.request_counts
    assert (counts.completed, counts.failed) == (len(answered), len(missing))
    assert json.loads(missing[-1])["error"]["code"] == "batch_expired"


async def test_a_batch_that_is_over_cannot_be_cancelled_and_nobody_tries_again(
    server: Running, client: Client
) -> None:
    batch = await once(client, await asked(client, lines_of(1)))
    with before(server.url) as proxy:
        there = client.with_options(base_url=f"{proxy.url}/v1")
        error = await fails(openai.ConflictError, lambda: there.batches.cancel(batch.id))
        assert "Cannot cancel a batch with status 'completed'." in str(error)
        assert proxy.count("POST", f"/v1/batches/{batch.id}/cancel") == 1


async def test_every_bad_line_of_an_input_is_named(client: Client) -> None:
    good = lines_of(5).splitlines()
    streaming = json.loads(good[4])
    streaming["custom_id"], streaming["body"]["stream"] = "other", True
    elsewhere = json.loads(good[3]) | {"url": "/v1/embeddings"}
    lines = [
        good[0],
        b"{not json",
        good[0],
        b'{"custom_id": "x"}',
        json.dumps(elsewhere).encode(),
        json.dumps(streaming).encode(),
    ]
    batch = await once(client, await asked(client, b"\n".join(lines)))
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.output_file_id is None
    found = {error.line: (error.code, error.param) for error in batch.errors.data}
    assert found == {
        2: ("invalid_json_line", None),
        3: ("duplicate_custom_id", "custom_id"),
        4: ("missing_required_parameter", "method"),
        5: ("invalid_url", "url"),
        6: ("streaming_unsupported", "body.stream"),
    }
    assert all(error.message for error in batch.errors.data)


@pytest.mark.parametrize(
    ("lines", "code"),
    [(b"", "empty_file"), (b"\n\n", "empty_file"), (lines_of(1, model="gpt-0"), "model_not_found")],
)
async def test_a_file_that_nobody_can_answer_fails_the_batch(
    client: Client, lines: bytes, code: str
) -> None:
    batch = await once(client, await asked(client, lines))
    assert batch.status == "failed"
    assert [error.code for error in batch.errors.data] == [code]
    if code == "model_not_found":
        assert "'gpt-0'" in batch.errors.data[0].message
        assert "'m', 'vectors'" in batch.errors.data[0].message  # what is supported


async def test_an_input_file_that_nobody_knows_fails_the_batch(client: Client) -> None:
    batch = await got(
        client.batches.create(input_file_id="file-unknown", endpoint=CHAT, completion_window="24h")
    )
    batch = await once(client, batch)
    assert batch.status == "failed"
    assert "file-unknown" in batch.errors.data[0].message


async def test_errors_are_what_the_client_makes_of_them(client: Client) -> None:
    def create(**other: Any) -> Any:
        usual: Any = {"input_file_id": "f", "endpoint": CHAT, "completion_window": "24h"}
        return client.batches.create(**(usual | other))

    bad = openai.BadRequestError
    error = await fails(bad, lambda: create(endpoint="/v1/elsewhere"))
    assert (error.code, error.param) == ("invalid_value", "endpoint")
    assert "/v1/elsewhere" in str(error)
    assert CHAT in str(error)
    assert error.type == "invalid_request_error"
    assert error.request_id.startswith("req_")
    error = await fails(bad, lambda: create(completion_window="1h"))
    assert (error.code, error.param) == ("invalid_value", "completion_window")
    error = await fails(bad, lambda: create(metadata={"x": "y" * 600}))
    assert (error.code, error.param) == ("string_above_max_length", "metadata.x")
    error = await fails(bad, lambda: create(extra_body={"nightkiln": {"prority": 1}}))
    assert (error.code, error.param) == ("unknown_parameter", "nightkiln.prority")
    error = await fails(
        bad, lambda: client.files.create(file=("x.jsonl", b"{}"), purpose="fine-tune")
    )
    assert error.param == "purpose"
    error = await fails(bad, lambda: client.files.create(file=("x.csv", b"{}"), purpose="batch"))
    assert (error.code, error.param) == ("invalid_file_format", "file")
    missing = openai.NotFoundError
    error = await fails(missing, lambda: client.models.retrieve("gpt-0"))
    assert (error.code, error.param) == ("model_not_found", "model")
    await fails(missing, lambda: client.batches.retrieve("batch_unknown"))
    await fails(missing, lambda: client.batches.cancel("batch_unknown"))
    await fails(missing, lambda: client.files.retrieve("file-unknown"))
    await fails(missing, lambda: client.files.content("file-unknown"))
    await fails(missing, lambda: client.files.delete("file-unknown"))
    await fails(missing, lambda: client.uploads.cancel("upload_unknown"))
    stranger = client.with_options(api_key="nk_wrong")
    error = await fails(openai.AuthenticationError, stranger.models.list)
    assert error.code == "invalid_api_key"


async def test_the_lines_of_a_batch_are_there_while_it_runs(
    server: Running, client: Client
) -> None:
    server.provider.slow(150)
    sizes: set[int] = set()
    try:
        batch = await asked(client, lines_of(100).replace(b"Say 5", b"__poison__ 5"))
        seen: list[str] = []
        while batch.status not in ENDS:
            seen += server.get(f"/v1/batches/{batch.id}/lines?after={len(seen)}").splitlines()
            batch = await got(client.batches.retrieve(batch.id))
            sizes.add(len(seen))
    finally:
        server.provider.slow(0)
    seen += server.get(f"/v1/batches/{batch.id}/lines?after={len(seen)}").splitlines()
    assert sizes - {0, 100}, "no line was there before all were"
    assert [json.loads(line)["custom_id"] for line in seen] == [f"r{row}" for row in range(100)]
    output = (await text_of(client, batch.output_file_id)).splitlines()
    errors = (await text_of(client, batch.error_file_id)).splitlines()
    assert sorted(seen) == sorted(output + errors)
    assert len(errors) == 11  # 5 and 50 to 59


async def test_deleting_the_input_stops_no_batch(server: Running, client: Client) -> None:
    server.provider.slow(100)
    try:
        batch = await asked(client, lines_of(20))
        await got(client.files.delete(batch.input_file_id))
        batch = await once(client, batch)
    finally:
        server.provider.slow(0)
    assert (batch.status, batch.request_counts.completed) == ("completed", 20)


async def test_a_create_whose_answer_was_lost_is_one_batch(server: Running, client: Client) -> None:
    file = await uploaded(client, lines_of(2))
    with before(server.url) as proxy:
        proxy.lost = 2
        there = client.with_options(base_url=f"{proxy.url}/v1")
        batch = await got(
            there.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        )
        assert proxy.count("POST", "/v1/batches") == 3
    mine = [
        one.id for one in await everything(client.batches.list()) if one.input_file_id == file.id
    ]
    assert mine == [batch.id]


async def test_whoever_creates_twice_wants_two_batches_unless_a_key_says_otherwise(
    client: Client,
) -> None:
    file = await uploaded(client, lines_of(1))

    async def create(metadata: dict[str, str] | None = None, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await got(
            client.batches.create(
                input_file_id=file.id,
                endpoint=CHAT,
                completion_window="24h",
                metadata=metadata,
                extra_headers=sent,
            )
        )

    assert (await create()).id != (await create()).id
    key = f"once-{file.id}"
    first = await create(idempotency_key=key)
    assert (await create(idempotency_key=key)).id == first.id
    with pytest.raises(openai.ConflictError) as refused:
        await create({"other": "words"}, idempotency_key=key)
    assert refused.value.code == "idempotency_conflict"


async def test_our_own_settings_are_taken_from_the_body_and_the_metadata(client: Client) -> None:
    batch = await asked(
        client, lines_of(1), extra_body={"nightkiln": {"deadline": "2h", "priority": 0}}
    )
    assert batch.expires_at == pytest.approx(batch.created_at + 7200, abs=2)
    said = {"nightkiln_deadline": "90m", "nightkiln_route": "simulated"}
    batch = await once(client, await asked(client, lines_of(1), metadata=said))
    assert batch.expires_at == pytest.approx(batch.created_at + 5400, abs=2)
    assert (batch.status, batch.metadata) == ("completed", said)
