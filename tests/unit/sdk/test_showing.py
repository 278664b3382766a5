"""Cards and lines: every text escaped, nothing drawn where nobody looks."""

import msgspec
import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.events import Progressed
from nightkiln.core.ids import JobId
from nightkiln.core.job import Live
from nightkiln.core.usage import Totals
from nightkiln.sdk.notices import say
from nightkiln.sdk.showing import JobInfo, Progress, card_of, display, line_of, progress_of
from nightkiln.sdk.wording import in_python

INFO = JobInfo(
    id="job_1",
    name="<script>alert(1)</script>",
    description="",
    priority=0,
    status="completed_with_errors",
    reason="a & b",
    rows=200,
    ok=150,
    failed=5,
    model='m"><em>',
    input="<i>",
    created_at=0.0,
    cost_usd=0.25,
)
PROGRESS = Progress(
    job="job_1",
    phase="running",
    rows=200,
    ok=50,
    failed=1,
    rows_per_s=12.5,
    tokens_per_s=0.0,
    cost_usd=0.5,
    waiting="",
)


def test_every_text_of_a_card_is_escaped() -> None:
    card = card_of(INFO)
    for raw in ("<script>", '"><em>', "<i>", "a & b"):
        assert raw not in card
    assert "&lt;script&gt;" in card
    assert "155 of 200 rows · 5 failed · $0.2500" in card
    assert INFO.is_over


def test_a_line_says_how_far_and_why_not_further() -> None:
    assert line_of(PROGRESS) == (
        "job_1 running 26% · 51/200 rows · 1 failed · 12.5 rows/s · $0.5000"
    )
    waiting = msgspec.structs.replace(PROGRESS, waiting="429")
    assert line_of(waiting).endswith("waiting: 429")
    validating = msgspec.structs.replace(PROGRESS, phase="validating")
    assert line_of(validating) == "job_1 validating, 200 rows read"
    assert validating.share == 0.0


def test_without_a_terminal_or_a_notebook_nothing_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = display()
    shown.show(PROGRESS)
    shown.close()
    assert capsys.readouterr() == ("", "")


def test_what_is_said_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capsys.readouterr() == ("", "nightkiln: hello\n")


def test_errors_speak_of_arguments() -> None:
    error = UsageError("--endpoint needs --model", hint="or --max-tokens, --new, --id-column")
    in_python(error)
    in_python(error)
    assert error.message == "endpoint needs model"
    assert error.hint == 'or sampling_params["max_tokens"], force_new, id_column'
    assert str(error) == f"{error.message} ({error.hint})"


@pytest.mark.parametrize(
    ("totals", "usd"),
    [
        (Totals(ok=2, unpriced=2), None),
        (Totals(ok=2), 0.0),
        (Totals(ok=2, cost_nanos=500_000_000, unpriced=1), 0.5),
    ],
    ids=["no price is known", "an engine of ours", "some have a price"],
)
def test_a_cost_nobody_knows_is_not_zero(totals: Totals, usd: float | None) -> None:
    told = Progressed(job=JobId("job_1"), phase="running", rows=2, live=Live(at=0.0, totals=totals))
    assert progress_of(told).cost_usd == usd
