"""How a run ended: the words, the object and the exit code."""

import msgspec
import pytest

from nightkiln.cli.options import Allowance
from nightkiln.cli.summary import exit_code_of, plan_of, report_of, summary_of
from nightkiln.core.events import Ended, FaultSample, Opening, Planned
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState
from nightkiln.core.usage import Totals

TOTALS = Totals(
    ok=999_788,
    failed=212,
    truncated=14,
    attempts=1_000_300,
    input_tokens=1_200_000,
    cached_tokens=200_000,
    output_tokens=3_400_000,
    cost_nanos=3_100_000_000,
    faults={"permanent": 212},
)
ENDED = Ended(
    job=JobId("job_1"),
    state=JobState.COMPLETED_WITH_ERRORS,
    reason="",
    rows=1_000_000,
    reused=912_334,
    totals=TOTALS,
    spent=msgspec.structs.replace(TOTALS, maybe_billed=3),
    elapsed_s=192.0,
    rows_per_s=1240.0,
    tokens_per_s=410_000.0,
    cost_usd=3.1,
    faults=(
        FaultSample(
            fault="permanent", count=212, row=41, message="too long", fix="shorten the row"
        ),
    ),
    output="answers.csv",
)
AGAIN = "nightkiln run in.csv -o answers.csv"


def ended(**changes: object) -> Ended:
    return msgspec.structs.replace(ENDED, **changes)


def test_the_summary_says_everything() -> None:
    assert summary_of(ENDED, model="m", again=AGAIN) == (
        """\
completed with errors: 999,788 ok, 212 failed of 1,000,000 rows in 3 min 12 s · job job_1
  failed        212 permanent, e.g. row 41: too long
                fix: shorten the row
  reused        912,334 reused, $0
  truncated     14 cut at the token limit; finish_reason says length, --max-tokens raises the limit
  tokens        1.2M in (200k cached), 3.4M out
  speed         1.2k rows/s, 410k tok/s
  cost          $3.10
  maybe billed  3 requests were sent and their answer never seen; a provider may have charged them
  output        answers.csv
  next          nightkiln explain permanent"""
    )


def test_an_unknown_price_is_never_zero() -> None:
    text = summary_of(ended(cost_usd=None), model="my-model", again=AGAIN)
    assert "cost          unknown: no price for my-model" in text


def test_a_stopped_run_says_how_to_go_on_and_names_no_output() -> None:
    stopped = ended(state=JobState.PAUSED, reason="interrupted", faults=())
    text = summary_of(stopped, model="m", again=AGAIN)
    assert text.startswith("paused (interrupted): ")
    assert text.endswith(f"next          {AGAIN}")
    assert "output" not in text


def test_results_that_stay_in_the_home_are_one_command_away() -> None:
    text = summary_of(
        ended(state=JobState.SUCCEEDED, faults=(), output=None), model="m", again=AGAIN
    )
    assert text.endswith("next          nightkiln jobs results job_1 -o answers.csv")


@pytest.mark.parametrize(
    ("state", "signal_code", "code"),
    [
        (JobState.SUCCEEDED, None, 0),
        (JobState.SUCCEEDED, 130, 0),
        (JobState.COMPLETED_WITH_ERRORS, None, 3),
        (JobState.FAILED, None, 4),
        (JobState.CANCELLED, None, 4),
        (JobState.EXPIRED, None, 4),
        (JobState.PAUSED, None, 9),
        (JobState.PAUSED, 130, 130),
        (JobState.VALIDATING, 143, 143),
        (JobState.RUNNING, 130, 130),
    ],
)
def test_every_end_has_its_exit_code(state: JobState, signal_code: int | None, code: int) -> None:
    assert exit_code_of(ended(state=state), Allowance(), signal_code=signal_code) == code


def test_allowed_errors_are_a_success() -> None:
    assert exit_code_of(ENDED, Allowance(rows=212), signal_code=None) == 0
    assert exit_code_of(ENDED, Allowance(rows=211), signal_code=None) == 3
    assert exit_code_of(ENDED, Allowance(percent=0.1), signal_code=None) == 0


def test_the_object_has_every_figure() -> None:
    found = msgspec.json.decode(msgspec.json.encode(report_of(ENDED, exit_code=3)))
    assert found["state"] == "completed_with_errors"
    assert (found["ok"], found["failed"], found["exit_code"]) == (999_788, 212, 3)
    assert found["faults"][0]["fix"] == "shorten the row"


def test_a_plan_for_a_finished_job_asks_nothing() -> None:
    planned = Planned(
        input_name="in.csv",
        format="csv",
        rows=2000,
        columns=("id", "text"),
        model="m",
        backend="127.0.0.1:1",
        concurrency=64,
        opening=Opening.WITH_ERRORS,
        job=JobId("job_1"),
        reused=1995,
        prompt_sample="Classify:\nticket",
        output="out.csv",
    )
    assert plan_of(planned).startswith("would ask 0 of 2,000 rows; nothing was sent\n")
    fresh = msgspec.structs.replace(planned, opening=Opening.NEW, job=None, reused=0)
    assert plan_of(fresh) == (
        """\
would ask 2,000 of 2,000 rows; nothing was sent
  input         in.csv (csv)
  columns       id, text
  model         m
  backend       127.0.0.1:1, up to 64 requests at once
  job           a new one
  output        out.csv
  first prompt  Classify:
                ticket"""
    )


def test_nobody_can_have_charged_what_was_asked_on_this_machine() -> None:
    text = summary_of(ended(is_local=True), model="m", again=AGAIN)
    assert "  asked again   3 rows whose answer was not kept\n" in text
    assert "billed" not in text
    assert "charged" not in text


@pytest.mark.parametrize(("deaths", "said"), [(1, "died once and was"), (3, "died 3 times and")])
def test_an_engine_that_died_is_counted(deaths: int, said: str) -> None:
    assert f"  engine        {said}" in summary_of(
        ended(engine_deaths=deaths), model="m", again=AGAIN
    )
    assert "engine" not in summary_of(ENDED, model="m", again=AGAIN)
    assert report_of(ended(engine_deaths=deaths), exit_code=0).engine_deaths == deaths


def test_the_object_names_model_backend_and_why() -> None:
    report = report_of(ended(model="m", backend="h:1", why="named by --endpoint"), exit_code=0)
    assert (report.model, report.backend, report.why) == ("m", "h:1", "named by --endpoint")


def test_models_that_were_not_asked_are_named() -> None:
    text = summary_of(ended(answered_by=("n", "o", "p", "q")), model="m", again=AGAIN)
    assert "  model         asked m, answered by n and o and p and 1 more\n" in text
    report = report_of(ended(answered_by=("n",)), exit_code=3)
    assert report.answered_by == ("n",)


def test_the_file_of_bad_rows_is_named_where_it_was_given() -> None:
    said = summary_of(ended(bad=2, bad_rows="bad.jsonl"), model="m", again=AGAIN)
    assert "2 were not asked; bad.jsonl says which and why" in said
    said = summary_of(ended(bad=2), model="m", again=AGAIN)
    assert "--bad-rows FILE writes which and why" in said
