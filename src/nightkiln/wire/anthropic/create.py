"""The body that creates a batch of messages: what is refused at once, and what only later. Pure.

At once, as a whole: a body that is no list of requests, too many of them, too
many bytes, and a `custom_id` that is missing, malformed or given twice. What is
wrong inside `params` is found when a request's turn comes and fails that one
alone, so nothing here looks into them.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Annotated, Final, TypeAlias

import msgspec

from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.wording import EXTRA, Refused, decoded, joined

MAX_REQUESTS: Final = 100_000
MAX_BYTES: Final = 256 * 1024 * 1024
_LONGEST_ID: Final = 64
_PATTERN: Final = "^[a-zA-Z0-9_-]{1,64}$"
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_INVALID: Final = 400
_TOO_LARGE: Final = 413

Body: TypeAlias = bytes | memoryview


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One request of a batch. Its params are bytes of the body they came in, never copied."""

    custom_id: str
    params: msgspec.Raw


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it was asked for."""

    requests: list[Entry]
    extras: dict[str, msgspec.Raw]  # other fields of the body that were allowed


class _Requests(msgspec.Struct):
    requests: Annotated[list[Entry], msgspec.Meta(min_length=1)]


_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_requests: Final = msgspec.json.Decoder(_Requests).decode


def read_create(body: Body, *, extras: AbstractSet[str] = frozenset()) -> Created | Refusal:
    """The requests of a body, or why the batch is refused as a whole.

    `extras` are fields beside `requests` that are ours and allowed.
    """
    if len(body) > MAX_BYTES:
        said = f"The batch has {len(body):,} bytes; {MAX_BYTES:,} are allowed. Split it."
        return Refusal(status=_TOO_LARGE, message=said)
    try:
        fields: dict[str, msgspec.Raw] = decoded(_decode_fields, body, "")
        for name in fields:
            if name != "requests" and name not in extras:
                raise Refused(name[:80], EXTRA)
        requests = decoded(_decode_requests, body, "").requests
        if len(requests) > MAX_REQUESTS:
            said = f"{len(requests):,} requests; {MAX_REQUESTS:,} are allowed. Split the batch"
            raise Refused("requests", said)
        _check(requests)
    except Refused as problem:
        return Refusal(status=_INVALID, message=str(problem))
    return Created(
        requests=requests,
        extras={name: raw for name, raw in fields.items() if name != "requests"},
    )


def _check(requests: list[Entry]) -> None:
    """Raises Refused for the first request that no batch may hold."""
    first: dict[str, int] = {}
    for number, entry in enumerate(requests):
        if why := wrong_id(entry.custom_id):
            raise Refused(joined("requests", str(number), "custom_id"), why)
        before = first.setdefault(entry.custom_id, number)
        if before != number:
            why = f"Duplicate custom_id; requests.{before} has it as well"
            raise Refused(joined("requests", str(number), "custom_id"), why)
        if bytes(memoryview(entry.params)[:1]) != b"{":
            raise Refused(
                joined("requests", str(number), "params"), "Input should be a valid dictionary"
            )


def wrong_id(custom_id: str) -> str:
    """What is wrong with a custom id; empty when nothing is."""
    if not custom_id:
        return "String should have at least 1 character"
    if len(custom_id) > _LONGEST_ID:
        return f"String should have at most {_LONGEST_ID} characters"
    return "" if _ID.fullmatch(custom_id) else f"String should match pattern '{_PATTERN}'"
