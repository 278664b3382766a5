"""OpenAI's batch lines out: one line a row in input order, replies here and failures there.

Raw replies are written as they were received. A row that was never asked (its
line was bad, or the job was cancelled before) is a failure with a reason.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from nightkiln.core.fault import FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.job import Task
from nightkiln.tables.base import LINE_COLUMN
from nightkiln.tables.batch_in import ID
from nightkiln.tables.fields import Picker, text_of
from nightkiln.tables.pieces import bounded
from nightkiln.wire.batchlines import Answered, Outcome, body_of, line_of

if TYPE_CHECKING:
    import pyarrow as pa

_OK: Final = 200
_PENDING: Final = "pending"
_COLUMNS: Final = (
    "row",
    "custom_id",
    "status",
    "answer",
    "fault",
    "fault_message",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "model",
    "body",
    "attempts",
)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines went where."""

    replies: int
    failures: int

    @property
    def lines(self) -> int:
        """All lines."""
        return self.replies + self.failures


class BatchWriter:
    """Writes the lines of one job."""

    def __init__(self, job: JobId, task: Task) -> None:
        self._tail = job.rpartition("_")[2]
        self._task = task
        self._picker = Picker((ID,))

    def write(
        self, out: BinaryIO, errors: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]
    ) -> Written:
        """Write inputs with their parts, aligned; rows without an end yet are left out.

        When both are one stream, its lines are in the order of the input.
        """
        replies = failures = 0
        for inputs, part in bounded(pieces):
            good: list[bytes] = []
            bad: list[bytes] = good if errors is out else []
            for _, _, outcome in self.outcomes(inputs, part):
                (good if outcome.is_reply else bad).append(line_of(outcome))
                failures += not outcome.is_reply
                replies += outcome.is_reply
            out.write(b"".join(good))
            if bad is not good:
                errors.write(b"".join(bad))
        return Written(replies=replies, failures=failures)

    def outcomes(
        self, inputs: "pa.Table", part: "pa.Table"
    ) -> Iterator[tuple[int, str | None, Outcome]]:
        """What became of each row that has an end, with its number and its line of the input."""
        lines = inputs.column(LINE_COLUMN).to_pylist()
        columns = [part.column(name).to_pylist() for name in _COLUMNS]
        for line, *values in zip(lines, *columns, strict=True):
            found = dict(zip(_COLUMNS, values, strict=True))
            if found["status"] != _PENDING:
                yield found["row"], line, self._outcome(line, found)

    def _outcome(self, line: str | None, found: dict[str, Any]) -> Outcome:
        row = f"{self._tail}{found['row']:08x}"
        last = found["attempts"][-1] if found["attempts"] else {}
        custom_id = found["custom_id"] or text_of(self._picker.raws(line or "{}")[0]) or None
        request_id = last.get("request_id") or f"req_{row}"
        if found["fault"] is None:
            return Outcome(
                id=f"batch_req_{row}",
                custom_id=custom_id,
                request_id=request_id,
                status=_OK,
                body=found["body"] or body_of(self._task, row, _answered(found)),
            )
        code, _, message = (found["fault_message"] or "").partition(": ")
        return Outcome(
            id=f"batch_req_{row}",
            custom_id=custom_id,
            request_id=request_id,
            status=last.get("http_status"),
            body=found["body"],
            fault=FaultClass(found["fault"]),
            code=code,
            message=message,
        )


def _answered(found: dict[str, Any]) -> Answered:
    return Answered(
        text=found["answer"] or "",
        finish_reason=found["finish_reason"],
        input_tokens=found["input_tokens"] or 0,
        output_tokens=found["output_tokens"] or 0,
        model=found["model"] or "",
    )
