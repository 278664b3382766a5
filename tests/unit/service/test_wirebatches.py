"""Creating batches: what is repeated, what fails without a job, who sees what."""

import asyncio
from typing import Any

import pytest
from tests.batchmaking import (
    DAY_S,
    URL,
    asked,
    created,
    line,
    object_of,
    pieces_of,
    served,
    settings_for,
    shown,
    text_of,
    uploaded,
    with_project,
)

from nightkiln.app.servedmodels import ServedModels
from nightkiln.core.batches import Batch, Dialect
from nightkiln.core.errors import NotFound
from nightkiln.core.files import Purpose
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.service import files, moves, wirebatches, wirebatches_end
from nightkiln.service.context import Context
from nightkiln.service.finalize import finalize
from nightkiln.service.manner import Changes, order_again
from nightkiln.service.wirebatches import NewBatch
from nightkiln.store import jobs
from nightkiln.store.paging import Page
from nightkiln.testing.clock import FakeClock
from nightkiln.wire.openai.refusals import Refusal

from .conftest import Kilnful

PRICED = ServedModels(
    settings_for("http://127.0.0.1:9/v1", "m", prices={"m": {"input": 1.0, "output": 2.0}})
)


async def job_of(context: Context, name: JobId | None) -> Job:
    assert name is not None
    return await context.store.read(lambda tx: jobs.get(tx, name, project=context.project))


async def test_a_batch_and_its_job_are_one_under_two_names(context: Context) -> None:
    file = await uploaded(context, text_of(map(line, range(3))))
    batch = await created(context, file, PRICED, priority=0, budget_usd=2.5)
    job = await job_of(context, batch.job)
    assert batch.id == job.id.replace("job_", "batch_")
    assert (job.spec.model, job.spec.keep_bodies, job.spec.label.priority) == ("m", True, 0)
    assert job.spec.source.on_bad_row == "fail"
    order = await order_again(context, job, Changes(), tell=print)
    assert (order.endpoint, order.model, order.caps.cost_usd) == ("sim", "m", 2.5)
    found = await object_of(context, batch)
    assert (found.status, found.request_counts.total, found.model) == ("validating", 0, None)


async def test_a_budget_without_a_price_fails_the_batch_and_says_what_to_do(
    context: Context,
) -> None:
    file = await uploaded(context, text_of(map(line, range(3))))
    batch = await created(context, file, budget_usd=2.5)
    found = await object_of(context, batch)
    assert (found.status, batch.job) == ("failed", None)
    [error] = found.errors.data
    assert (error.code, error.param) == ("unknown_price", "budget")
    assert "model 'm'" in error.message
    assert '[prices."MODEL"]' in error.message


async def test_a_route_to_a_backend_that_is_not_there_is_refused_at_once(
    context: Context,
) -> None:
    file = await uploaded(context, text_of([line(1)]))
    new = NewBatch(
        endpoint=URL,
        window="24h",
        expires_at=context.clock() + DAY_S,
        input_file=file.id,
        route=("sim", "nowhere"),
        asked=asked(context, "route"),
    )
    found = await wirebatches.create(context, new, served(), lambda _url, _model: True)
    assert isinstance(found, Refusal)
    assert (found.status, found.param, found.code) == (400, "route", "invalid_value")
    assert found.message == "There is no backend 'nowhere' here. Supported are 'sim'."


async def test_the_same_file_twice_is_two_jobs(context: Context) -> None:
    file = await uploaded(context, text_of([line(1)]))
    one, other = await created(context, file), await created(context, file)
    assert one.job != other.job


async def test_a_repeated_create_is_the_same_batch_even_when_both_come_at_once(
    context: Context,
) -> None:
    file = await uploaded(context, text_of([line(1)]))
    first = await created(context, file)
    again = await created(context, file, retries=1)
    assert again == first
    both = await asyncio.gather(*(created(context, file, retries=None) for _ in range(5)))
    assert {one.id for one in both} == {first.id}
    assert len(list((context.home.root / "jobs").iterdir())) == 1


async def test_two_first_tries_at_once_leave_one_batch_and_one_job(context: Context) -> None:
    file = await uploaded(context, text_of([line(1)]))
    both = await asyncio.gather(*(created(context, file, retries=None) for _ in range(5)))
    assert len({one.id for one in both}) == 1
    assert len(list((context.home.root / "jobs").iterdir())) == 1


async def test_an_idempotency_key_with_another_request_is_refused(context: Context) -> None:
    file = await uploaded(context, text_of([line(1)]))

    async def keyed(what: str) -> Batch | Refusal:
        new = NewBatch(
            endpoint=URL,
            window="24h",
            expires_at=context.clock() + DAY_S,
            input_file=file.id,
            asked=asked(context, what, key="k-1"),
        )
        return await wirebatches.create(context, new, served(), lambda _url, _model: True)

    first = await keyed("one")
    assert await keyed("one") == first
    other = await keyed("two")
    assert isinstance(other, Refusal)
    assert other.status == 409


async def test_an_input_that_cannot_be_had_fails_the_batch_without_a_job(
    context: Context,
) -> None:
    gone = await uploaded(context, text_of([line(1)]))
    await files.delete(context, gone.id)
    other = await uploaded(await with_project(context, "other"), text_of([line(1)]))
    empty = await uploaded(context, b"")
    codes = []
    for file in ("file-none", gone, other, empty):
        batch = await created(context, file)
        found = await object_of(context, batch)
        assert (batch.job, found.status) == (None, "failed")
        assert found.failed_at is not None
        assert found.errors is not None
        codes.append([one.code for one in found.errors.data])
    assert codes == [["invalid_request"]] * 3 + [["empty_file"]]


async def test_an_input_of_another_purpose_is_refused_at_once(context: Context) -> None:
    new = files.NewFile(name="t.jsonl", purpose=Purpose.USER_DATA)
    file = await files.receive(context, new, pieces_of(text_of([line(1)])), most=1 << 20)
    asked_for = NewBatch(
        endpoint=URL,
        window="24h",
        expires_at=context.clock() + DAY_S,
        input_file=file.id,
        asked=asked(context, file.id),
    )
    found = await wirebatches.create(context, asked_for, served(), lambda _url, _model: True)
    assert isinstance(found, Refusal)
    assert (found.status, found.param, found.code) == (400, "input_file_id", "invalid_value")
    assert all(word in found.message for word in (file.id, "'user_data'", "'batch'"))
    assert await wirebatches.pages(context, Page(limit=5), Dialect.OPENAI) == ([], False)


async def test_lines_without_a_model_or_of_another_model_are_named(kiln: Kilnful) -> None:
    lines: list[Any] = [line(row) for row in range(4)]
    del lines[0]["body"]["model"]
    lines[2]["body"]["model"] = "other"
    context = kiln.context
    batch = await created(context, await uploaded(context, text_of(lines)))
    assert batch.model == "m"
    codes = await faults(kiln, batch)
    assert codes == [(1, "invalid_request"), (3, "mismatched_model")]


async def test_blank_lines_alone_are_an_empty_file(kiln: Kilnful) -> None:
    batch = await created(kiln.context, await uploaded(kiln.context, b"\n\n"))
    assert await faults(kiln, batch) == [(None, "empty_file")]


async def test_so_many_bad_lines_are_named_and_the_others_are_counted(kiln: Kilnful) -> None:
    more = 5
    lines = [{**line(row), "method": "GET"} for row in range(wirebatches_end.MOST_FAULTS + more)]
    batch = await created(kiln.context, await uploaded(kiln.context, text_of([line(-1), *lines])))
    codes = await faults(kiln, batch)
    assert codes[:-1] == [
        (number, "invalid_method") for number in range(2, wirebatches_end.MOST_FAULTS + 2)
    ]
    assert codes[-1] == (None, "too_many_errors")
    said = (await object_of(kiln.context, batch)).errors.data[-1]
    assert said.message == "5 more errors are not listed."


async def faults(kiln: Kilnful, batch: Batch) -> list[tuple[int | None, str]]:
    """What is wrong with the input of a batch, once its rows were read."""
    from nightkiln.core.errors import InputError

    context, job = kiln.context, await job_of(kiln.context, batch.job)
    with pytest.raises(InputError) as refused:
        kiln.taken(job)
    await moves.fail(context, job.id, refused.value.message)
    ended = await wirebatches_end.settle(context, job.id)
    assert ended is not None
    assert (await object_of(context, batch)).status == "failed"
    return [(one.line, one.code) for one in ended.faults]


async def test_foreign_batches_are_not_there(context: Context) -> None:
    batch = await created(context, await uploaded(context, text_of([line(1)])))
    other = await with_project(context, "other")
    for attempt in (wirebatches.show, wirebatches.cancel):
        with pytest.raises(NotFound):
            await attempt(other, batch.id, Dialect.OPENAI)
        with pytest.raises(NotFound):
            await attempt(context, batch.id, Dialect.ANTHROPIC)
    assert await wirebatches.pages(other, Page(limit=5), Dialect.OPENAI) == ([], False)
    assert (await job_of(context, batch.job)).wanted is Wanted.RUN


async def test_pages_show_batches_with_their_jobs(context: Context) -> None:
    file = await uploaded(context, text_of([line(1)]))
    made = [await created(context, file) for _ in range(3)]
    assert isinstance(context.clock, FakeClock)
    page, more = await wirebatches.pages(context, Page(limit=2), Dialect.OPENAI)
    assert more
    rest, more = await wirebatches.pages(
        context, Page(limit=2, after=page[-1].batch.id), Dialect.OPENAI
    )
    assert not more
    assert {one.batch.id for one in [*page, *rest]} == {one.id for one in made}
    assert all(one.job is not None for one in page)


async def test_a_cancel_shows_at_once_and_too_late_it_changes_nothing(kiln: Kilnful) -> None:
    context = kiln.context
    batch = await created(context, await uploaded(context, text_of(map(line, range(20)))))
    job = await job_of(context, batch.job)
    await moves.validated(context, job.id, kiln.taken(job))
    await wirebatches.cancel(context, batch.id, Dialect.OPENAI)
    found = await object_of(context, batch)
    assert found.status == "cancelling"
    assert found.cancelling_at is not None
    assert (await job_of(context, job.id)).wanted is Wanted.CANCEL
    await moves.move(context, job.id, JobState.CANCELLING)
    await finalize(context, job.id)
    assert (await object_of(context, batch)).status == "cancelling"  # its files are not there
    assert await wirebatches_end.settle(context, job.id) is not None
    ended = await shown(context, batch)
    assert await wirebatches.cancel(context, batch.id, Dialect.OPENAI) == ended
    found = await object_of(context, batch)
    assert (found.status, found.request_counts.failed) == ("cancelled", 20)
    assert found.output_file_id is None
    assert found.error_file_id is not None


async def test_a_retry_of_the_job_changes_nothing_of_a_batch_that_ended(kiln: Kilnful) -> None:
    context = kiln.context
    batch = await created(context, await uploaded(context, text_of(map(line, range(20)))))
    job = await job_of(context, batch.job)
    job = await moves.validated(context, job.id, kiln.taken(job))
    await kiln.answered(job, rows=20, failing=frozenset({3, 4}))
    await moves.move(context, job.id, JobState.FINALIZING)
    await finalize(context, job.id)
    await moves.retry(context, job.id)  # before anybody has settled the batch
    assert await wirebatches_end.settle(context, job.id) is not None
    found = await object_of(context, batch)
    assert (found.status, found.request_counts.failed) == ("completed", 2)
    assert await object_of(context, batch) == found
    assert (await job_of(context, job.id)).state is JobState.QUEUED


async def test_a_batch_is_known_longer_than_its_job(kiln: Kilnful) -> None:
    from nightkiln.service import deletion

    context = kiln.context
    batch = await created(context, await uploaded(context, text_of([line(1)])))
    assert batch.job is not None
    await deletion.delete(context, batch.job)
    assert await wirebatches_end.settle(context, batch.job) is not None
    assert (await object_of(context, batch)).status == "cancelled"
