"""Named places where a test may kill the process, one at every durable step.

Product code calls `reach("part.renamed")`; it costs a truth test. A crash test
arms one name through the composition root. Nothing here knows how to die: the
action is handed in, so this module stays pure.
"""

from collections.abc import Callable
from typing import Final

POINTS: Final = (
    "source.spooled",
    "job.accepted",
    "segment.written",
    "segment.renamed",
    "ingest.finished",
    "chunk.leased",
    "journal.opened",
    "journal.sent",
    "journal.answered",
    "journal.synced",
    "part.written",
    "part.renamed",
    "part.committed",
    "journal.removed",
    "publish.linked",
    "publish.manifest",
    "job.ended",
    "output.renamed",
    "delete.tombstone",
    "delete.files",
    "retry.opened",
)


class _Armed:
    """The one armed point of this process."""

    name: str | None = None
    left: int = 0
    action: Callable[[], None] | None = None


def arm(name: str, *, nth: int, action: Callable[[], None]) -> None:
    """Run `action` when `name` is reached for the nth time. Raises ValueError."""
    if name not in POINTS:
        raise ValueError(f"no crash point {name!r}; there are: {', '.join(POINTS)}")
    _Armed.name, _Armed.left, _Armed.action = name, nth, action


def disarm() -> None:
    """Forget what was armed."""
    _Armed.name, _Armed.left, _Armed.action = None, 0, None


def reach(name: str) -> None:
    """Say that a durable step is done."""
    if _Armed.name is not None and _Armed.name == name and _Armed.action is not None:
        _Armed.left -= 1
        if _Armed.left == 0:
            _Armed.action()
