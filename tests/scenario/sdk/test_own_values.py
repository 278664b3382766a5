"""The caller's own columns come back as they were; and rows, frames and jobs that do not fit."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.scenario.sdk.desk import Desk

import nightkiln as nk

NAN = float("nan")


@pytest.mark.parametrize("route", ["chat/completions", "embeddings"])
def test_answers_to_batch_lines_are_read_from_python(
    client: nk.Client, place: Desk, tmp_path: Path, route: str
) -> None:
    chat: Any = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"model": "m", **(chat if route.startswith("chat") else {"input": "hello"})}
    url = f"/v1/{route}"
    lines = [
        json.dumps({"custom_id": f"id-{row}", "method": "POST", "url": url, "body": body})
        for row in range(3)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join([*lines, "{oops"]) + "\n")
    job = client.infer(path, endpoint=place.provider.url)
    found = client.await_job_results(job, timeout=60)
    assert found["custom_id"].to_list() == ["id-0", "id-1", "id-2", ""]
    assert found["status"].to_list() == ["ok", "ok", "ok", "error"]
    alone = client.get_job_results(job, include_inputs=False)
    assert alone["status"].to_list() == found["status"].to_list()
    assert client.job(job).results()["custom_id"].to_list() == found["custom_id"].to_list()
    assert [error.row for error in client.job(job).errors()] == [3]


def test_a_dry_run_over_a_job_that_succeeded_says_what_would_happen(
    client: nk.Client, place: Desk
) -> None:
    rows = ["a", "b"]
    client.await_job_results(client.infer(rows, **place.how), timeout=60)
    planned = client.plan(rows, **place.how)
    assert (planned.opening, planned.job, planned.reused) == ("new", None, 0)


def _is_same(one: object, two: object) -> bool:
    return one is two or (type(one) is type(two) and one == two)


def test_columns_of_a_dict_come_back_as_the_objects_they_were(
    client: nk.Client, place: Desk
) -> None:
    columns: dict[str, list[Any]] = {
        "q": ["a", "b", "c"],
        "meta": [{"k": 1}, (1, 2), None],
        "share": [0.5, NAN, 1.0],
        "odd": ["half \ud800", "x", "y"],
        "n": [1, 2, 3],
    }
    asked = {name: list(values) for name, values in columns.items()}
    job = client.infer(asked, column="q", limit=2, **place.how)
    asked["meta"].clear()  # the results are of what was submitted
    found = client.await_job_results(job, timeout=60)
    for name, values in columns.items():
        assert all(map(_is_same, found[name], values[:2])), name
    with nk.Client(home=place.home, quiet=True) as other:
        assert other.get_job_results(job)["meta"] == ['{"k":1}', "[1,2]"]  # as they were stored


def test_objects_of_pandas_come_back_as_they_were(client: nk.Client, place: Desk) -> None:
    frame = pd.DataFrame(
        {"q": ["a", "b", "c"], "meta": [{"k": 1}, [1], (1, 2)], "odd": ["x", NAN, 3]},
        index=[5, 5, 6],
    )
    job = client.infer(frame, column="q", **place.how)
    found = client.await_job_results(job, timeout=60)
    pd.testing.assert_frame_equal(found[list(frame.columns)], frame)
    assert [type(value) for value in found["meta"]] == [dict, list, tuple]
    assert "meta" not in client.get_job_results(job, include_inputs=False)


def test_two_columns_of_one_name_are_an_error_before_any_copy(
    client: nk.Client, place: Desk
) -> None:
    doubled = pd.DataFrame([["a", {"k": 1}]], columns=["q", "q"])
    with pytest.raises(nk.UsageError, match="more than one column"):
        client.infer(doubled, **place.how)


def test_answers_are_put_beside_any_frame_of_the_right_length(
    client: nk.Client, place: Desk
) -> None:
    job = client.infer(pd.DataFrame({"q": ["a", "b"]}), **place.how)
    client.await_job_results(job, timeout=60)
    columns = {"mine": [1, 2]}
    as_dict = client.get_job_results(job, with_original_df=columns)
    assert (as_dict["mine"], as_dict["status"]) == ([1, 2], ["ok", "ok"])
    as_arrow = client.get_job_results(job, with_original_df=pa.table(columns))
    assert as_arrow.column_names[:2] == ["mine", "inference_result"]
    as_polars = client.get_job_results(job, with_original_df=pl.LazyFrame(columns))
    assert as_polars.columns[:2] == ["mine", "inference_result"]
    as_pandas = client.get_job_results(job, with_original_df=pd.Series([1, 2], name="mine"))
    assert list(as_pandas.columns[:2]) == ["mine", "inference_result"]
    for short in ({"mine": [1]}, pa.table({"mine": [1]}), pd.Series([1])):
        with pytest.raises(nk.UsageError, match="has 1 rows, the job 2"):
            client.get_job_results(job, with_original_df=short)


@pytest.mark.parametrize("wrong", [42, "foo", ["a", "b"]])
def test_what_has_no_columns_is_no_original(client: nk.Client, place: Desk, wrong: object) -> None:
    job = client.infer(pd.DataFrame({"q": ["a", "b"]}), **place.how)
    client.await_job_results(job, timeout=60)
    with pytest.raises(nk.UsageError, match="has no columns") as caught:
        client.get_job_results(job, with_original_df=wrong)
    assert "pandas" in caught.value.hint


def test_a_client_that_was_left_starts_nothing(place: Desk) -> None:
    with nk.Client(home=place.home, quiet=True) as client:
        client.await_job_results(client.infer(["a"], **place.how), timeout=60)
    with pytest.raises(nk.UsageError, match="client is closed"):
        client.infer(["b"], **place.how)
    assert place.provider.requests == 1


def test_columns_may_be_called_as_methods_of_frames_are(place: Desk) -> None:
    client = nk.Client(home=place.home)
    frame = pd.DataFrame({"text": ["a", "b"], "collect": [1, 2], "column_names": [3, 4]})
    job = client.infer(frame, column="text", **place.how)
    client.await_job_results(job, timeout=60)
    found = client.get_job_results(job, with_original_df=frame)
    assert found["collect"].tolist() == [1, 2]
    assert found["column_names"].tolist() == [3, 4]
