"""How long a run or a trial waits while nobody is answered, and what it says of it.

Time counts while something is said to be in the way (a backend that takes nothing, a
disk), and also while requests go out and every one of them comes back to wait for
its next try: to be refused all the time is to wait as well.
"""

from nightkiln.core.errors import DiskError
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.tally import Tally

_REFUSED = "nobody is answered, every request has to be asked again"


class Patience:
    """One run's. Looked at about ten times a second; decides nothing else."""

    def __init__(self, limit_s: float | None, *, fleet: Fleet, tally: Tally, now: float) -> None:
        self.waiting = ""  # why nothing moves, for screens
        self._limit_s = limit_s  # None: it waits without limit
        self._fleet = fleet
        self._tally = tally
        self._moved_at = now
        self._moved_rows = tally.fresh_rows

    def is_over(self, now: float, trouble: DiskError | None) -> bool:
        """True when nothing has moved for as long as it may; `waiting` then says why."""
        fleet, tally = self._fleet, self._tally
        self.waiting = trouble.message if trouble else fleet.waiting_for()
        refused = fleet.refused_at > self._moved_at  # busy, and yet nobody is answered
        if tally.fresh_rows != self._moved_rows or not (self.waiting or refused):
            self._moved_at, self._moved_rows = now, tally.fresh_rows
        if self._limit_s is None or now - self._moved_at <= self._limit_s:
            return False
        self.waiting = self.waiting or _REFUSED
        return True
