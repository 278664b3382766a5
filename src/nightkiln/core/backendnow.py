"""How a backend stands at this moment, in counts: what a look at the fleet shows."""

import enum

import msgspec

from nightkiln.core.ids import ProjectId


class Door(enum.StrEnum):
    """Whether requests go to a backend."""

    CLOSED = "closed"  # the breaker is: all goes
    OPEN = "open"  # it is down: only probes go
    PARKED = "parked"  # a person has to act: money, credential or model


class BackendNow(msgspec.Struct, frozen=True, kw_only=True):
    """A backend with a model. All that goes there is counted together, whoever sent it."""

    name: str  # as the settings call it, else its host; never a URL
    model: str  # as the backend calls it; empty: it may be asked for any, and is not now
    slots: int  # requests in flight at most
    limit: int  # of them what it is believed to bear now
    in_flight: int = 0
    breaker: Door = Door.CLOSED
    waits_s: float = 0.0  # until the next request may go, as far as that is known
    names: tuple[str, ...] = ()  # by which the settings let requests ask for it
    projects: frozenset[ProjectId] = frozenset()  # whose jobs go there now
