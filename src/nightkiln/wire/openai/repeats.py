"""Whether a request for a batch is one that was answered before. Pure.

Clients of OpenAI send a POST again after a timeout or a 5xx, without any
idempotency key, and count the tries in a header. A second batch from one call
would cost twice, so a repetition is recognised, most certain sign first:

1. An idempotency key: the same key and the same request is the same batch, for as
   long as the batch is known; the same key and another request is refused.
2. A count of retries above 0: the same call, tried again. The newest batch that
   was asked for with the same words within RETRIED_S is its batch, over or not:
   a batch may well end before the client that lost the answer asks again. The
   span is three tries of the ten minutes that these clients wait by default.
3. A count of 0: a new call. Whoever calls twice wants two batches.
4. No count: not one of these clients. The same words within REPEATED_S are the
   same batch unless that is over, for then somebody wants it again.

The decision and the record of the new batch have to be one transaction, or two
tries at once make two batches.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from nightkiln.wire.openai.refusals import Refusal

RETRY_HEADER: Final = "x-stainless-retry-count"
KEY_HEADER: Final = "idempotency-key"
REPEATED_S: Final = 300.0
RETRIED_S: Final = 1800.0
LONGEST: Final = 255  # characters of a key
_DIGITS: Final = 9  # of a count that is believed


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a batch that was made."""

    batch_id: str
    caller: str  # who asked; a project and a key, in one word
    digest: str  # of what was asked: `CreateBatch.digest`
    key: str | None = None  # the idempotency key, where one came
    created_at: float  # epoch seconds
    over: bool = False  # the batch is terminal


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a batch, as far as repetition goes."""

    caller: str
    digest: str
    key: str | None = None
    retries: int | None = None  # tries before this one; None: the client does not count
    at: float  # epoch seconds


def same_creation(asked: Asked, known: Iterable[Creation]) -> Creation | Refusal | None:
    """The batch that this request is about already; None when it wants a new one.

    `known` need not hold more than the caller's batches with this key or of the
    last RETRIED_S seconds; others do no harm.
    """
    mine = [one for one in known if one.caller == asked.caller]
    if asked.key is not None:
        return _keyed(asked, mine)
    if asked.retries == 0:
        return None
    alike = [one for one in mine if one.digest == asked.digest and _is_recent(one, asked)]
    return max(alike, key=lambda one: one.created_at, default=None)


def _is_recent(one: Creation, asked: Asked) -> bool:
    age = asked.at - one.created_at
    return age <= RETRIED_S if asked.retries else age <= REPEATED_S and not one.over


def _keyed(asked: Asked, mine: list[Creation]) -> Creation | Refusal | None:
    found = next((one for one in mine if one.key == asked.key), None)
    if found is None or found.digest == asked.digest:
        return found
    return Refusal(
        status=409,
        message="This idempotency key was used for another request;"
        " send that request again, or take a new key.",
        param="idempotency_key",
        code="idempotency_conflict",
        retry=False,
    )


def retries_of(headers: Mapping[str, str]) -> int | None:
    """How often the client tried before; None if it does not say. Names are in lower case."""
    said = headers.get(RETRY_HEADER, "").strip()
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _DIGITS else None


def key_of(headers: Mapping[str, str], field: str | None) -> str | Refusal | None:
    """The idempotency key of a request, from its header or its body; None without one."""
    header = headers.get(KEY_HEADER)
    if header is not None and field is not None and header != field:
        return _bad_key("The header Idempotency-Key and the field idempotency_key differ.")
    key = field if header is None else header
    if key is not None and not (0 < len(key) <= LONGEST and key.isprintable()):
        return _bad_key(f"An idempotency key has 1 to {LONGEST} printable characters.")
    return key


def _bad_key(message: str) -> Refusal:
    return Refusal(status=400, message=message, param="idempotency_key", code="invalid_value")
