"""Tokens and money. Money is whole nano-dollars inside, dollars at the faces."""

from collections.abc import Iterable
from typing import Final

import msgspec

NANOS_PER_USD: Final = 1_000_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Tokens of one reply, as the backend counted them."""

    input_tokens: int = 0
    cached_tokens: int = 0  # part of input_tokens
    output_tokens: int = 0


class Saved(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one row did not need, because an identical request was answered already."""

    tokens: int  # in and out
    cost_usd: float | None  # None: the price is unknown


class Totals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sums over rows: a chunk's, a job's, a project's. They add and subtract."""

    ok: int = 0
    failed: int = 0
    reused: int = 0
    truncated: int = 0  # ok rows whose finish_reason is `length`
    attempts: int = 0  # attempts with an end
    maybe_billed: int = 0  # attempts sent without an end that we know of
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0  # of the attempts whose price is known
    unpriced: int = 0  # answers whose price is unknown
    saved_tokens: int = 0  # that the reused rows would have needed
    saved_nanos: int = 0  # and what those would have cost, where it is known
    saved_unpriced: int = 0  # reused rows of which it is not
    faults: dict[str, int] = {}  # rows by fault class

    @property
    def answered(self) -> int:
        """Rows that have an answer: a result or a fault."""
        return self.ok + self.failed

    def plus(self, other: "Totals") -> "Totals":
        """The sum of both."""
        return _combined(self, other, 1)

    def minus(self, other: "Totals") -> "Totals":
        """What was added since `other`; classes that fell to zero vanish."""
        return _combined(self, other, -1)

    def with_newer(self, counted: "Totals", newest: "Totals") -> "Totals":
        """This with what `newest` has beyond `counted`: answers that no commit holds yet."""
        more = newest.minus(counted)
        return self.plus(Totals(**{name: max(0, getattr(more, name)) for name in _NUMBERS}))


_NUMBERS: Final = tuple(name for name in Totals.__struct_fields__ if name != "faults")


def _combined(left: Totals, right: Totals, sign: int) -> Totals:
    numbers = {name: getattr(left, name) + sign * getattr(right, name) for name in _NUMBERS}
    faults = dict(left.faults)
    for kind, count in right.faults.items():
        faults[kind] = faults.get(kind, 0) + sign * count
    return Totals(**numbers, faults={kind: count for kind, count in faults.items() if count})


def summed(parts: Iterable[Totals]) -> Totals:
    """The sum of all parts."""
    total = Totals()
    for part in parts:
        total = total.plus(part)
    return total
