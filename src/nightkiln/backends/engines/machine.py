"""The protocol between the pump and what it drives: an engine that works in steps."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

Handle: TypeAlias = Any  # whatever the engine calls a request of ours; opaque to the pump


class Generated(msgspec.Struct, frozen=True):
    """The end of one request in the engine."""

    ids: list[int]
    reason: str  # stop, length, or exhausted: the engine's memory holds no such request


class Machine(Protocol):
    """A loaded model that answers many requests together, one step at a time.

    Only ever touched by the thread that loaded it. A raise from `begin` refuses
    that one request; a raise from `step` means that the machine is gone.
    """

    def begin(self, ids: Sequence[int], settings: Any) -> Handle:
        """Take a request in. Raises ValueError for one that cannot be taken."""
        ...

    def step(self) -> None:
        """Bring every request one step further."""
        ...

    def finished(self, handles: Sequence[Handle]) -> list[tuple[Handle, Generated]]:
        """Those of these requests that have ended; each is told once."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Give up a request; it is never told as finished."""
        ...
