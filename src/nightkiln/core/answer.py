"""What is recorded for a row: attempts, and at the end exactly one answer."""

import msgspec

from nightkiln.core.fault import Fault
from nightkiln.core.limits import Limits
from nightkiln.core.usage import Saved, Usage


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A backend's good reply to one request."""

    text: str
    finish_reason: str = ""
    usage: Usage = Usage()
    model: str = ""  # the model the backend says it used
    request_id: str = ""
    body: bytes | None = None  # the raw reply, kept for wire jobs
    limits: Limits | None = None  # what it said of rate limits, now and then


class Attempt(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One try at a row's request that has an end."""

    number: int  # 1 for the first try of a generation
    backend: str
    sent_at: float  # epoch seconds
    latency_ms: float
    usage: Usage = Usage()
    cost_usd: float | None = None  # None: the price is unknown
    fault: Fault | None = None  # None: this attempt brought the result
    request_id: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row's answer: a result (`fault` is None) or a fault, with all its attempts."""

    row: int
    text: str | None = None
    fault: Fault | None = None
    finish_reason: str = ""
    model: str = ""
    reused: bool = False
    saved: Saved | None = None  # of a reused answer: what it would have taken to ask
    body: bytes | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The attempt that brought this answer."""
        return self.attempts[-1] if self.attempts else None
