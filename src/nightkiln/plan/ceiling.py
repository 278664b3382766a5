"""How many requests may be in flight once a backend has said that it is too many.

A fixed number of slots against a rate limit turns into a storm: all come back
with 429, wait as told, and go out together again. So a throttle lowers a
ceiling under the slots, at most once in ROUND_S, and answers raise it slowly:
quick growth would be the next storm. Without throttles it never shows.

Finding a backend's capacity is another matter and not done here. Time comes in
as `now`.
"""

from typing import Final

ROUND_S: Final = 0.1
CUT: Final = 0.7
GROWTH: Final = 0.1  # of one request, in a round of answers


class Ceiling:
    """One backend's ceiling. Not shared between threads."""

    __slots__ = ("_cut_at", "_slots", "limit")

    def __init__(self, slots: int) -> None:
        self._slots = float(slots)
        self._cut_at = float("-inf")
        self.limit = float(slots)

    @property
    def is_low(self) -> bool:
        """True while it is lower than the slots."""
        return self.limit < self._slots

    def on_throttle(self, now: float, *, in_flight: int) -> None:
        """The backend refused a request because we are too many or too quick."""
        if now - self._cut_at >= ROUND_S:
            self._cut_at = now
            self.limit = max(1.0, CUT * min(self.limit, float(in_flight)))

    def on_ok(self) -> None:
        """The backend answered."""
        if self.limit < self._slots:
            self.limit = min(self._slots, self.limit + GROWTH / self.limit)
