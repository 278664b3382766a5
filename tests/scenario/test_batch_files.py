"""Files of OpenAI's batch lines and jobs beyond chats, as users run them: real processes."""

import json
from subprocess import CompletedProcess
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.scenario.place import Place, Provider, until

CHAT = "/v1/chat/completions"


def asked(place: Place, *more: str) -> CompletedProcess[str]:
    """A job of which only the server is said: the lines say the rest."""
    return place.nightkiln("run", *more, "--endpoint", place.url)


def batch(place: Place, *more: str) -> CompletedProcess[str]:
    return asked(place, "in.jsonl", "-o", "out.jsonl", *more)


def write(place: Place, *lines: str) -> None:
    (place.folder / "in.jsonl").write_text("\n".join(lines) + "\n")


def line(number: int, url: str = CHAT, text: str = "", **body: Any) -> str:
    said = text or f"row {number}"
    given = {"messages": [{"role": "user", "content": said}]} if url == CHAT else {}
    whole = {"model": "m-1", **given, **body}
    return json.dumps({"custom_id": f"id-{number}", "method": "POST", "url": url, "body": whole})


def check_reply(found: dict[str, Any]) -> None:
    assert list(found) == ["id", "custom_id", "response", "error"]
    assert found["id"].startswith("batch_req_")
    assert found["error"] is None
    assert set(found["response"]) == {"status_code", "request_id", "body"}
    assert found["response"]["status_code"] == 200


def test_a_batch_comes_back_as_replies_and_failures_in_order(
    place: Place, provider: Provider
) -> None:
    rows = [line(number) for number in range(40)]
    rows[3] = line(3, text="__poison__")
    rows[5] = "{oops"
    rows[7] = line(0)
    write(place, *rows)
    ended = batch(place)
    assert ended.returncode == 3, ended.stderr
    replies, failures = place.lines(), place.lines("out.errors.jsonl")
    expected = [f"id-{n}" for n in range(40) if n not in (3, 5, 7)]
    assert [one["custom_id"] for one in replies] == expected
    for found in replies:
        check_reply(found)
        assert found["response"]["body"]["model"] == "m-1"
        assert found["response"]["body"]["choices"][0]["message"]["content"].startswith("h:")
    assert [(one["custom_id"], one["error"]["code"]) for one in failures] == [
        ("id-3", "invalid_request"),
        (None, "invalid_json_line"),
        ("id-0", "duplicate_custom_id"),
    ]
    assert failures[0]["response"]["status_code"] == 400
    assert failures[0]["response"]["body"]["error"]["message"] == "poison prompt"
    assert failures[1]["response"] is failures[2]["response"] is None
    assert len({one["id"] for one in replies + failures}) == 40
    assert provider.requests == 38


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/v1/completions", {"prompt": "x"}, "text_completion"),
        ("/v1/embeddings", {"input": ["x", "y"]}, "list"),
        ("/v1/responses", {"input": "x"}, "response"),
    ],
)
def test_a_batch_may_ask_the_other_routes(
    place: Place, url: str, body: dict[str, Any], kind: str
) -> None:
    write(place, *(line(number, url, **body) for number in range(3)))
    ended = batch(place, "--model", "named")
    assert ended.returncode == 0, ended.stderr
    for found in place.lines():
        check_reply(found)
        assert found["response"]["body"]["object"] == kind
        assert found["response"]["body"]["model"] == "named"
    assert not (place.folder / "out.errors.jsonl").exists()


def test_a_killed_batch_goes_on_where_it_was(place: Place, provider: Provider) -> None:
    write(place, *(line(number) for number in range(300)))
    provider.configure(latency="const:100", p500=0.05, pmalformed=0.05)
    started = ("run", "in.jsonl", "-o", "out.jsonl", "--endpoint", place.url)
    process = place.start(*started, "--concurrency", "8")
    until(lambda: provider.requests > 60)
    process.kill()
    process.wait()
    assert not (place.folder / "out.jsonl").exists()
    provider.configure(latency="const:0", p500=0.0, pmalformed=0.0)
    ended = batch(place)
    assert ended.returncode == 0, ended.stderr
    replies = place.lines()
    assert [one["custom_id"] for one in replies] == [f"id-{number}" for number in range(300)]
    for found in replies:
        check_reply(found)
    again = batch(place)
    assert again.returncode == 0
    assert "$0" in again.stderr
    assert place.lines() == replies


@pytest.mark.parametrize("first", ["with a model", "without"])
def test_a_batch_with_a_model_is_another_job_than_without(place: Place, first: str) -> None:
    write(place, line(0), line(1, model="m-2"))

    def run(how: str) -> int:
        return batch(place, *(["--model", "m-1"] if how == "with a model" else [])).returncode

    second = "without" if first == "with a model" else "with a model"
    codes = {how: run(how) for how in (first, second)}
    assert codes == {"with a model": 0, "without": 3}
    assert run(second) == codes[second]
    if second == "without":
        failures = place.lines("out.errors.jsonl")
        assert [one["error"]["code"] for one in failures] == ["model_mismatch"]


def test_a_batch_can_be_an_ordinary_table_too(place: Place) -> None:
    write(place, line(0), line(1))
    ended = asked(place, "in.jsonl", "-o", "t.csv")
    assert ended.returncode == 0, ended.stderr
    head = (place.folder / "t.csv").read_text().splitlines()[0]
    assert head.startswith("custom_id,method,url,body,answer,status")
    ended = asked(place, "in.jsonl", "-o", "-", "--output-format", "jsonl", "--quiet")
    rows = [json.loads(text) for text in ended.stdout.splitlines()]
    assert [(row["custom_id"], row["status"]) for row in rows] == [("id-0", "ok"), ("id-1", "ok")]
    ended = asked(place, "in.jsonl", "-o", "-", "--quiet")
    for text in ended.stdout.splitlines():
        check_reply(json.loads(text))


def test_what_bodies_say_is_refused_as_an_option(place: Place) -> None:
    write(place, line(0))
    ended = batch(place, "--max-tokens", "3")
    assert ended.returncode == 2
    assert "--max-tokens" in ended.stderr


def test_a_table_becomes_embeddings(place: Place) -> None:
    (place.folder / "in.csv").write_text("text\none\ntwo\none\n")
    ended = asked(place, "in.csv", "-o", "out.parquet", "--model", "m", "--task", "embed")
    assert ended.returncode == 0, ended.stderr
    table = pq.read_table(place.folder / "out.parquet")
    first, second, third = table.column("embedding").to_pylist()
    assert first == third != second
    assert len(first) == 16
    assert table.column("finish_reason").to_pylist() == [None] * 3
    ended = asked(place, "in.csv", "-o", "-", "--model", "m", "--task", "embed", "--quiet")
    assert '"[' in ended.stdout


@pytest.mark.parametrize("task", ["complete", "respond"])
def test_a_table_is_answered_on_the_other_routes(place: Place, task: str) -> None:
    (place.folder / "in.csv").write_text("text\none\n")
    ended = asked(place, "in.csv", "-o", "out.csv", "--model", "m", "--task", task)
    assert ended.returncode == 0, ended.stderr
    assert "h:" in (place.folder / "out.csv").read_text()
