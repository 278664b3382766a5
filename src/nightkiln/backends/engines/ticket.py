"""One request on its way through an engine, shared by the event loop and the pump's thread."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from nightkiln.backends.engines.machine import Generated
from nightkiln.core.fault import Fault

Outcome: TypeAlias = Generated | Fault


class Ticket:
    """What is asked, and the future that learns how it ended.

    `dropped` is written by the loop and read by the thread; the rest belongs to the loop.
    """

    __slots__ = ("deaths", "dropped", "future", "ids", "settings")

    def __init__(
        self, ids: Sequence[int], settings: Any, future: "asyncio.Future[Outcome]"
    ) -> None:
        self.ids = ids
        self.settings = settings
        self.future = future
        self.deaths = 0  # of engines, with this request in flight
        self.dropped = False  # nobody waits for it any more

    def end(self, outcome: Outcome) -> None:
        """Tell whoever waits, unless it has stopped waiting."""
        self.dropped = True
        if not self.future.done():
            self.future.set_result(outcome)
