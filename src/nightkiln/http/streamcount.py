"""How many streams of events are open: only so many, in all and by key.

Each holds a connection and looks into the store twice a second.
"""

from collections import Counter
from typing import Final

from nightkiln.core.access import KeyId
from nightkiln.http.errors import Refuse
from nightkiln.http.shapes import Problem

_RETRY_S: Final = 5.0


class Streams:
    """The streams of one server, by the key that listens."""

    def __init__(self) -> None:
        self._open: Counter[KeyId] = Counter()

    def begin(self, key: KeyId, *, each: int, most: int) -> None:
        """Count one more. Raises Refuse where that is too many."""
        if self._open[key] >= each:
            raise Refuse(_too_many(f"This API key has {each} streams of events open"))
        if self._open.total() >= most:
            raise Refuse(_too_many("This server has no room for another stream of events"))
        self._open[key] += 1

    def end(self, key: KeyId) -> None:
        """Count one less."""
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]


def _too_many(what: str) -> Problem:
    return Problem(
        status=429,
        code="too_many_streams",
        message=f"{what}; close one, or ask /events without /stream.",
        retry_after_s=_RETRY_S,
    )
