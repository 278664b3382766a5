"""Bad rows from the input to the output: never asked, never lost, refused where that is wanted."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightkiln.core.errors import InputError
from nightkiln.core.job import JobState, PromptSpec
from nightkiln.service import badrows, moves, submit
from nightkiln.service import ingest as ingesting
from nightkiln.service.finalize import finalize
from nightkiln.service.ingest import Stopped
from nightkiln.service.orders import Order
from nightkiln.service.results import export
from nightkiln.vault import segments
from nightkiln.vault.parts import read_part
from nightkiln.vault.publish import read_manifest

from .conftest import Kilnful

BAD = {3, 40, 41, 99}


def order_of(kiln: Kilnful, **more: Any) -> Order:
    order = kiln.order(name="in.jsonl", prompt=PromptSpec(columns=("text",)), **more)
    lines = [
        "nope" if row in BAD else json.dumps({"id": row, "text": f"row {row}"})
        for row in range(100)
    ]
    Path(order.input).write_text("\n".join(lines))
    return order


async def test_a_bad_row_keeps_its_place_with_a_fault_and_no_cost(kiln: Kilnful) -> None:
    job = await kiln.ended(order_of(kiln))
    assert job.state is JobState.COMPLETED_WITH_ERRORS
    assert (job.totals.ok, job.totals.failed, job.totals.attempts) == (96, 4, 96)
    assert job.totals.faults == {"permanent": 4}
    out = kiln.folder / "out.jsonl"
    assert await export(kiln.context, job, str(out), None) == 100
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row for row, found in enumerate(rows) if found["status"] == "error"} == BAD
    assert rows[40]["fault_message"] == (
        "bad_row: line 41: not JSON: Expecting value at character 1"
    )
    assert (rows[40]["fault"], rows[40]["attempts"], rows[40]["cost_usd"]) == ("permanent", 0, 0.0)
    assert "text" not in rows[40]
    assert rows[42]["text"] == "row 42"


async def test_skipped_rows_are_left_out_and_the_job_succeeds(kiln: Kilnful) -> None:
    job = await kiln.ended(order_of(kiln, on_bad_row="skip"))
    assert job.state is JobState.SUCCEEDED
    out = kiln.folder / "out.csv"
    assert await export(kiln.context, job, str(out), None) == 96
    ids = [int(line.split(",")[0]) for line in out.read_text().splitlines()[1:]]
    assert ids == [row for row in range(100) if row not in BAD]
    manifest = read_manifest(kiln.context.files(job.id), 1)
    assert manifest is not None
    folder = kiln.context.files(job.id).published(1)
    rows = [read_part(folder / file.name).column("row").to_pylist() for file in manifest.files]
    assert sum(rows, []) == list(range(100))  # noqa: RUF017 - a hundred of them


async def test_a_skipped_row_does_not_hide_one_that_failed(kiln: Kilnful) -> None:
    job = await kiln.ended(order_of(kiln, on_bad_row="skip"), failing=frozenset({7}))
    assert job.state is JobState.COMPLETED_WITH_ERRORS


async def test_fail_names_the_first_ten_and_counts_all(kiln: Kilnful) -> None:
    order = kiln.order(name="in.csv", on_bad_row="fail", prompt=PromptSpec(columns=("a",)))
    Path(order.input).write_text("a,b\n" + "1,2\n" * 4 + "3\n" * 12)
    job = await kiln.accepted(order)
    with pytest.raises(InputError) as caught:
        kiln.taken(job)
    lines = caught.value.message.splitlines()
    assert lines[0] == f"{order.input}: 12 of 16 rows are bad"
    assert lines[1:11] == [
        f"  line {line}: too few fields: 1, where the header has 2" for line in range(6, 16)
    ]
    assert lines[11:] == ["  and 2 more; --bad-rows FILE writes all of them"]
    assert caught.value.line == 6
    assert caught.value.hint.startswith("quote values that hold the delimiter")


@pytest.mark.parametrize("policy", ["error", "skip", "fail"])
async def test_an_input_without_any_good_row_fails(kiln: Kilnful, policy: str) -> None:
    order = kiln.order(name="in.jsonl", on_bad_row=policy)
    Path(order.input).write_text("one\ntwo\n")
    job = await kiln.accepted(order)
    with pytest.raises(InputError, match=r"in\.jsonl: no row can be used\n  line 1: not JSON: "):
        kiln.taken(job)


async def test_a_retry_does_not_ask_a_bad_row_again(kiln: Kilnful) -> None:
    job = await kiln.ended(order_of(kiln), failing=frozenset({7, 98}))
    assert (job.totals.ok, job.totals.failed) == (94, 6)
    job = await moves.retry(kiln.context, job.id)
    window = await kiln.window(job)
    asked = []
    while opened := await window.lease_more(8):
        asked += [try_.row for chunk in opened for try_ in chunk.tries()]
    await window.aclose()
    assert asked == [7, 98]
    await kiln.answered(job, rows=job.rows)
    await moves.move(kiln.context, job.id, JobState.FINALIZING)
    job = await finalize(kiln.context, job.id)
    assert (job.totals.ok, job.totals.failed) == (96, 4)
    assert job.state is JobState.COMPLETED_WITH_ERRORS
    assert job.spent.attempts == 98


async def test_progress_counts_bad_rows_when_their_chunk_opens(kiln: Kilnful) -> None:
    job = await kiln.queued(order_of(kiln))
    window = await kiln.window(job)
    opened = await window.lease_more(8)
    assert sum(chunk.unanswered for chunk in opened) == 96
    assert [answer.row for chunk in opened for answer in chunk.known_answers()] == sorted(BAD)
    assert [answer.row for chunk in opened for answer in chunk.answers()] == sorted(BAD)
    await window.aclose()


async def test_an_interrupted_ingest_knows_every_bad_row(
    kiln: Kilnful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_LOOKAHEAD_ROWS", 1000)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    order = kiln.order(name="in.csv", prompt=PromptSpec(columns=("a",)))
    bad = range(17, 6000, 500)
    lines = ["1" if row in bad else f'{row},"x\n"' for row in range(6000)]
    Path(order.input).write_text("a,b\n" + "\n".join(lines))
    job = await kiln.accepted(order)
    with pytest.raises(Stopped):
        kiln.taken(job, stop_at=3000)
    assert kiln.taken(job).rows == 6000
    found = list(badrows.all_of(kiln.context.files(job.id)))
    assert [one.row for one in found] == list(bad)
    assert [one.line for one in found] == [2 + 2 * row - at for at, row in enumerate(bad)]


def with_ids(kiln: Kilnful, ids: list[str], **more: Any) -> Order:
    prompt = PromptSpec(columns=("text",))
    order = kiln.order(name="in.csv", id_column="id", prompt=prompt, **more)
    Path(order.input).write_text("id,text\n" + "".join(f'{one},"t\n"\n' for one in ids))
    return order


async def test_repeated_ids_are_bad_with_both_lines_and_stay_so(kiln: Kilnful) -> None:
    job = await kiln.accepted(with_ids(kiln, ["a", "b", "a", "", "a", "c"]))
    files = kiln.context.files(job.id)
    kiln.taken(job)
    expected = [
        (2, 6, 'the id "a" is that of line 2 already'),
        (3, 8, 'the id in column "id" is empty'),
        (4, 10, 'the id "a" is that of line 2 already'),
    ]
    assert [(one.row, one.line, one.reason) for one in badrows.all_of(files)] == expected
    again = kiln.taken(job)  # as after a crash between the marks and the commit
    assert [(one.row, one.line, one.reason) for one in badrows.all_of(files)] == expected
    assert badrows.count(files) == 3
    reader = segments.InputReader(files)
    (chunk,) = again.chunks
    assert reader.read(chunk).rows.column("id").to_pylist() == ["a", "b", "a", "", "a", "c"]
    reader.close()


async def test_repeated_ids_fail_a_job_that_may_have_no_bad_rows(kiln: Kilnful) -> None:
    job = await kiln.accepted(with_ids(kiln, ["a", "b", "a"], on_bad_row="fail"))
    with pytest.raises(InputError) as caught:
        kiln.taken(job)
    assert caught.value.message.splitlines()[1:] == [
        '  line 6: the id "a" is that of line 2 already'
    ]


async def test_a_column_that_is_none_of_ids_fails_the_job(
    kiln: Kilnful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "MAX_REPEATED_IDS", 2)
    job = await kiln.accepted(with_ids(kiln, ["a", "a", "a", "a"]))
    with pytest.raises(InputError, match='3 rows repeat an id in "id"'):
        kiln.taken(job)


async def test_all_bad_rows_can_be_written(kiln: Kilnful) -> None:
    job = await kiln.accepted(order_of(kiln))
    kiln.taken(job)
    files, out = kiln.context.files(job.id), kiln.folder / "bad.jsonl"
    assert badrows.write(files, str(out)) == 4
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == sorted(BAD)
    assert rows[0] == {
        "row": 3,
        "line": 4,
        "reason": "not JSON: Expecting value at character 1",
        "text": "nope",
    }


async def test_the_first_ten_are_shown_and_all_are_counted(kiln: Kilnful) -> None:
    job = await kiln.accepted(order_of(kiln))
    kiln.taken(job)
    said = badrows.shown(kiln.context.files(job.id), 100)
    assert said[0] == "4 of 100 rows are bad and will not be asked"
    assert said[1] == "line 4: not JSON: Expecting value at character 1"
    assert len(said) == 5


async def test_how_bad_input_is_read_is_part_of_a_job(kiln: Kilnful) -> None:
    source = await submit.source_of(kiln.context, order_of(kiln))
    variants = [
        source,
        msgspec.structs.replace(source, encoding="utf-16"),
        msgspec.structs.replace(source, on_bad_row="skip"),
        msgspec.structs.replace(source, compression="gzip"),
    ]
    specs = [submit.spec_of(order_of(kiln), one, model="m") for one in variants]
    assert len({submit.identity_of(spec) for spec in specs}) == 4
