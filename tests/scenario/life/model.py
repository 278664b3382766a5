"""What is known of a job from what was acknowledged: the model the real thing is held against."""

from nightkiln.core.answer import Answer
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState
from nightkiln.dispatch.openchunk import OpenChunk, Try
from nightkiln.vault.frames import Answered
from nightkiln.worker.window import Window

Said = tuple[str | None, str | None]
"""An answer as the model keeps it: its text, or the class of its fault."""


def said(answer: Answered | Answer) -> Said:
    return answer.text, None if answer.fault is None else str(answer.fault.kind)


class Hands:
    """What one process holds in memory for a job; a crash throws it away."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.tries: dict[int, list[Try]] = {}  # by chunk, rows not answered yet
        self.reported = 0  # the most answered rows this process has shown


class Life:
    """One job and everything that must be true of it."""

    def __init__(self, job: Job, texts: list[str]) -> None:
        self.id: JobId = job.id
        self.texts = texts
        self.generation = job.generation
        self.state = job.state
        self.hands: Hands | None = None
        self.safe: dict[int, Said] = {}  # acknowledged answers of this generation
        self.written: dict[int, Said] = {}  # given to the journal, not acknowledged
        self.asked_again: set[int] = set()
        self.ends = 0  # attempts with an end, over all generations
        self.torn = False  # a power cut may have taken unacknowledged frames
        self.committed = 0  # rows the store said were answered, in this generation
        self.checked: tuple[int, JobState] | None = None  # whose results were compared

    # -- what happens

    def answers(self, chunk: OpenChunk, row: int, answer: Said) -> None:
        """A row got its answer in memory."""
        assert row not in self.safe, f"row {row} was answered before"
        self.written[row] = answer

    def synced(self, rows: set[int]) -> None:
        """These rows' answers were acknowledged."""
        for row in rows:
            self.safe[row] = self.written.pop(row)

    def recovers(self, chunk: OpenChunk) -> None:
        """A chunk was opened: what its journals hold must be what was acknowledged, and more."""
        found = {answer.row: said(answer) for answer in chunk.known_answers()}
        for row, answer in found.items():
            known = self.safe.get(row) or self.written.get(row)
            assert known == answer, f"row {row}: {answer} was never answered so, but {known}"
        rows = {try_.row for try_ in chunk.tries()}
        asked_again = rows & self.safe.keys()
        assert not asked_again, f"rows {asked_again} have a safe answer and would be asked again"
        self.safe.update(found)
        for row in self.rows_of(chunk):
            self.written.pop(row, None)

    def retries(self, job: Job) -> None:
        """The next generation opened: faulted rows are open again."""
        assert job.generation == self.generation + 1
        self.generation, self.committed = job.generation, job.totals.answered
        self.safe = {row: answer for row, answer in self.safe.items() if answer[1] is None}
        self.written = {}

    @staticmethod
    def rows_of(chunk: OpenChunk) -> range:
        real = chunk.lease.chunk
        return range(real.first_row, real.first_row + real.rows)

    # -- what must hold

    def compare(self, rows: list[Said], job: Job) -> None:
        """The results of an ended job against the model."""
        assert len(rows) == job.rows
        implied = (None, "cancelled")
        for row, found in enumerate(rows):
            if row in self.safe:
                assert found == self.safe[row], f"row {row} changed to {found}"
            elif found == implied and job.state is JobState.CANCELLED:
                continue
            else:
                assert found == self.written.get(row), f"row {row}: nobody answered {found}"
        if job.state is JobState.CANCELLED:
            self.safe |= {row: found for row, found in enumerate(rows) if found != implied}
        ok = sum(fault is None for _, fault in rows)
        failed = sum(
            fault is not None and found != implied for found in rows for fault in [found[1]]
        )
        assert (job.totals.ok, job.totals.failed) == (ok, failed)
        if job.state is JobState.SUCCEEDED:
            assert ok == job.rows
        assert job.spent.attempts <= self.ends
        if not self.torn:
            assert job.spent.attempts == self.ends
