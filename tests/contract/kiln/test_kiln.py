"""What every keeper of jobs does, whether it is a home in this process or a server."""

import itertools
from typing import Any

import pandas as pd
import pytest
from tests.contract.kiln.conftest import Bench

import nightkiln as nk
from nightkiln.core.errors import (
    IllegalMove,
    InputError,
    JobCancelled,
    JobFailed,
    JobStopped,
    JobTimeout,
    NotFound,
    UsageError,
)

WAIT_S = 60.0
_fresh = itertools.count()


def rows(many: int) -> list[str]:
    """Texts that no other test has asked: the same rows would be the same job."""
    run = next(_fresh)
    return [f"{run}: row {number}" for number in range(many)]


def test_a_list_gives_a_list_of_answers(bench: Bench) -> None:
    found: Any = bench.client.await_job_results(bench.infer(rows(20)), WAIT_S)
    assert isinstance(found, list)
    assert len(found) == 20
    assert all(isinstance(answer, str) for answer in found)


def test_a_pandas_frame_keeps_its_types_and_its_index(bench: Bench) -> None:
    frame = pd.DataFrame({"text": rows(6), "n": range(6)}, index=list("abcdef"))
    found: Any = bench.client.await_job_results(bench.infer(frame, column="text"), WAIT_S)
    assert isinstance(found, pd.DataFrame)
    assert list(found.index) == list("abcdef")
    assert found["n"].dtype == frame["n"].dtype
    assert list(found["text"]) == list(frame["text"])


def test_a_file_is_read_where_the_client_is(bench: Bench) -> None:
    path = bench.folder / "in.csv"
    path.write_text("text\n" + "\n".join(rows(3)) + "\n")
    job = bench.infer(path)
    assert len(bench.client.await_job_results(job, WAIT_S)) == 3
    assert bench.client.job(job).info().rows == 3


def test_the_plan_says_what_would_be_done_and_does_nothing(bench: Bench) -> None:
    bench.client.job(bench.infer(rows(1))).wait(WAIT_S)
    before, asked = len(bench.client.list_jobs()), bench.provider.requests
    planned = bench.client.plan(rows(4), model="m", endpoint=bench.provider.url)
    assert (planned.rows, planned.opening) == (4, "new")
    assert len(bench.client.list_jobs()) == before
    assert bench.provider.requests == asked


def test_columns_and_texts_mix(bench: Bench) -> None:
    path = bench.folder / "in.csv"
    path.write_text(f"a,b\n{rows(1)[0]},2\n")
    job = bench.infer(path, column=["first: ", "a", " then: ", "b"])
    assert len(bench.client.await_job_results(job, WAIT_S)) == 1


def test_a_job_that_is_not_over_shows_what_it_has(bench: Bench) -> None:
    bench.provider.slow(300)
    job = bench.client.job(bench.infer(rows(200), concurrency=2))
    assert job.status() in ("validating", "queued", "running", "interrupted")
    with pytest.raises(JobTimeout):
        job.wait(0.5)
    until_rows_are_known(job)
    found: Any = job.results(partial=True)
    assert len(found) == 200
    assert found[199] is None
    job.cancel()


def test_a_cancelled_job_keeps_its_answers_and_says_so(bench: Bench) -> None:
    bench.provider.slow(200)
    job = bench.client.job(bench.infer(rows(100), concurrency=2))
    until_rows_are_known(job)
    assert job.cancel().status == "cancelled"
    with pytest.raises(JobCancelled):
        job.wait(WAIT_S)
    assert len(bench.client.get_job_results(job.id)) == 100
    with pytest.raises(IllegalMove):
        job.pause()


def test_a_paused_job_rests_and_goes_on_without_asking_again(bench: Bench) -> None:
    bench.provider.slow(100)
    job = bench.client.job(bench.infer(rows(60), concurrency=4))
    until_rows_are_known(job)
    assert job.pause().status == "paused"
    with pytest.raises(JobStopped):
        job.wait(WAIT_S)
    bench.provider.slow(0)
    job.resume(concurrency=8)
    assert job.wait(WAIT_S).status == "succeeded"
    assert bench.provider.requests == 60


def test_rows_with_errors_are_told_and_asked_again(bench: Bench) -> None:
    good, bad = rows(2)
    job = bench.client.job(bench.infer([good, f"{bad} __poison__"]))
    assert job.wait(WAIT_S).status == "completed_with_errors"
    (error,) = job.errors()
    assert error.row == 1
    before = bench.provider.requests
    job.retry()
    assert job.wait(WAIT_S).status == "completed_with_errors"
    assert bench.provider.requests == before + 1


def test_the_same_rows_are_the_same_job_while_it_goes_on(bench: Bench) -> None:
    bench.provider.slow(100)
    asked = rows(40)
    first = bench.infer(asked, concurrency=4)
    assert bench.infer(asked, concurrency=4) == first
    bench.provider.slow(0)
    bench.client.job(first).wait(WAIT_S)
    second = bench.infer(asked)
    assert second != first
    bench.client.job(second).wait(WAIT_S)


def test_jobs_are_listed_newest_first_with_their_names(bench: Bench) -> None:
    jobs = [bench.infer(rows(1), name=f"night {n}") for n in range(3)]
    for job in jobs:
        bench.client.job(job).wait(WAIT_S)
    found = bench.client.list_jobs(limit=3)
    assert [one.id for one in found] == jobs[::-1]
    assert [one.name for one in found] == ["night 2", "night 1", "night 0"]


def test_what_is_wrong_is_the_same_error_everywhere(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.client.job("job_nobody_has")
    with pytest.raises(UsageError, match="which is not in the input"):
        bench.infer([{"text": "x"}], column="txet")
    with pytest.raises(InputError):
        bench.infer(bench.folder / "not there.csv")
    with pytest.raises(UsageError, match="endpoint"):
        bench.client.infer(rows(1), model="no such model")


def test_an_input_that_fails_later_fails_the_job(bench: Bench) -> None:
    path = bench.folder / "in.csv"
    lines = [f"{text},x" for text in rows(3000)]
    path.write_text("text,other\n" + "\n".join(lines) + "\none,two,three,four\n")
    job = bench.infer(path, column="text", on_bad_row="fail")
    with pytest.raises((JobFailed, InputError)):
        bench.client.await_job_results(job, WAIT_S)


def until_rows_are_known(job: nk.Job) -> None:
    """Follow a job until somebody works on its rows."""
    for progress in job.watch():
        if progress.answered:
            return
