"""Parts: a chunk's finished answers, one immutable Parquet file with a fixed schema.

A part may hold fewer rows than its chunk (a job that was cancelled or expired);
readers synthesise the rows without an answer as implied faults. `cost_usd` is
null when the price is unknown and 0 for our own engines.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.vault.durable import disk_errors, replacing, whole
from nightkiln.vault.recovery import UNENDED

ATTEMPT: Final = pa.struct(
    [
        ("number", pa.int32()),
        ("backend", pa.string()),
        ("sent_at", pa.timestamp("ms", tz="UTC")),
        ("latency_ms", pa.float64()),
        ("fault", pa.string()),
        ("code", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("request_id", pa.string()),
        ("http_status", pa.int32()),  # of a fault that came over HTTP
    ]
)
SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        ("custom_id", pa.string()),
        pa.field("status", pa.string(), nullable=False),  # ok, error
        ("answer", pa.string()),
        ("fault", pa.string()),
        ("fault_message", pa.string()),
        ("finish_reason", pa.string()),
        ("input_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("latency_ms", pa.float64()),
        ("backend", pa.string()),
        ("model", pa.string()),
        ("reused", pa.bool_()),
        ("attempts", pa.list_(ATTEMPT)),
        ("body", pa.binary()),
    ]
)
IMPLIED: Final = {
    FaultClass.CANCELLED: "the job was cancelled before this row had an answer",
    FaultClass.EXPIRED: "the job's deadline came before this row had an answer",
}


def table_of(answers: Sequence[Answer], ids: Mapping[int, str]) -> pa.Table:
    """Answers in row order as a table of the part schema."""
    lasts = [answer.last for answer in answers]
    usages = [_row_usage(answer.attempts) for answer in answers]
    faults = [answer.fault for answer in answers]
    columns = [
        [answer.row for answer in answers],
        [ids.get(answer.row) for answer in answers] if ids else [None] * len(answers),
        ["ok" if fault is None else "error" for fault in faults],
        [answer.text for answer in answers],
        [None if fault is None else str(fault.kind) for fault in faults],
        [None if fault is None else _said(fault) for fault in faults],
        [answer.finish_reason or None for answer in answers],
        [usage[0] for usage in usages],
        [usage[1] for usage in usages],
        [usage[2] for usage in usages],
        [usage[3] for usage in usages],
        [None if last is None else last.latency_ms for last in lasts],
        [None if last is None else last.backend for last in lasts],
        [answer.model or None for answer in answers],
        [answer.reused for answer in answers],
    ]
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=False)
    ]
    arrays.append(_attempts([answer.attempts for answer in answers]))
    arrays.append(pa.array([answer.body for answer in answers], type=pa.binary()))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _said(fault: Fault) -> str:
    return f"{fault.code}: {fault.message}" if fault.message else fault.code


def _row_usage(attempts: tuple[Attempt, ...]) -> tuple[int, int, int, float | None]:
    """Tokens and cost over all attempts; unknown if the price of any billed one is."""
    if len(attempts) == 1:
        usage = attempts[0].usage
        return usage.input_tokens, usage.cached_tokens, usage.output_tokens, attempts[0].cost_usd
    tokens_in = tokens_cached = tokens_out = 0
    cost: float | None = 0.0
    for attempt in attempts:
        tokens_in += attempt.usage.input_tokens
        tokens_cached += attempt.usage.cached_tokens
        tokens_out += attempt.usage.output_tokens
        if attempt.cost_usd is None:
            cost = None if attempt.usage.output_tokens or attempt.fault is None else cost
        elif cost is not None:
            cost += attempt.cost_usd
    return tokens_in, tokens_cached, tokens_out, cost


def _attempts(lists: list[tuple[Attempt, ...]]) -> pa.Array:
    flat = [attempt for attempts in lists for attempt in attempts]
    offsets = pa.array([0, *accumulate(map(len, lists))], type=pa.int32())
    columns = [
        [a.number for a in flat],
        [a.backend for a in flat],
        [int(a.sent_at * 1000) for a in flat],
        [a.latency_ms for a in flat],
        [None if a.fault is None else str(a.fault.kind) for a in flat],
        [None if a.fault is None else a.fault.code for a in flat],
        [a.usage.input_tokens for a in flat],
        [a.usage.output_tokens for a in flat],
        [a.cost_usd for a in flat],
        [a.request_id or None for a in flat],
        [None if a.fault is None else a.fault.status for a in flat],
    ]
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, ATTEMPT, strict=True)]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=[*ATTEMPT]))


def spent_on(attempts: Iterable[Attempt]) -> Totals:
    """What these attempts add to the ledger; those without an end only as maybe billed."""
    ended = maybe = tokens_in = tokens_cached = tokens_out = nanos = unpriced = 0
    for attempt in attempts:
        if attempt.fault is not None and attempt.fault.code == UNENDED:
            maybe += 1
            continue
        ended += 1
        if attempt.fault is None or attempt.usage.output_tokens:
            unpriced += attempt.cost_usd is None
        elif attempt.fault.kind is FaultClass.AMBIGUOUS:
            maybe += 1
        tokens_in += attempt.usage.input_tokens
        tokens_cached += attempt.usage.cached_tokens
        tokens_out += attempt.usage.output_tokens
        nanos += round((attempt.cost_usd or 0.0) * NANOS_PER_USD)
    return Totals(
        attempts=ended,
        maybe_billed=maybe,
        input_tokens=tokens_in,
        cached_tokens=tokens_cached,
        output_tokens=tokens_out,
        cost_nanos=nanos,
        unpriced=unpriced,
    )


class PartWriter:
    """Hashes what passes through, so a part's sha256 costs no second read."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self.digest.update(data)
        self.size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._out.flush()


def write_part(path: Path, table: pa.Table) -> tuple[str, int]:
    """Write a part durably; its sha256 and size in bytes. Raises DiskError."""
    with (
        disk_errors("writing a part"),
        replacing(path, written="part.written", renamed="part.renamed") as out,
    ):
        hashing = PartWriter(out)
        pq.write_table(
            table, pa.PythonFile(hashing, mode="w"), compression="zstd", compression_level=1
        )
        return hashing.digest.hexdigest(), hashing.size


def read_part(path: Path) -> pa.Table:
    """A part as it was written."""
    with whole(path):
        return pq.read_table(path, use_threads=False, partitioning=None)


def totals_of(table: pa.Table) -> Totals:
    """The counts of a part's rows: answered, failed by class, truncated, reused, usage."""
    tried = [chunk.flatten() for chunk in table.column("attempts").chunks]
    codes = [code for attempts in tried for code in attempts.field("code").to_pylist()]
    kinds = [kind for attempts in tried for kind in attempts.field("fault").to_pylist()]
    statuses = table.column("status").to_pylist()
    faults: dict[str, int] = {}
    for kind in table.column("fault").to_pylist():
        if kind is not None:
            faults[kind] = faults.get(kind, 0) + 1
    ok = statuses.count("ok")
    costs = table.column("cost_usd").to_pylist()
    return Totals(
        ok=ok,
        failed=len(statuses) - ok,
        reused=sum(table.column("reused").to_pylist()),
        truncated=table.column("finish_reason").to_pylist().count("length"),
        attempts=len(codes) - codes.count(UNENDED),
        maybe_billed=kinds.count(FaultClass.AMBIGUOUS),
        input_tokens=sum(table.column("input_tokens").to_pylist()),
        cached_tokens=sum(table.column("cached_tokens").to_pylist()),
        output_tokens=sum(table.column("output_tokens").to_pylist()),
        cost_nanos=sum(round((cost or 0.0) * NANOS_PER_USD) for cost in costs),
        unpriced=sum(
            cost is None for cost, status in zip(costs, statuses, strict=True) if status == "ok"
        ),
        faults=faults,
    )


def completed(
    part: pa.Table | None, *, first_row: int, rows: int, implied: FaultClass | None
) -> pa.Table:
    """The chunk's rows from first to last: the part's, and implied faults where it has none.

    Without an implied fault, missing rows get the status `pending`.
    """
    if part is not None and part.num_rows == rows:
        return part
    table = SCHEMA.empty_table() if part is None else part
    have = set(table.column("row").to_pylist())
    missing = [row for row in range(first_row, first_row + rows) if row not in have]
    fault = None if implied is None else str(implied)
    said = None if implied is None else IMPLIED[implied]
    nothing = {name: [None] * len(missing) for name in SCHEMA.names}
    filler = nothing | {
        "row": missing,
        "status": ["pending" if implied is None else "error"] * len(missing),
        "fault": [fault] * len(missing),
        "fault_message": [said] * len(missing),
        "reused": [False] * len(missing),
        "attempts": [[] for _ in missing],
    }
    whole = pa.concat_tables([table, pa.table(filler, schema=SCHEMA)])
    return whole.sort_by("row")
