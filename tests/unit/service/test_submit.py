"""The same content is the same job, and how a submission meets what is there."""

import msgspec
import pytest

from nightkiln.app.finishing import finish_cancel
from nightkiln.core.errors import UsageError
from nightkiln.core.events import Opening
from nightkiln.core.job import JobState, PromptSpec, Sampling
from nightkiln.service import moves, submit
from nightkiln.service.ingest import ingest
from nightkiln.service.orders import Order

from .conftest import Kilnful


async def key_of(kiln: Kilnful, order: Order) -> str:
    source = await submit.source_of(kiln.context, order)
    return submit.identity_of(submit.spec_of(order, source, model=order.model or "m"))


@pytest.mark.parametrize(
    "more",
    [
        {"endpoint": "http://elsewhere/v1"},
        {"key": "env:OTHER"},
        {"concurrency": 7},
        {"output": "/tmp/other.csv"},
        {"timeout_s": 5.0},
        {"headers": (("a", "b"),)},
        {"wait_s": None},
        {"name": "another name.txt"},
    ],
)
async def test_where_how_fast_and_whereto_do_not_matter(
    kiln: Kilnful, more: dict[str, object]
) -> None:
    assert await key_of(kiln, kiln.order()) == await key_of(kiln, kiln.order(**more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"rows": 21},
        {"model": "other"},
        {"prompt": PromptSpec(template="Say {text}")},
        {"prompt": PromptSpec(system="Be brief")},
        {"sampling": Sampling(temperature=0.0)},
        {"output_schema": b'{"type": "object"}'},
        {"limit": 5},
        {"input_format": "jsonl"},
        {"delimiter": ";"},
    ],
)
async def test_what_is_asked_of_whom_matters(kiln: Kilnful, more: dict[str, object]) -> None:
    assert await key_of(kiln, kiln.order()) != await key_of(kiln, kiln.order(**more))  # type: ignore[arg-type]


async def opening(kiln: Kilnful, order: Order) -> Opening:
    source = await submit.source_of(kiln.context, order)
    _, how = await submit.accept(
        kiln.context, submit.spec_of(order, source, model="m"), new=order.new
    )
    return how


async def test_a_new_job_is_real_before_its_id_is_known(kiln: Kilnful) -> None:
    order = kiln.order()
    job = await kiln.accepted(order)
    assert (await kiln.job(job)).state is JobState.VALIDATING
    assert kiln.context.files(job.id).journal.is_dir()
    assert await opening(kiln, order) is Opening.ATTACHED


async def test_a_job_that_succeeded_is_found_and_asked_nothing(kiln: Kilnful) -> None:
    await kiln.ended(kiln.order())
    assert await opening(kiln, kiln.order()) is Opening.FINISHED
    assert await opening(kiln, kiln.order(new=True)) is Opening.NEW


async def test_a_job_with_errors_is_found_and_not_retried(kiln: Kilnful) -> None:
    await kiln.ended(kiln.order(), failing=frozenset({3}))
    assert await opening(kiln, kiln.order()) is Opening.WITH_ERRORS


async def test_a_job_that_failed_is_never_found(kiln: Kilnful) -> None:
    await moves.fail(kiln.context, (await kiln.accepted(kiln.order())).id, "bad")
    assert await opening(kiln, kiln.order()) is Opening.NEW


async def test_a_retry_of_a_job_without_known_rows_begins_with_validation(kiln: Kilnful) -> None:

    job = await kiln.accepted(kiln.order())
    assert (await finish_cancel(kiln.context, job.id)).state is JobState.CANCELLED
    assert await opening(kiln, kiln.order()) is Opening.CONTINUED
    again = await moves.retry(kiln.context, job.id)
    assert again.state is JobState.VALIDATING
    done = ingest(again, kiln.context.files(job.id), on_rows=lambda _: None, stop=lambda: False)
    assert (await moves.validated(kiln.context, job.id, done)).rows == 20


async def test_a_cancel_that_comes_too_late_lets_the_job_end(kiln: Kilnful) -> None:

    job = await kiln.queued(kiln.order())
    await kiln.answered(job, rows=20)
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    assert (await finish_cancel(kiln.context, job.id)).state is JobState.SUCCEEDED


@pytest.mark.parametrize(("name", "said"), [("logprobs", "true"), ("top_logprobs", "3")])
async def test_log_probabilities_that_a_table_would_lose_are_refused(
    kiln: Kilnful, name: str, said: str
) -> None:
    order = kiln.order(sampling=Sampling(extra={name: msgspec.Raw(said.encode())}))
    with pytest.raises(UsageError, match=f"{name} are asked for") as caught:
        await key_of(kiln, order)
    assert "batch lines" in caught.value.hint


async def test_log_probabilities_that_are_switched_off_are_fine(kiln: Kilnful) -> None:
    await key_of(kiln, kiln.order(sampling=Sampling(extra={"logprobs": msgspec.Raw(b"false")})))
