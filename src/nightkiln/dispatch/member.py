"""What a lane is made of: a backend and how to treat it, and what it shares with other lanes."""

from collections.abc import Callable

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.core.usage import Usage
from nightkiln.dispatch.joins import Following
from nightkiln.dispatch.rows import Rows
from nightkiln.dispatch.turns import Asker, Terms, Turnstile
from nightkiln.plan.budget import Budget
from nightkiln.plan.retry import RetryPolicy


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane is told once."""

    slots: int = 64  # at most
    start: int | None = None  # slots to begin with and to adapt from; None: all, and no fewer
    rpm: float | None = None  # requests a minute that the user allows
    tpm: float | None = None  # tokens a minute
    timeout_s: float = 600.0  # of one attempt
    policy: RetryPolicy = RetryPolicy()
    model: str | None = None  # what this backend calls the job's model; None: as the job does

    @property
    def terms(self) -> Terms:
        """What the user allows."""
        return Terms(slots=self.slots, start=self.start, rpm=self.rpm, tpm=self.tpm)


class Dice(msgspec.Struct, frozen=True):
    """Time and chance, handed in so that tests may own them."""

    clock: Callable[[], float]  # epoch seconds
    roll: Callable[[], float]  # uniform in [0, 1)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A backend of a fleet, and how to treat it."""

    backend: PromptBackend
    settings: LaneSettings
    price: Callable[[Usage], float | None]  # USD of a reply, None when unknown
    turnstile: Turnstile | None = None  # where lanes of other jobs may go to the same backend


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What all lanes of a job share."""

    rows: Rows
    joins: Following
    budget: Budget
    dice: Dice
    on_low: Callable[[], None]  # only a round of rows is left
    asker: Asker  # the job, beside others at the same backend
