"""The protocol between an engine's process and what it drives: an engine that works in steps."""

import re
from typing import Final, Protocol

from nightkiln.backends.engines.messages import Ask, Ended, Learn, Loaded

_PLACE: Final = re.compile(r"^.*\.(?:cc|cpp|hpp|h):\d+:?\s*")  # a line of the engine's own sources


class NotTaken(ValueError):
    """A request that the machine refuses; its row's own fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Machine(Protocol):
    """A loaded model that answers many requests together, one step at a time.

    Made of a `Load`. Knows requests by their numbers. Whatever else than
    `NotTaken` comes out of here means that the machine is gone.
    """

    def loaded(self) -> Loaded:
        """What only the engine knows about its model."""
        ...

    def learn(self, learn: Learn) -> None:
        """Remember a way of sampling."""
        ...

    def forget(self, numbers: list[int]) -> None:
        """These ways of sampling will not be named again."""
        ...

    def begin(self, ask: Ask) -> None:
        """Take a request in. Raises NotTaken for one that cannot be taken."""
        ...

    def step(self) -> None:
        """Bring every request one step further."""
        ...

    def finished(self) -> list[Ended]:
        """The requests that have ended; each is told once."""
        ...

    def cancel(self, number: int) -> None:
        """Give up a request, if it is still there; it is never told as finished."""
        ...


def words_of(problem: BaseException) -> str:
    """What an engine says went wrong, less the places in its own sources."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (_PLACE.sub("", lines[-1]) if lines else "") or type(problem).__name__
