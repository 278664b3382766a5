"""The start of a limit: which doublings brought more answers a second, and which did not.

Pure arithmetic over rounds. What follows from it is the limiter's to do.
"""

import math
from typing import Final

GAIN: Final = 0.03  # more answers a second than this are more
CHANCE: Final = 1.2  # over the root of the answers: what chance alone may bring
VAIN: Final = 2  # doublings in a row: enough


class Ramp:
    """Doublings from one limit on. Not shared between threads."""

    __slots__ = ("_best_rate", "_vain", "before", "best")

    def __init__(self, limit: float) -> None:
        self.before = limit  # the limit of the round before
        self.best = limit
        self._best_rate = 0.0
        self._vain = 0  # doublings in a row that brought nothing

    @property
    def is_over(self) -> bool:
        """True when more brings nothing."""
        return self._vain >= VAIN

    def pays(self, rate: float, answers: int, limit: float) -> bool:
        """A round is over: did the last doubling bring more?

        What came back was mostly sent under the limit of the round before.
        """
        more = rate > self._best_rate * (1 + max(GAIN, CHANCE / math.sqrt(answers)))
        if more:
            self._best_rate, self.best, self._vain = rate, self.before, 0
        else:
            self._vain += 1
        self.before = limit
        return more
