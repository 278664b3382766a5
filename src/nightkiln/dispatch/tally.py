"""Counting rows as they become safe; the mutable side of `core.usage.Totals`."""

from nightkiln.core.fault import FaultClass
from nightkiln.core.usage import NANOS_PER_USD, Totals
from nightkiln.vault.frames import Answered


class Tally:
    """Progress of a job in this process, from answers already safe on disk.

    It starts from the committed counts and only ever grows: when a retry opens
    a chunk again, the store takes its faulted rows out of the counts at once.
    """

    def __init__(self, base: Totals) -> None:
        self._base = base
        self.fresh_rows = 0  # answered by this run
        self.fresh_tokens = 0
        self.fresh_reused = 0  # of the rows of this run: answered by an identical request's answer
        self.not_asked = 0  # bad rows: answered, but by nobody
        self.ok = 0
        self.failed = 0
        self.reused = 0
        self.truncated = 0
        self.attempts = 0  # at least one for each answer; only a part knows of all
        self.input_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self.cost_nanos = 0
        self.unpriced = 0
        self.saved_tokens = 0
        self.saved_nanos = 0
        self.saved_unpriced = 0
        self.faults: dict[str, int] = {}

    def add_fresh(self, answer: Answered) -> None:
        """Count one safe answer that this run brought."""
        self.add(answer)
        self.fresh_rows += 1
        self.fresh_reused += answer.reused
        if answer.attempt is not None:
            self.fresh_tokens += answer.attempt.usage.input_tokens
            self.fresh_tokens += answer.attempt.usage.output_tokens

    def add(self, answer: Answered) -> None:
        """Count one safe answer, whoever brought it."""
        if answer.fault is None:
            self.ok += 1
            self.truncated += answer.finish_reason == "length"
        else:
            self.failed += 1
            self._class(answer.fault.kind, 1)
        if answer.saved is not None:
            self.reused += 1
            self.saved_tokens += answer.saved.tokens
            self.saved_nanos += round((answer.saved.cost_usd or 0.0) * NANOS_PER_USD)
            self.saved_unpriced += answer.saved.cost_usd is None
        attempt = answer.attempt
        if attempt is not None:
            self.attempts += 1
            self.input_tokens += attempt.usage.input_tokens
            self.cached_tokens += attempt.usage.cached_tokens
            self.output_tokens += attempt.usage.output_tokens
            if attempt.cost_usd is not None:
                self.cost_nanos += round(attempt.cost_usd * NANOS_PER_USD)
            else:
                self.unpriced += answer.fault is None

    def _class(self, kind: FaultClass, by: int) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + by

    def totals(self) -> Totals:
        """The sums, the base included."""
        here = Totals(
            ok=self.ok,
            failed=self.failed,
            reused=self.reused,
            truncated=self.truncated,
            attempts=self.attempts,
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
            cost_nanos=self.cost_nanos,
            unpriced=self.unpriced,
            saved_tokens=self.saved_tokens,
            saved_nanos=self.saved_nanos,
            saved_unpriced=self.saved_unpriced,
            faults={str(kind): count for kind, count in self.faults.items()},
        )
        return self._base.plus(here)
