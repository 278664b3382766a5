"""One request on its way through an engine."""

import asyncio
from typing import TypeAlias

from nightkiln.backends.engines.asking import EngineSampling
from nightkiln.backends.engines.messages import Ended
from nightkiln.core.fault import Fault

Outcome: TypeAlias = Ended | Fault


class Kind:
    """A way of sampling that many requests share, under a number of its own."""

    __slots__ = ("is_proven", "number", "refusal", "said", "trial")

    def __init__(self, number: int, said: EngineSampling) -> None:
        self.number = number
        self.said = said
        self.trial: asyncio.Task[Fault | None] | None = None  # while what may crash one is tried
        self.refusal: Fault | None = None  # why no engine takes it
        self.is_proven = False  # tried, and an engine survived it

    @property
    def is_risky(self) -> bool:
        """True for what an engine compiles: it may crash of it."""
        return self.said.schema is not None


class Ticket:
    """What is asked, and the future that learns how it ended."""

    __slots__ = ("deadline", "deaths", "future", "ids", "is_trial", "kind", "text")

    def __init__(
        self, kind: Kind, *, ids: bytes = b"", text: str = "", is_trial: bool = False
    ) -> None:
        self.kind = kind
        self.ids = ids
        self.text = text
        self.is_trial = is_trial  # asked for the kind's sake, alone; nobody wants the answer
        self.deadline = 0.0  # event loop time
        self.deaths = 0  # of engines, with this request in flight
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """True when nobody waits for it any more."""
        return self.future.done()

    def end(self, outcome: Outcome) -> None:
        """Tell whoever waits, unless it has stopped waiting."""
        if not self.future.done():
            self.future.set_result(outcome)
