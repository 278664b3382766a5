"""Results of every kind, in order, one per row; and every way a job may end for its caller."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel
from tests.scenario.place import LONG_MS, until
from tests.scenario.sdk.desk import Desk

import nightkiln as nk
import nightkiln as so

ADDED = [
    "inference_result",
    "status",
    "error_code",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempts",
]


class Ticket(BaseModel):
    team: str
    urgent: bool


@pytest.fixture(autouse=True)
def _home(place: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTKILN_HOME", str(place.home))


def test_the_snippet_of_sutros_article_works(place: Desk) -> None:
    user_reviews = ["great", "awful", "fine"]
    options = place.how
    job_id = so.infer(inputs=user_reviews, job_priority=1, **options)
    results = so.await_job_results(job_id, timeout=3600)
    assert len(results) == 3
    assert all(isinstance(answer, str) for answer in results)
    assert so.get_job_status(job_id) == "succeeded"
    assert so.await_job_completion(job_id) == results
    assert so.await_job_completion(job_id, obtain_results=False).ok == 3
    assert [info.priority for info in so.list_jobs()] == [1]
    assert so.attach(job_id).status == "succeeded"


def test_a_list_gives_a_list_in_its_order(client: nk.Client, place: Desk) -> None:
    rows = [f"row {number}" for number in range(1500)]
    answers = client.await_job_results(client.infer(rows, **place.how), timeout=60)
    again = client.await_job_results(client.infer(rows[:3], **place.how), timeout=60)
    assert len(answers) == 1500
    assert answers[:3] == again


def test_dicts_message_lists_and_iterators_are_lists_too(client: nk.Client, place: Desk) -> None:
    dicts = client.infer([{"a": "x", "b": 1}, {"a": "y", "b": 2}], column="a", **place.how)
    talks = client.infer([[{"role": "user", "content": "hello"}]], **place.how)
    stream = client.infer((f"row {number}" for number in range(10)), **place.how)
    counts = [len(client.await_job_results(job, timeout=60)) for job in (dicts, talks, stream)]
    assert counts == [2, 1, 10]


def test_pandas_comes_back_with_its_own_index_types_and_columns(
    client: nk.Client, place: Desk
) -> None:
    frame = pd.DataFrame(
        {
            "text": ["one", None, "three"],
            "n": [1, 2, 3],
            "when": pd.to_datetime(["2026-01-01"] * 3),
            "kind": pd.Categorical(["a", "b", "a"]),
        },
        index=pd.Index(["i", "j", "i"], name="key"),
    )
    job = client.infer(frame, column="text", **place.how)
    found = client.await_job_results(job, timeout=60)
    pd.testing.assert_frame_equal(found[list(frame.columns)], frame)
    assert list(found.columns) == [*frame.columns, *ADDED]
    assert found["status"].tolist() == ["ok"] * 3

    beside = client.get_job_results(job, with_original_df=frame, output_column="said")
    pd.testing.assert_frame_equal(beside[list(frame.columns)], frame)
    assert beside["said"].tolist() == found["inference_result"].tolist()
    assert list(frame.columns) == ["text", "n", "when", "kind"]  # the user's own is untouched
    alone = client.get_job_results(job, include_inputs=False)
    assert list(alone.columns) == ADDED
    assert alone.index.tolist() == ["i", "j", "i"]


def test_polars_comes_back_as_polars(client: nk.Client, place: Desk) -> None:
    frame = pl.DataFrame({"text": ["one", "two"], "n": [1.5, None], "tags": [["a"], ["b", "c"]]})
    found = client.await_job_results(
        client.infer(frame, column=["text", ": ", "n"], **place.how), timeout=60
    )
    assert isinstance(found, pl.DataFrame)
    assert found.select(frame.columns).equals(frame)
    assert found.columns == [*frame.columns, *ADDED]


def test_arrow_and_dicts_of_columns_come_back_as_such(client: nk.Client, place: Desk) -> None:
    table = pa.table({"text": ["one", "two"], "n": pa.array([1, 2], pa.int8())})
    for data in (table, table.to_reader(), table.to_batches()[0]):
        found = client.await_job_results(client.infer(data, column="text", **place.how), timeout=60)
        assert found.select(["text", "n"]).equals(table)
        assert found.column_names == ["text", "n", *ADDED]
    columns = {"text": ["one", "two"], "n": [1, 2]}
    found = client.await_job_results(client.infer(columns, column="text", **place.how), timeout=60)
    assert list(found) == ["text", "n", *ADDED]
    assert found["n"] == [1, 2]


def test_a_file_comes_back_as_a_frame_of_what_is_installed(
    client: nk.Client, place: Desk, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("id,text\n007,one\n008,two\n")
    (tmp_path / "in.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n')
    found = client.await_job_results(
        client.infer(tmp_path / "in.csv", column="text", **place.how), timeout=60
    )
    assert isinstance(found, pl.DataFrame)
    assert found["id"].to_list() == ["007", "008"]
    lines = client.await_job_results(
        client.infer(str(tmp_path / "in.jsonl"), column=["text", " / ", "n"], **place.how),
        timeout=60,
    )
    assert lines["n"].to_list() == ["1", "2"]


def test_row_errors_are_data(client: nk.Client, place: Desk) -> None:
    rows = ["fine", "__poison__", "also fine"]
    job = client.infer({"text": rows}, **place.how)
    found = client.await_job_results(job, timeout=60)
    assert found["status"] == ["ok", "error", "ok"]
    assert found["error_code"] == [None, "permanent", None]
    assert found["inference_result"][1] is None
    assert client.await_job_results(client.infer(rows, **place.how), timeout=60)[1] is None
    errors = client.job(job).errors()
    assert [(error.row, error.error_code, error.attempts) for error in errors] == [
        (1, "permanent", 1)
    ]


def test_a_schema_gives_parsed_values_and_columns(client: nk.Client, place: Desk) -> None:
    asked: Any = {"output_schema": Ticket, "concurrency": 2, **place.how}
    listed = client.await_job_results(client.infer(["a", "b"], **asked), timeout=60)
    frame = pd.DataFrame({"text": ["a", "b"]})
    job = client.infer(frame, **asked)
    found = client.await_job_results(job, timeout=60)
    assert list(found.columns) == ["text", *ADDED, "team", "urgent"]
    good = [value for value in listed if value is not None]
    assert all(isinstance(value, dict) for value in good)
    plain = client.get_job_results(job, unpack_json=False)
    assert list(plain.columns) == ["text", *ADDED]


def test_embeddings_are_lists_of_numbers(client: nk.Client, place: Desk) -> None:
    rows = client.await_job_results(client.infer(["a", "b"], task="embed", **place.how), timeout=60)
    assert [len(vector) for vector in rows] == [16, 16]
    frame = pl.DataFrame({"text": ["a", "b"]})
    found = client.await_job_results(client.infer(frame, task="embed", **place.how), timeout=60)
    assert found["inference_result"].dtype == pl.List(pl.Float64)
    assert found["inference_result"].to_list() == rows


def test_columns_that_collide_are_refused_before_anything_is_sent(
    client: nk.Client, place: Desk, tmp_path: Path
) -> None:
    with pytest.raises(nk.UsageError, match='"status"'):
        client.infer({"text": ["a"], "status": ["b"]}, column="text", **place.how)
    with pytest.raises(nk.UsageError, match='"team"'):
        client.infer({"text": ["a"], "team": ["b"]}, column="text", output_schema=Ticket)
    (tmp_path / "in.csv").write_text("text,inference_result\na,b\n")
    with pytest.raises(nk.UsageError, match='"inference_result"'):
        client.infer(tmp_path / "in.csv", column="text", **place.how)
    assert client.infer({"text": ["a"], "answer": ["b"]}, column="text", **place.how)
    assert place.provider.requests <= 1


def test_a_wait_that_is_too_short_names_the_job_and_leaves_it(
    client: nk.Client, place: Desk
) -> None:
    place.provider.slow(1000)
    job = client.infer([str(row) for row in range(40)], concurrency=4, **place.how)
    with pytest.raises(TimeoutError, match=job) as caught:
        client.await_job_results(job, timeout=0.5)
    assert isinstance(caught.value, nk.JobTimeout)
    assert client.get_job_status(job) == "running"
    place.provider.slow(0)
    assert len(client.await_job_results(job, timeout=60)) == 40


def test_a_cancelled_job_raises_and_keeps_its_answers(client: nk.Client, place: Desk) -> None:
    place.provider.slow(200)
    rows = [str(row) for row in range(200)]
    job = client.infer(rows, concurrency=4, **place.how)
    until(lambda: client.job(job).progress().answered >= 4)
    assert client.cancel_job(job).status == "cancelled"
    with pytest.raises(nk.JobCancelled, match=job):
        client.await_job_results(job, timeout=60)
    kept = client.get_job_results(job)
    assert len(kept) == 200
    answered = sum(answer is not None for answer in kept)
    assert answered >= 4
    place.provider.slow(0)
    asked = place.provider.requests
    assert client.infer(rows, **place.how) == job  # goes on with the rows that have none
    assert None not in client.await_job_results(job, timeout=60)
    assert place.provider.requests <= asked + 200 - answered


def test_a_refused_credential_is_raised_by_the_wait(client: nk.Client, place: Desk) -> None:
    place.provider.configure(api_key="right")
    job = client.infer(["a"], **place.how)
    with pytest.raises(nk.AuthError, match="refused"):
        client.await_job_results(job, timeout=60)
    assert client.get_job_status(job) == "paused"
    place.provider.configure(api_key="")
    assert client.attach(job).status == "succeeded"


def test_a_job_that_nobody_runs_is_no_endless_wait(client: nk.Client, place: Desk) -> None:
    place.provider.slow(100)
    with nk.Client(home=place.home, quiet=True) as other:
        job = other.infer([str(row) for row in range(100)], concurrency=2, **place.how)
    with pytest.raises(nk.JobStopped, match=job):
        client.await_job_results(job, timeout=60)
    place.provider.slow(0)
    client.job(job).resume()
    assert len(client.await_job_results(job, timeout=60)) == 100
    assert place.provider.asked_more_than_once == 0


def test_the_same_rows_attach_while_unfinished_and_begin_anew_once_they_succeeded(
    client: nk.Client, place: Desk
) -> None:
    place.provider.slow(LONG_MS)
    rows = [str(row) for row in range(50)]
    first = client.infer(rows, concurrency=4, **place.how)
    assert client.infer(list(rows), concurrency=4, **place.how) == first
    assert client.infer(iter(rows), concurrency=4, **place.how) == first
    place.provider.slow(0)
    client.await_job_results(first, timeout=60)
    assert place.provider.requests == 50
    assert client.infer(rows, **place.how) != first
    assert client.infer([*rows, "more"], force_new=True, **place.how) != first


def test_retry_asks_the_failed_rows_and_no_others(client: nk.Client, place: Desk) -> None:
    job = client.infer(["__poison__", *map(str, range(19))], **place.how)
    assert client.job(job).wait(60).failed == 1
    with pytest.raises(nk.UsageError, match="throttle"):
        client.job(job).retry("throttle")
    client.job(job).retry("permanent")
    assert client.job(job).wait(60).failed == 1
    assert place.provider.requests == 21


def test_progress_is_watched_by_threads_and_by_coroutines(place: Desk) -> None:
    async def follow() -> tuple[int, list[Any]]:
        async with nk.AsyncClient(home=place.home, quiet=True) as client:
            place.provider.slow(50)
            job_id = await client.infer([str(row) for row in range(60)], concurrency=8, **place.how)
            seen = [progress.answered async for progress in client.job(job_id)]
            return len(await client.await_job_results(job_id, timeout=60)), seen

    count, seen = asyncio.run(follow())
    assert count == 60
    assert seen == sorted(seen)
    assert seen[-1] == 60
    with nk.Client(home=place.home, quiet=True) as client:
        assert [one.share for one in client.job("last").watch()] == [1.0]


def test_one_job_per_model(client: nk.Client, place: Desk) -> None:
    jobs = client.infer_per_model(
        iter(["a", "b"]), ["m1", "m2"], names=["x", "y"], endpoint=place.provider.url
    )
    assert [len(client.await_job_results(job, timeout=60)) for job in jobs] == [2, 2]
    assert {(info.name, info.model) for info in client.list_jobs()} == {("x", "m1"), ("y", "m2")}


def test_a_dry_run_sends_nothing_and_keeps_nothing(
    client: nk.Client, place: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.infer(["a", "b"], dry_run=True, **place.how) == ""
    assert "2 rows through model m" in capsys.readouterr().err
    assert client.plan({"text": ["a"]}, **place.how).rows == 1
    assert client.list_jobs() == []
    assert not list((place.home / "spool").iterdir())
    assert place.provider.requests == 0


def test_what_is_no_table_leaves_no_trace(client: nk.Client, place: Desk) -> None:
    for wrong in ("no such file.csv", "Translate this, please", b"bytes", 7, {"a": "b"}, [], [1]):
        with pytest.raises(nk.UsageError):
            client.infer(wrong, **place.how)
    with pytest.raises(nk.UsageError, match='did you mean "text"'):
        client.infer({"text": ["a"], "id": [1]}, column=["txt", ": ", "id"], **place.how)
    with pytest.raises(nk.UsageError, match="column= names"):
        client.infer({"text": ["a"], "id": [1]}, column="txt", **place.how)
    with pytest.raises(nk.InputError, match="row 0 is int"):
        client.infer(iter([7] * 5000), **place.how)
    assert not list((place.home / "spool").iterdir())


def test_a_job_may_be_watched_by_the_command_line(client: nk.Client, place: Desk) -> None:
    job = client.infer(["a"], name="nightly", **place.how)
    client.await_job_results(job, timeout=60)
    shown = json.loads(place.nightkiln("jobs", "show", job, "--json").stdout)
    assert (shown["state"], shown["input"]) == ("succeeded", "list")
    table = place.nightkiln("jobs", "results", job, "-o", "-", "--output-format", "csv").stdout
    assert table.startswith("text,answer,status")


def test_a_second_process_of_the_same_home_is_watched(client: nk.Client, place: Desk) -> None:
    place.provider.slow(50)
    process = place.start_script(
        "print(nk.infer(rows, concurrency=8, **how), flush=True)\nnk.await_job_results('last')"
    )
    assert process.stdout is not None
    job = process.stdout.readline().strip()
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(client.await_job_results(job, timeout=60))
    )
    waiting.start()
    waiting.join(80)
    process.communicate(timeout=60)
    assert len(answers[0]) == 200
