"""What a run has told the store of its progress, and when it tells more.

Whoever looks from another process sees what the store was told, and takes over from
there if this process dies. So no screen of this one may show more than that, or
progress would go back. For a short job to be seen moving, the first reports follow
each other quickly, and then ever more slowly: each of them is a commit.
"""

from typing import Final

from nightkiln.core.job import Job
from nightkiln.core.usage import Totals

FIRST_S: Final = 0.1  # from the start of a run to the report after the first
REPORT_S: Final = 1.0  # between reports, once a run goes on
_GROWTH: Final = 1.5  # of the pause, with every report: seven reports until it is a second


class Told:
    """One run's word to the store. Reports nothing itself."""

    def __init__(self, job: Job) -> None:
        totals = job.totals
        if job.live is not None and job.live.totals.answered > totals.answered:
            totals = job.live.totals
        self.totals = totals  # which the store has: what may be shown
        self._due_at = 0.0
        self._pause_s = FIRST_S

    def at_least(self, totals: Totals) -> Totals:
        """These, or what was told before: journals not opened yet may hold some of that."""
        return self.totals if totals.answered < self.totals.answered else totals

    def is_due(self, now: float) -> bool:
        """True when it is time for a report; the first is due at once."""
        return now >= self._due_at

    def reports(self, now: float) -> None:
        """A report begins; it may fail, and then the next is due no sooner."""
        self._due_at = now + self._pause_s
        self._pause_s = min(REPORT_S, _GROWTH * self._pause_s)

    def heard(self, totals: Totals) -> None:
        """The store has these."""
        self.totals = totals
