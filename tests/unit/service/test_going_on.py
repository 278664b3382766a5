"""What is kept of how a job is run, retries by class, and reading what is there so far."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightkiln.core.answer import Attempt
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.plan.budget import Caps
from nightkiln.service import moves
from nightkiln.service.cleaning import age_of, states_of
from nightkiln.service.faultreport import Wish, faults_of
from nightkiln.service.finalize import finalize
from nightkiln.service.manner import Changes, Manner, manner_of, order_again, remember
from nightkiln.service.sampling import Reservoir, choose_rows
from nightkiln.service.selection import Selection, where_of
from nightkiln.testing.backends import answer_to

from .conftest import Kilnful

FAULTS = {0: FaultClass.PERMANENT, 1: FaultClass.TRANSIENT, 17: FaultClass.TRANSIENT}


async def answered(kiln: Kilnful, job_rows: int = 20) -> JobId:
    """A job of twenty rows that ended with three faults of two classes."""
    job = await kiln.queued(kiln.order(job_rows))
    window = await kiln.window(job)
    for chunk in await window.lease_more(8):
        give(chunk, FAULTS)
        await window.seal(chunk, backend="b")
    await window.aclose()
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    await finalize(kiln.context, job.id)
    return job.id


def give(chunk: OpenChunk, faults: dict[int, FaultClass]) -> list[int]:
    """Answer every open row; the rows that were open."""
    rows = []
    for try_ in list(chunk.tries()):
        end = Attempt(number=try_.number + 1, backend="b", sent_at=1.0, latency_ms=1.0)
        kind = faults.get(try_.row)
        if kind is None:
            chunk.answered(try_.row, end, answer_to(f"row {try_.row}"))
        else:
            bad = Fault(kind=kind, code=f"code_{kind}", message="said so")
            chunk.failed(try_.row, msgspec.structs.replace(end, fault=bad), bad)
        rows.append(try_.row)
    return rows


async def test_a_retry_by_class_asks_those_rows_and_keeps_the_other_faults(
    kiln: Kilnful,
) -> None:
    name = await answered(kiln)
    job = await moves.retry(kiln.context, name, classes={"transient"})
    assert (job.generation, job.retry_classes) == (2, ("transient",))
    assert (job.totals.ok, job.totals.faults) == (17, {"permanent": 1})
    window = await kiln.window(job)
    asked: list[int] = []
    for chunk in await window.lease_more(8):
        asked += give(chunk, {})
        await window.seal(chunk, backend="b")
    await window.aclose()
    assert asked == [1, 17]
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    ended = await finalize(kiln.context, job.id)
    assert ended.state is JobState.COMPLETED_WITH_ERRORS
    assert (ended.totals.ok, ended.totals.failed) == (19, 1)
    report = await faults_of(kiln.context, ended, Wish(rows=9))
    assert [(row.row, row.fault) for row in report.listed] == [(0, "permanent")]


async def test_a_retry_that_would_ask_nothing_is_refused(kiln: Kilnful) -> None:
    name = await answered(kiln)
    with pytest.raises(UsageError, match=r"no row .* quota") as refused:
        await moves.retry(kiln.context, name, classes={"quota"})
    assert refused.value.hint == "it has: 2 transient, 1 permanent"


async def test_a_report_counts_classes_and_codes_and_says_nothing_of_the_input(
    kiln: Kilnful,
) -> None:
    job = await kiln.job(await kiln.accepted(kiln.order(1, name="other.txt")))
    assert (await faults_of(kiln.context, job, Wish())).faults == ()
    name = await answered(kiln)
    job = await kiln.job(msgspec.structs.replace(job, id=name))
    report = await faults_of(kiln.context, job, Wish(rows=9, classes={"transient"}))
    assert [(one.fault, one.count, one.row) for one in report.faults] == [("transient", 2, 1)]
    assert report.faults[0].codes == {"code_transient": 2}
    assert report.listed[0].input is None
    shown = await faults_of(kiln.context, job, Wish(rows=1, show_input=True))
    assert list((shown.listed[0].input or {}).values()) == ["row 0"]


async def test_secrets_and_their_places_are_not_kept(kiln: Kilnful) -> None:
    order = kiln.order(
        endpoint="https://host/v1?api-key=abc", key="file:k.txt", headers=(("X-A", "hidden"),)
    )
    kept = manner_of(order)
    text = msgspec.json.encode(kept).decode()
    assert "abc" not in text
    assert "hidden" not in text
    assert kept.key == f"file:{Path('k.txt').absolute()}"
    assert manner_of(kiln.order(endpoint="https://host/v1?api-version=2")).endpoint is not None

    job = await kiln.queued(order)
    with pytest.raises(UsageError, match="nobody has run"):
        await order_again(kiln.context, job, Changes(), tell=print)
    await remember(kiln.context, job.id, order)
    with pytest.raises(UsageError, match="holds a secret"):
        await order_again(kiln.context, job, Changes(), tell=print)
    with pytest.raises(UsageError, match="X-A"):
        await order_again(kiln.context, job, Changes(endpoint="http://y/v1"), tell=print)
    again = await order_again(
        kiln.context,
        job,
        Changes(endpoint="http://y/v1", headers=(("x-a", "hidden"),), concurrency=3),
        tell=print,
    )
    assert (again.endpoint, again.concurrency, again.model) == ("http://y/v1", 3, "m")


HERE, THERE, ELSEWHERE = "http://here/v1", "http://there/v1", "http://elsewhere/v1"
A, B = "env:A", "env:B"


def said(places: tuple[str, ...], keys: tuple[str, ...]) -> dict[str, Any]:
    """Endpoints and keys as an order or a change has them."""
    return {
        "endpoint": next(iter(places), None),
        "more_endpoints": places[1:],
        "key": next(iter(keys), None),
        "more_keys": keys[1:],
    }


@pytest.mark.parametrize(
    ("places", "keys", "new_places", "new_keys", "goes_on"),
    [
        ((HERE,), (A, B), (), (), ((HERE,), (A, B))),
        ((HERE,), (A, B), (HERE + "/",), (), ((HERE + "/",), (A, B))),
        ((HERE,), (A, B), (), ("env:C",), ((HERE,), ("env:C",))),
        ((HERE,), (A,), (), (A, B), ((HERE,), (A, B))),
        ((HERE,), (A,), (THERE,), (B,), ((THERE,), (B,))),
        ((HERE, THERE), (A, B), (), (), ((HERE, THERE), (A, B))),
        ((HERE, THERE), (A, B), (THERE,), (), ((THERE,), (B,))),
        ((HERE, THERE), (A, B), (THERE, HERE), (), ((THERE, HERE), (B, A))),
        ((HERE,), (), (THERE, ELSEWHERE), (), ((THERE, ELSEWHERE), ())),
    ],
)
async def test_a_job_goes_on_with_its_endpoints_and_keys_but_for_those_said_anew(
    kiln: Kilnful,
    places: tuple[str, ...],
    keys: tuple[str, ...],
    new_places: tuple[str, ...],
    new_keys: tuple[str, ...],
    goes_on: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    order, told = kiln.order(**said(places, keys)), list[str]()
    job = await kiln.queued(order)
    await remember(kiln.context, job.id, order)
    changes = Changes(**said(new_places, new_keys))
    again = await order_again(kiln.context, job, changes, tell=told.append)
    found = (again.endpoint, *again.more_endpoints), (again.key, *again.more_keys)
    assert found == (goes_on[0], goes_on[1] or (None,))
    assert told == []


@pytest.mark.parametrize("keys", [(A,), (A, B)])
async def test_a_kept_key_is_not_sent_to_an_address_it_was_not_named_for(
    kiln: Kilnful, keys: tuple[str, ...]
) -> None:
    order, told = kiln.order(**said((HERE,), keys)), list[str]()
    job = await kiln.queued(order)
    await remember(kiln.context, job.id, order)
    for place in (THERE, "http://here:81/v1", "https://here/v1", "named"):
        told.clear()
        again = await order_again(
            kiln.context, job, Changes(endpoint=f"{place}?x=1"), tell=told.append
        )
        assert (again.endpoint, again.key, again.more_keys) == (f"{place}?x=1", None, ())
        first, second = told[0].split(f" not sent to {place}: ")
        assert first == ("env:A is" if keys == (A,) else "env:A and env:B are")
        assert second.endswith(f" named for {HERE}; --key REF names one")
        assert len(told) == 1


async def test_endpoints_of_which_only_some_have_a_kept_key_need_one_each(kiln: Kilnful) -> None:
    for order in (kiln.order(**said((HERE,), (A,))), kiln.order(**said((HERE,), (A, B)))):
        job = await kiln.queued(order)
        await remember(kiln.context, job.id, order)
        changes = Changes(**said((HERE, THERE), ()))
        with pytest.raises(UsageError, match="only some of the 2 endpoints have a key"):
            await order_again(kiln.context, job, changes, tell=print)


async def test_caps_stay_with_a_job_but_for_those_said_anew(kiln: Kilnful) -> None:
    order = kiln.order(caps=Caps(cost_usd=1.0, tokens=500))
    job = await kiln.queued(order)
    await remember(kiln.context, job.id, order)
    again = await order_again(kiln.context, job, Changes(), tell=print)
    assert again.caps == order.caps
    higher = Changes(caps=Caps(cost_usd=2.0))
    again = await order_again(kiln.context, job, higher, tell=print)
    assert again.caps == Caps(cost_usd=2.0, tokens=500)


def test_paths_are_kept_so_that_a_job_can_go_on_from_anywhere(kiln: Kilnful) -> None:
    model = kiln.folder / "m.gguf"
    model.write_bytes(b"GGUF")
    kept = manner_of(kiln.order(model=str(model), endpoint=None, output="out/"))
    assert kept == Manner(model=str(model), output=f"{Path('out').absolute()}/")
    assert manner_of(kiln.order(output="-")).output == "-"


async def test_chosen_rows_are_the_same_each_time_and_all_over_the_table(kiln: Kilnful) -> None:
    job = await kiln.queued(kiln.order(200))
    chosen = await choose_rows(kiln.context, job, 20)
    assert chosen == await choose_rows(kiln.context, job, 20)
    rows = [row for some in chosen.values() for row in some]
    assert len(rows) == len(set(rows)) == 20
    assert min(rows) < 100 < max(rows)
    assert await choose_rows(kiln.context, job, 200) == {}


def test_a_reservoir_gives_every_item_the_same_chance() -> None:
    hits = [0] * 10
    for seed in range(500):
        kept: Reservoir[int] = Reservoir(3, seed=str(seed))
        for number in range(10):
            kept.show(number)
        assert len(kept.kept) == 3
        for number in kept.kept:
            hits[number] += 1
    assert all(100 < count < 200 for count in hits)  # 150 expected


def test_conditions_are_checked_before_anything_is_read() -> None:
    assert where_of(["status=ok", "fault=auth", "fault=quota"]) == (
        ("status", ("ok",)),
        ("fault", ("auth", "quota")),
    )
    for wrong in ("status", "answer=x", "status=fine", "fault=timeout"):
        with pytest.raises(UsageError, match="where"):
            where_of([wrong])
    assert Selection().is_all
    assert not Selection(where=where_of(["status=ok"])).is_all


def test_ages_and_states_are_checked() -> None:
    assert (age_of("2w"), age_of("90m")) == (14 * 86_400, 5400)
    for wrong in ("", "d", "-1d", "1.5d", "5y"):
        with pytest.raises(UsageError, match="--older-than"):
            age_of(wrong)
    assert states_of("failed, expired") == {JobState.FAILED, JobState.EXPIRED}
    with pytest.raises(UsageError, match="running"):
        states_of("running")
