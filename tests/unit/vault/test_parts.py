"""Parts: what was recorded is what is read, and every sum agrees with the rows."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Totals, Usage
from nightkiln.vault.durable import sha256_of
from nightkiln.vault.parts import (
    SCHEMA,
    completed,
    read_part,
    spent_on,
    table_of,
    totals_of,
    write_part,
)
from nightkiln.vault.recovery import UNENDED

STUMBLED = Fault(kind=FaultClass.TRANSIENT, code="http_500", message="oh no")
LATE = Fault(kind=FaultClass.AMBIGUOUS, code="timeout")
DIED = Fault(kind=FaultClass.AMBIGUOUS, code=UNENDED)


def attempt(number: int, fault: Fault | None = None, cost: float | None = 0.25) -> Attempt:
    usage = Usage(input_tokens=3, cached_tokens=1, output_tokens=5) if fault is None else Usage()
    return Attempt(
        number=number,
        backend="b",
        sent_at=1.5,
        latency_ms=2.0,
        usage=usage,
        cost_usd=cost if fault is None else None,
        fault=fault,
        request_id="r",
    )


def answer(
    row: int, *faults: Fault, final: Fault | None = None, cost: float | None = 0.25
) -> Answer:
    attempts = [attempt(number, fault) for number, fault in enumerate(faults, 1)]
    attempts.append(attempt(len(faults) + 1, final, cost))
    return Answer(
        row=row,
        text=None if final else f"row {row}",
        fault=final,
        finish_reason="" if final else "stop",
        model="m",
        attempts=tuple(attempts),
    )


ANSWERS = st.lists(
    st.builds(
        lambda faults, final, cost: (faults, final, cost),
        st.lists(st.sampled_from([STUMBLED, LATE, DIED]), max_size=3),
        st.sampled_from([None, None, STUMBLED, LATE]),
        st.sampled_from([None, 0.0, 0.25]),
    ),
    max_size=12,
).map(
    lambda drawn: [
        answer(row, *faults, final=final, cost=cost)
        for row, (faults, final, cost) in enumerate(drawn)
    ]
)


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = table_of([answer(4), answer(5, STUMBLED, final=LATE)], {4: "a", 5: "b"})
    sha256, size = write_part(tmp_path / "part", table)
    assert (sha256, size) == sha256_of(tmp_path / "part")
    read = read_part(tmp_path / "part")
    assert read.equals(table)
    assert read.schema.equals(SCHEMA)
    first, second = read.to_pylist()
    assert (first["custom_id"], first["status"], first["answer"]) == ("a", "ok", "row 4")
    assert (second["fault"], second["fault_message"]) == ("ambiguous", "timeout")
    assert [tried["code"] for tried in second["attempts"]] == ["http_500", "timeout"]


def test_the_same_answers_make_the_same_file(tmp_path: Path) -> None:
    table = table_of([answer(row) for row in range(50)], {})
    assert write_part(tmp_path / "a", table) == write_part(tmp_path / "b", table)


def test_an_unknown_price_is_null_and_our_own_engine_costs_nothing() -> None:
    table = table_of([answer(0, cost=None), answer(1, cost=0.0), answer(2, STUMBLED)], {})
    assert table.column("cost_usd").to_pylist() == [None, 0.0, 0.25]


def test_a_part_may_be_empty(tmp_path: Path) -> None:
    table = table_of([], {})
    write_part(tmp_path / "part", table)
    assert totals_of(read_part(tmp_path / "part")) == Totals()


@given(ANSWERS)
def test_the_counts_of_the_rows_are_the_sum_of_their_attempts(answers: list[Answer]) -> None:
    counted = totals_of(table_of(answers, {}))
    spent = spent_on(attempt for answer in answers for attempt in answer.attempts)
    for name in ("attempts", "maybe_billed", "input_tokens", "cached_tokens", "output_tokens"):
        assert getattr(counted, name) == getattr(spent, name), name
    assert counted.cost_nanos == spent.cost_nanos
    assert counted.unpriced == spent.unpriced
    assert counted.answered == len(answers)
    assert sum(counted.faults.values()) == counted.failed


@given(ANSWERS)
def test_counts_survive_being_filtered_and_joined(answers: list[Answer]) -> None:
    table = table_of(answers, {})
    ok = [status == "ok" for status in table.column("status").to_pylist()]
    kept, rest = (
        table.filter(pa.array(ok, pa.bool_())),
        table.filter(pa.array([not it for it in ok], pa.bool_())),
    )
    assert totals_of(kept).plus(totals_of(rest)) == totals_of(table)
    assert totals_of(pa.concat_tables([kept, rest])) == totals_of(table)


def test_attempts_without_an_end_are_only_maybe_billed() -> None:
    spent = spent_on([attempt(1, DIED), attempt(2, LATE), attempt(3, STUMBLED), attempt(4)])
    assert (spent.attempts, spent.maybe_billed) == (3, 2)


@pytest.mark.parametrize("kind", [FaultClass.CANCELLED, FaultClass.EXPIRED])
def test_rows_without_an_answer_get_the_implied_fault(tmp_path: Path, kind: FaultClass) -> None:
    write_part(tmp_path / "part", table_of([answer(12), answer(14)], {}))
    whole = completed(read_part(tmp_path / "part"), first_row=11, rows=5, implied=kind)
    assert whole.column("row").to_pylist() == [11, 12, 13, 14, 15]
    assert whole.column("status").to_pylist() == ["error", "ok", "error", "ok", "error"]
    assert whole.column("fault").to_pylist() == [str(kind), None, str(kind), None, str(kind)]
    assert whole.column("attempts").to_pylist()[0] == []


def test_a_chunk_without_a_part_is_all_implied_or_all_pending() -> None:
    cancelled = completed(None, first_row=0, rows=3, implied=FaultClass.CANCELLED)
    assert cancelled.column("fault").to_pylist() == ["cancelled"] * 3
    pending = completed(None, first_row=0, rows=3, implied=None)
    assert pending.column("status").to_pylist() == ["pending"] * 3
    assert pending.column("fault").to_pylist() == [None] * 3


def test_a_whole_part_is_given_as_it_is() -> None:
    table = table_of([answer(0), answer(1)], {})
    assert completed(table, first_row=0, rows=2, implied=FaultClass.CANCELLED) is table
