"""OpenAI's batch lines out: replies here, failures there, in the order of the input."""

import io
import json
from typing import Any

import pyarrow as pa

from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.job import Task
from nightkiln.tables.batch_out import BatchWriter
from nightkiln.vault.parts import completed, table_of

JOB = JobId("job_0abc")
REFUSED = Fault(kind=FaultClass.PERMANENT, code="bad", message="no: never", status=400)
GONE = Fault(kind=FaultClass.TRANSIENT, code="connection_refused", message="")


def answer(row: int, fault: Fault | None = None, **more: Any) -> Answer:
    attempt = Attempt(
        number=1, backend="b", sent_at=1.0, latency_ms=1.0, fault=fault, request_id=f"req-{row}"
    )
    return Answer(row=row, fault=fault, attempts=(attempt,), **more)


def inputs(count: int) -> pa.Table:
    return pa.table({"line": [json.dumps({"custom_id": f"id-{row}"}) for row in range(count)]})


def written(part: pa.Table) -> tuple[list[Any], list[Any]]:
    out, errors = io.BytesIO(), io.BytesIO()
    found = BatchWriter(JOB, Task.CHAT).write(out, errors, [(inputs(part.num_rows), part)])
    lines = [[json.loads(line) for line in one.getvalue().splitlines()] for one in (out, errors)]
    assert (found.replies, found.failures) == (len(lines[0]), len(lines[1]))
    return lines[0], lines[1]


def test_every_row_is_in_one_of_the_files_in_order() -> None:
    part = table_of(
        [
            answer(0, text="x", body=b'{"id":"r0"}'),
            answer(1, REFUSED, body=b'{"error":{}}'),
            answer(2, GONE),
            answer(3, text="y", body=b'{"id":"r3"}'),
        ],
        {row: f"id-{row}" for row in range(4)},
    )
    good, bad = written(part)
    assert [line["custom_id"] for line in good] == ["id-0", "id-3"]
    assert [line["custom_id"] for line in bad] == ["id-1", "id-2"]
    assert good[0] == {
        "id": "batch_req_0abc00000000",
        "custom_id": "id-0",
        "response": {"status_code": 200, "request_id": "req-0", "body": {"id": "r0"}},
        "error": None,
    }
    assert bad[0]["response"]["status_code"] == 400
    assert bad[0]["error"] == {"code": "bad", "message": "no: never"}
    assert bad[1]["response"] is None
    assert bad[1]["error"]["code"] == "connection_refused"


def test_rows_that_a_cancel_came_before_say_so() -> None:
    part = table_of([answer(0, text="x", body=b"{}")], {0: "id-0"})
    whole = completed(part, first_row=0, rows=2, implied=FaultClass.CANCELLED)
    good, bad = written(whole)
    assert len(good) == 1
    assert (bad[0]["custom_id"], bad[0]["error"]["code"]) == ("id-1", "batch_cancelled")


def test_rows_without_an_end_yet_are_left_out() -> None:
    assert written(completed(None, first_row=0, rows=2, implied=None)) == ([], [])


def test_an_answer_without_a_raw_reply_gets_the_reply_it_would_have_been() -> None:
    good, _ = written(table_of([answer(0, text="hi", model="m")], {0: "id-0"}))
    assert good[0]["response"]["body"]["choices"][0]["message"]["content"] == "hi"


def test_one_stream_for_both_has_the_order_of_the_input() -> None:
    part = table_of([answer(0, GONE), answer(1, text="x", body=b"{}")], {})
    out = io.BytesIO()
    BatchWriter(JOB, Task.CHAT).write(out, out, [(inputs(2), part)])
    found = [json.loads(line)["custom_id"] for line in out.getvalue().splitlines()]
    assert found == ["id-0", "id-1"]
