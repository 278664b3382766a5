"""Who answers for a model here: what whoever makes batches has to know of the configuration.

The configuration itself is no affair of this layer; whoever knows it implements `Models`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from nightkiln.core.job import Task
from nightkiln.service.orders import Order
from nightkiln.wire.anthropic.rules import Thinking

Allow: TypeAlias = Callable[[str, str], bool]
"""Whether the caller may ask this route (`/v1/chat/completions`) of this model."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for a model here."""

    order: Order  # how a job is run that asks it
    model: str  # what such a job calls it
    place: str  # the same for two names of one model at the same backends
    thinking: Thinking = Thinking.NONE  # how it can be told to think
    prefill: bool = False  # it goes on from a last message of the assistant
    priced: bool = True  # what an answer costs is known, so a budget can be kept


class Models(Protocol):
    """The models that this server answers for; its configuration says which."""

    def names(self) -> tuple[str, ...]:
        """Every name a request may use."""
        ...

    def places(self) -> tuple[str, ...]:
        """Every name of a backend that a route may have."""
        ...

    def served(self, model: str, task: Task, route: Sequence[str] = ()) -> Served | None:
        """Who answers, at these endpoints if any are named; None where nobody does."""
        ...
