"""The models that a server answers for: those of its configuration, and no others.

A request may name an alias, a model that an endpoint lists, or the model that the
settings name for all. What is not configured is not asked, whatever a server out
there might know: whoever sends a batch does not choose where prompts go.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.app.choice import PILOT
from nightkiln.app.fleets import targets_of
from nightkiln.app.targets import Target, order_under
from nightkiln.config import Settings
from nightkiln.core.errors import UsageError
from nightkiln.core.job import PromptSpec, Task
from nightkiln.service.answering import Served
from nightkiln.service.orders import Order
from nightkiln.wire.anthropic.rules import Thinking

_MADE: Final = PromptSpec()


class ServedModels:
    """Implements `service.answering.Models` over settings that do not change."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self) -> tuple[str, ...]:
        """Every name a request may use, in the order of the configuration."""
        found = [*self._settings.models]
        found += [name for one in self._settings.endpoints.values() for name in one.models]
        if self._settings.model is not None:
            found.append(self._settings.model)
        return tuple(dict.fromkeys(found))

    def places(self) -> tuple[str, ...]:
        """Every name of a backend that a route may have."""
        return tuple(self._settings.endpoints)

    def served(self, model: str, task: Task, route: Sequence[str] = ()) -> Served | None:
        """Who answers, at these endpoints if any are named; None where nobody does."""
        if model not in self.names() or any(one not in self._settings.endpoints for one in route):
            return None
        order = order_under(self._order(model, task, route), self._settings)
        try:
            targets = targets_of(order, self._settings)
        except UsageError:
            return None
        if route and {one.endpoint for one in targets} != {*route}:
            return None  # the model is not there
        named = targets[0].order
        if named.endpoint is None and task is Task.EMBEDDING and named.model in (None, PILOT):
            return None
        told = [self._settings.endpoints[one.endpoint] for one in targets if one.endpoint]
        thinking = {one.thinking for one in told}
        return Served(
            order=order,
            model=named.model or PILOT,
            place=_place(targets),
            # All of them have to understand what the lines say, for any may be asked any line.
            thinking=Thinking(thinking.pop() if len(thinking) == 1 else "none"),
            prefill=bool(told) and all(one.prefill for one in told),
            priced=all(_is_priced(one) for one in targets),
        )

    def _order(self, model: str, task: Task, route: Sequence[str]) -> Order:
        """The order that asks a model, its endpoints named where several list it."""
        places = [*route]
        if not places and model not in self._settings.models:
            known = self._settings.endpoints.items()
            places = [name for name, one in known if model in one.models]
        return Order(
            input="",
            output=None,
            prompt=_MADE,
            model=model,
            task=task,
            endpoint=next(iter(places), None),
            more_endpoints=tuple(places[1:]),
        )


def _place(targets: Sequence[Target]) -> str:
    """The same for two names of one model at the same backends."""
    found = sorted(
        (one.order.endpoint or "", one.order.model or "", one.model_there or "") for one in targets
    )
    return msgspec.json.encode(found).decode()


def _is_priced(target: Target) -> bool:
    """True where the price of an answer is known; on this machine there is none to pay."""
    url = target.order.endpoint
    if url is None:
        return True
    model = target.model_there or target.order.model or PILOT
    return target.prices.price_of(model, url, on=dt.datetime.now(dt.UTC)) is not None


def is_on_this_machine(order: Order, settings: Settings) -> bool:
    """True for an order whose model runs in an engine of ours. Raises UsageError."""
    return targets_of(order, settings)[0].order.endpoint is None
