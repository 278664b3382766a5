"""Faults: the typed failures of a request, and how each class treats row and backend.

A fault is a value. What decides a class is written in `wire.classify`; what a
class leads to is decided in `plan`. The taxonomy is the one of our design.
"""

import enum
from typing import Final

import msgspec

MESSAGE_LIMIT: Final = 500  # characters of a provider's own words that we keep


class FaultClass(enum.StrEnum):
    """What kind of failure it is; the value is what users see in the `fault` column."""

    TRANSIENT = "transient"  # the backend stumbled: retried, and counted
    OVERLOAD = "overload"  # the backend is full: retried elsewhere or later
    THROTTLE = "throttle"  # our rate is too high: waits, never counted
    QUOTA = "quota"  # no money or quota left: the backend is parked, rows wait
    AUTH = "auth"  # the credential is refused: the backend is parked, rows wait
    ROUTE = "route"  # this backend does not serve the model
    PERMANENT = "permanent"  # the request itself is refused: never retried
    CONTENT = "content"  # refused by a content policy: never retried blindly
    INCOMPLETE = "incomplete"  # an answer cut short
    PROTOCOL = "protocol"  # not the answer the protocol promises: retried twice
    AMBIGUOUS = "ambiguous"  # sent, no answer seen: may have been billed
    POISON = "poison"  # in flight at two deaths of a worker
    LOCAL = "local"  # our own machine: row untouched
    EXPIRED = "expired"  # no answer before the deadline (implied by readers)
    CANCELLED = "cancelled"  # no answer before the cancel (implied by readers)


COUNTED: Final = frozenset(
    {FaultClass.TRANSIENT, FaultClass.PROTOCOL, FaultClass.AMBIGUOUS, FaultClass.OVERLOAD}
)  # these use up a row's attempts (overload only after its grace)
FINAL: Final = frozenset({FaultClass.PERMANENT, FaultClass.CONTENT, FaultClass.POISON})
PARKING: Final = frozenset({FaultClass.QUOTA, FaultClass.AUTH, FaultClass.ROUTE})


class Fault(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One failure of one attempt.

    `code` is stable and short (`http_500`, `context_length_exceeded`);
    `message` is at most `MESSAGE_LIMIT` characters of the provider's own words.
    """

    kind: FaultClass
    code: str
    message: str = ""
    status: int | None = None  # the HTTP status, where there was one
    retry_after_s: float | None = None  # what the backend asked us to wait
    sent: bool = True  # False: no byte of the request left us, so nothing can be billed
    unreachable: bool = False  # no connection: says nothing about the row
    body: bytes | None = None  # the reply it came in; recorded for wire jobs only, never shown

    def without_body(self) -> "Fault":
        """The same without the reply it came in."""
        return self if self.body is None else msgspec.structs.replace(self, body=None)
