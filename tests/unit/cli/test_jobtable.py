"""What screens say of a job: its counts, and what it took up to now."""

from pathlib import Path

from nightkiln.cli.jobtable import full_report, page_of
from nightkiln.core.events import JobView
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobSpec, JobState, Live, PromptSpec, SourceSpec
from nightkiln.core.usage import Totals
from nightkiln.sdk.showing import info_of

SOURCE = SourceSpec(kind="text", path="/x", name="x", size_bytes=1, sha256="0")
SPEC = JobSpec(source=SOURCE, prompt=PromptSpec(), model="m")


def totals(rows: int, *, nanos: int = 0, unpriced: int = 0, attempts: int = 0) -> Totals:
    return Totals(
        ok=rows,
        input_tokens=rows,
        output_tokens=4 * rows,
        cost_nanos=nanos * rows,
        unpriced=unpriced * rows,
        attempts=attempts,
    )


def stopped(*, spent: Totals, committed: Totals, told: Totals) -> JobView:
    """A job that was stopped when it had told of more than is committed."""
    job = Job(
        id=JobId("job_1"),
        spec=SPEC,
        idempotency_key="k",
        created_at=0.0,
        rows=40,
        state=JobState.PAUSED,
        totals=committed,
        spent=spent,
        live=Live(at=0.0, totals=told),
    )
    return JobView(job=job, running=False)


def test_a_stopped_job_shows_what_its_uncommitted_answers_took(tmp_path: Path) -> None:
    committed = totals(16, nanos=1_000_000, attempts=16)
    view = stopped(
        spent=committed, committed=committed, told=totals(24, nanos=1_000_000, attempts=24)
    )
    page = full_report(view, tmp_path)
    assert (page.ok, page.input_tokens, page.output_tokens) == (24, 24, 96)
    assert (page.cost_usd, page.attempts) == (0.024, 24)
    assert info_of(view).cost_usd == 0.024


def test_what_earlier_generations_took_stays_in_it(tmp_path: Path) -> None:
    spent = totals(30, nanos=1_000_000, attempts=50)
    view = stopped(
        spent=spent,
        committed=totals(16, nanos=1_000_000, attempts=16),
        told=totals(24, nanos=1_000_000, attempts=24),
    )
    page = full_report(view, tmp_path)
    assert (page.cost_usd, page.attempts, page.input_tokens) == (0.038, 58, 38)


def test_the_cost_of_a_stopped_job_without_a_price_is_unknown_and_not_nothing(
    tmp_path: Path,
) -> None:
    view = stopped(spent=Totals(), committed=Totals(), told=totals(14, unpriced=1))
    page = full_report(view, tmp_path)
    assert page.cost_usd is None
    assert "unknown: no price is known" in page_of(page)
    assert info_of(view).cost_usd is None
