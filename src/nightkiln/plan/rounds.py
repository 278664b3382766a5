"""The round a limiter is in: what was sent in it, what came back, and when it is over.

A limit can be judged only by what was sent under it, and that comes back one latency
later. So time is cut into rounds: one is over when most of what may be in flight was sent in
it and has come back. It lasts about one latency, whatever that is.

Pure: `now` is in seconds. Nothing here judges or changes a limit.
"""

import math
from typing import Final

_TURNED: Final = 0.75  # of the limit has to come back in a round
_ENOUGH: Final = 24  # answers in a round
_LEAST_S: Final = 0.02
_TOKENS: Final = 32.0  # an answer takes a time of its own, and some per token: this many tokens'


class Round:
    """One round after another. Not shared between threads."""

    __slots__ = (
        "_latency",
        "_turned",
        "answers",
        "began",
        "first",
        "lagged",
        "number",
        "peak",
        "sent",
    )

    def __init__(self) -> None:
        self.number = 0
        self.sent = 0  # the number of the last request
        self.first = 0  # of the round
        self.began = math.nan
        self.answers = 0  # all that came back in it
        self.peak = 0  # in flight
        self.lagged = False  # our own loop was late
        self._turned = 0  # of the answers, those to what was sent in it
        self._latency = 0.0  # sum, normalised by length

    @property
    def latency(self) -> float:
        """What an answer took on average, normalised by length."""
        return self._latency / self.answers

    def answered(
        self, now: float, stamp: int, *, latency_s: float, tokens: int, limit: float
    ) -> bool:
        """An answer came; True when the round is over."""
        self.answers += 1
        self._latency += latency_s / (_TOKENS + tokens)
        if stamp < self.first:
            return False
        self._turned += 1
        return (
            self._turned >= _TURNED * limit
            and self.answers >= _ENOUGH
            and now - self.began >= _LEAST_S
        )

    def next(self, now: float) -> None:
        """Begin another round."""
        self.number += 1
        self.first = self.sent + 1
        self.began = now
        self.answers = self._turned = self.peak = 0
        self._latency = 0.0
        self.lagged = False
