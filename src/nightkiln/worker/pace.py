"""How fast rows come in: a moving average that forgets, with a half-life of half a minute.

Rows that were there before the run are never counted, so a resumed job does
not look quick. Nothing here reads a clock.
"""

import math
from typing import Final

HALF_LIFE_S: Final = 30.0
_STEP_S: Final = 0.5


class Pace:
    """Rates over time; `count` takes the sums so far."""

    def __init__(self, now: float) -> None:
        self.started_at = now
        self.rows_per_s = 0.0
        self.tokens_per_s = 0.0
        self._at = now
        self._rows = 0
        self._tokens = 0
        self._weight = 0.0  # how much of the average is real rather than the zero it began as

    def count(self, now: float, *, rows: int, tokens: int) -> None:
        """Take in how many rows and tokens this run has so far."""
        passed = now - self._at
        if passed < _STEP_S:
            return
        keep = math.exp(-passed * math.log(2) / HALF_LIFE_S)
        fresh = 1.0 - keep
        weight = self._weight * keep + fresh
        self.rows_per_s = _mix(
            self.rows_per_s, self._weight * keep, (rows - self._rows) / passed, fresh, weight
        )
        self.tokens_per_s = _mix(
            self.tokens_per_s, self._weight * keep, (tokens - self._tokens) / passed, fresh, weight
        )
        self._weight, self._at, self._rows, self._tokens = weight, now, rows, tokens


def _mix(old: float, old_weight: float, new: float, new_weight: float, whole: float) -> float:
    return (old * old_weight + new * new_weight) / whole
