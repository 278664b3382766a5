"""What the journals of a chunk say, put together after whatever happened.

Frames of several epochs may repeat (bytes that were not known to be synced are
written again under the next epoch), so everything is keyed by row and attempt
number, and the first answer of a row wins.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from nightkiln.core.answer import Answer, Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.vault.frames import Answered, Faulted, Frame, Sent, decode

POISON_DEATHS: Final = 2  # deaths of a worker with the row in flight before it is given up
UNENDED: Final = "worker_died"  # the code of an attempt that was sent and has no end


class Recovered:
    """Everything known of one chunk's rows before its next epoch begins."""

    def __init__(self) -> None:
        self.answers: dict[int, Answered] = {}
        self._ended: dict[int, dict[int, Attempt]] = {}
        self._unended: dict[int, dict[int, Attempt]] = {}

    def absorb(self, frames: Iterable[Frame]) -> None:
        """Take in one epoch's frames; epochs in order, oldest first."""
        for frame in frames:
            match frame:
                case Sent(tries=tries):
                    for row, number in tries:
                        self._sent(frame, row, number)
                case Faulted(row=row, attempt=attempt):
                    self._end(row, attempt)
                case Answered(row=row, attempt=attempt):
                    if attempt is not None:
                        self._end(row, attempt)
                    self.answers.setdefault(row, frame)

    def _sent(self, frame: Sent, row: int, number: int) -> None:
        if number not in self._ended.get(row, {}):
            self._unended.setdefault(row, {})[number] = _unended(frame, number)

    def _end(self, row: int, attempt: Attempt) -> None:
        self._unended.get(row, {}).pop(attempt.number, None)
        self._ended.setdefault(row, {}).setdefault(attempt.number, attempt)

    def attempts(self, row: int) -> list[Attempt]:
        """The row's attempts in order; those without an end carry the code `worker_died`."""
        known = self._ended.get(row, {}) | self._unended.get(row, {})
        return [known[number] for number in sorted(known)]

    def rows_tried(self) -> set[int]:
        """Rows with at least one attempt."""
        return self._ended.keys() | self._unended.keys()

    def deaths(self, row: int) -> int:
        """How many workers died with this row in flight.

        A row is in flight at most once at a time, so each death leaves exactly
        one attempt without an end. A clean stop ends every attempt.
        """
        return len(self._unended.get(row, {}))

    def answer(self, row: int) -> Answer | None:
        """The row's answer with all its attempts, if it has one."""
        found = self.answers.get(row)
        return None if found is None else whole(found, self.attempts(row))


def whole(frame: Answered, attempts: Iterable[Attempt]) -> Answer:
    """An answer frame with the attempts that led to it."""
    return Answer(
        row=frame.row,
        text=frame.text,
        fault=frame.fault,
        finish_reason=frame.finish_reason,
        model=frame.model,
        reused=frame.reused,
        saved=frame.saved,
        body=frame.body,
        attempts=tuple(attempts),
    )


def _unended(frame: Sent, number: int) -> Attempt:
    return Attempt(
        number=number,
        backend=frame.backend,
        sent_at=frame.at,
        latency_ms=0.0,
        fault=Fault(kind=FaultClass.AMBIGUOUS, code=UNENDED, message="no end was recorded"),
    )


def recover(journals: Iterable[tuple[int, Path]]) -> Recovered:
    """Read all journals of a chunk, oldest epoch first."""
    known = Recovered()
    for _, path in journals:
        known.absorb(decode(path.read_bytes()))
    return known
