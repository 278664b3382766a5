"""Bad rows from Python: error rows in their places, by every policy; and results so far."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.scenario.place import until
from tests.scenario.sdk.desk import Desk

import nightkiln as nk

BAD = ["ok", "half \ud800", 7, None, b"bytes", "a\0b", "fine"]


def test_a_bad_item_is_an_error_row_and_the_others_are_answered(
    client: nk.Client, place: Desk
) -> None:
    job = client.infer(BAD, **place.how)
    answers = client.await_job_results(job, timeout=60)
    assert [answer is not None for answer in answers] == [True, *[False] * 5, True]
    errors = client.job(job).errors()
    assert [(one.row, one.error_code) for one in errors] == [
        (row, "bad_row") for row in range(1, 6)
    ]
    half = "bad_row: row 1: a value holds half of a surrogate pair, which is no text"
    assert errors[0].message == half
    assert errors[1].message == "bad_row: row 2: int, where the other rows are str"
    assert "NUL" in errors[4].message
    assert place.provider.requests == 2


@pytest.mark.parametrize("data", ["dict", "pandas", "records"])
def test_columns_keep_their_other_rows(client: nk.Client, place: Desk, data: str) -> None:
    texts = ["ok", "half \ud800", "a\0b"]
    rows = {
        "dict": {"a": texts},
        "pandas": pd.DataFrame({"a": pd.Series(texts, dtype=object)}),
        "records": [{"a": text} for text in texts],
    }[data]
    results = client.await_job_results(client.infer(rows, column="a", **place.how), timeout=60)
    found = results if data == "records" else list(results["inference_result"])
    assert [isinstance(answer, str) for answer in found] == [True, False, False]


def test_the_policies_are_those_of_the_command_line(client: nk.Client, place: Desk) -> None:
    skipped = client.infer(BAD, on_bad_row="skip", **place.how)
    assert len(client.await_job_results(skipped, timeout=60)) == len(BAD)
    assert client.get_job_status(skipped) == "succeeded"
    failed = client.infer(BAD, on_bad_row="fail", **place.how)
    with pytest.raises(nk.NightkilnError, match=r"5 of 7 rows are bad\n  row 1: a value"):
        client.await_job_results(failed, timeout=60)
    with pytest.raises(nk.UsageError, match="on_bad_row is 'ignore'"):
        client.infer(BAD, on_bad_row="ignore", **place.how)


def test_a_template_of_jinja_may_be_a_text_or_a_file(
    client: nk.Client, place: Desk, tmp_path: Path
) -> None:
    rows = [{"a": "x", "b": 1}]
    text = "{% if b %}{{ a }}{% endif %}"
    (tmp_path / "ask.jinja").write_text(text)
    for template in (text, tmp_path / "ask.jinja"):
        job = client.infer(rows, template=template, force_new=True, **place.how)
        assert len(client.await_job_results(job, timeout=60)) == 1
    with pytest.raises(nk.UsageError, match="template is empty"):
        client.infer(rows, template=" \n", **place.how)


def test_partial_results_are_the_kept_prefix_and_the_rest_is_pending(
    client: nk.Client, place: Desk
) -> None:
    rows = pd.DataFrame({"text": [f"row {number}" for number in range(400)]})
    job = client.job(client.infer(rows, concurrency=1, **place.how))
    with pytest.raises(nk.NotFound):
        client.get_job_results(job.id)

    seen = []

    def some_kept() -> bool:
        seen.append(job.results(partial=True))
        return "ok" in set(seen[-1]["status"])

    until(lambda: job.progress().answered > 0)
    until(some_kept)
    job.cancel()
    frame = seen[-1]
    assert list(frame["text"]) == list(rows["text"])
    kept = sum(frame["status"] == "ok")
    assert 0 < kept < 400
    assert list(frame["status"]) == ["ok"] * kept + ["pending"] * (400 - kept)
    assert frame["inference_result"].isna().tolist() == [False] * kept + [True] * (400 - kept)


def test_a_retry_opens_no_bad_row(client: nk.Client, place: Desk) -> None:
    rows = ["fine", 7, "__poison__"]
    job = client.infer(rows, **place.how)
    client.await_job_results(job, timeout=60)
    said = place.nightkiln("jobs", "retry", job).stderr
    assert "is open again for 1 rows (generation 2); 1 bad rows are never asked" in said


@pytest.mark.parametrize(
    "asked", [{"column": "q"}, {"column": ["say: ", "q"]}, {"prompt": "say {q}"}, {"messages": "q"}]
)
def test_a_row_without_the_key_is_bad_and_one_with_none_is_asked(
    client: nk.Client, place: Desk, asked: dict[str, object]
) -> None:
    value = [{"role": "user", "content": "a"}] if "messages" in asked else "a"
    rows = [{"q": value, "z": 1}, {"z": 2}, {}, {"q": value}]
    rows += [] if "messages" in asked else [{"q": None}]
    options: Any = {**asked, **place.how}
    job = client.job(client.infer(rows, **options))
    assert job.wait(60).failed == 2
    assert [(one.row, one.error_code) for one in job.errors()] == [(1, "bad_row"), (2, "bad_row")]
    assert job.errors()[0].message == 'bad_row: row 1: no key "q", which the prompt needs'


def test_a_row_without_any_key_is_bad_where_the_only_column_is_meant(
    client: nk.Client, place: Desk
) -> None:
    job = client.job(client.infer([{"q": "a"}, {}], **place.how))
    assert job.wait(60).failed == 1
    assert [one.row for one in job.errors()] == [1]
    with pytest.raises(nk.UsageError, match='did you mean "q"'):
        client.infer([{"q": "a"}], column="qq", **place.how)
