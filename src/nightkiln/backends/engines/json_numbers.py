"""Grammars for numbers between bounds, exact to the digit. Pure.

A range of integers of equal length is split digit by digit. Between 27 and 64
lie those that begin with 2 and go on with 7 to 9, those that begin with 3 to 5,
and those that begin with 6 and go on with 0 to 4. A range of fractions is the
whole units inside it, and at either end a unit of which the first digits after
the point are such a range. No number has more than 15 digits on either side of
the point: whoever reads it needs no more than a double.
"""

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

DIGITS: Final = 15
_LEAST: Final = Decimal(1).scaleb(-DIGITS)
MOST: Final = 10**DIGITS - 1
_ANY: Final = f"[0-9]{{1,{DIGITS}}}"


class Bounds:
    """What a number has to lie between; without a bound, what 15 digits can say."""

    __slots__ = ("high", "is_below", "is_over", "low")

    def __init__(
        self,
        low: Decimal | None,
        high: Decimal | None,
        *,
        is_over: bool = False,
        is_below: bool = False,
    ) -> None:
        self.low = Decimal(-MOST) if low is None else _sayable(low, ROUND_CEILING)
        self.high = Decimal(MOST) if high is None else _sayable(high, ROUND_FLOOR)
        self.is_over = is_over  # the lower bound itself is out
        self.is_below = is_below  # and the upper one

    def mirrored(self) -> "Bounds":
        """The same range on the other side of zero."""
        return Bounds(-self.high, -self.low, is_over=self.is_below, is_below=self.is_over)

    def positive(self) -> "Bounds":
        """The part that is not below zero."""
        if self.low >= 0:
            return self
        return Bounds(Decimal(0), self.high, is_below=self.is_below)

    def whole(self) -> tuple[int, int]:
        """The least and the greatest integer inside."""
        least, most = math.ceil(self.low), math.floor(self.high)
        least += self.is_over and least == self.low
        most -= self.is_below and most == self.high
        return max(least, -MOST), min(most, MOST)


def bounds_of(schema: dict[str, Any]) -> Bounds | None:
    """What a schema says that a number has to lie between; None where it says nothing."""
    low, is_over = _tighter(schema, "inimum", max)
    high, is_below = _tighter(schema, "aximum", min)
    if low is None and high is None:
        return None
    return Bounds(low, high, is_over=is_over, is_below=is_below)


def _tighter(
    schema: dict[str, Any], word: str, pick: Callable[..., Decimal]
) -> tuple[Decimal | None, bool]:
    """The bound that holds of `minimum` and `exclusiveMinimum`, and whether it is out itself."""
    closed, opened = schema.get(f"m{word}"), schema.get(f"exclusiveM{word}")
    if isinstance(opened, bool):  # as it was written once: of the other one
        closed, opened = (None, closed) if opened else (closed, None)
    if opened is None:
        return (None if closed is None else _decimal(closed)), False
    if closed is None:
        return _decimal(opened), True
    bound = pick(_decimal(closed), _decimal(opened))
    return bound, bound == _decimal(opened)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def integers(bounds: Bounds) -> str | None:
    """The grammar of the integers inside; None when there are none."""
    least, most = bounds.whole()
    choices = []
    if least < 0 and least <= most:
        choices.append(f'"-" ({_between(max(1, -most), -least)})')
    if most >= 0 and least <= most:
        choices.append(_between(max(0, least), most))
    return " | ".join(choices) or None


def numbers(bounds: Bounds) -> str | None:
    """The grammar of the decimal numbers inside; None when there are none."""
    if bounds.low > bounds.high or bounds.low > MOST or bounds.high < -MOST:
        return None
    choices = []
    if bounds.low < 0:
        below = _magnitudes(bounds.mirrored().positive(), least=1)
        choices += [f'"-" ({" | ".join(below)})'] if below else []
    if bounds.high >= 0:
        choices += _magnitudes(bounds.positive(), least=0)
    return " | ".join(choices) or None


def _sayable(bound: Decimal, rounding: str) -> Decimal:
    """The first number inside a bound that we have the digits for."""
    return bound.quantize(_LEAST, rounding=rounding) if _places(bound) > DIGITS else bound


def _magnitudes(bounds: Bounds, *, least: int) -> list[str]:
    """Numbers without a sign; as an integer none is smaller than `least`."""
    low, high = bounds.low, bounds.high
    first, last = bounds.whole()
    choices = [_between(max(first, least), last)] if max(first, least) <= last else []
    begin, end = math.ceil(low), min(math.floor(high), MOST)
    if bounds.is_over and begin == low and begin < end:
        choices.append(f'"{begin}." [0-9]{{0,{DIGITS - 1}}} [1-9]')
        begin += 1
    if begin < end:
        choices.append(f'({_between(begin, end - 1)}) "." {_ANY}')
    at_low, at_high = math.floor(low), math.floor(high)
    if low != at_low:
        choices += _unit(at_low, low - at_low, high - at_high if at_low == at_high else None)
    if high != at_high and (low == at_low or at_low != at_high) and at_high <= MOST:
        choices += _unit(at_high, Decimal(0), high - at_high)
    return choices


def _unit(whole: int, low: Decimal, high: Decimal | None) -> list[str]:
    """The numbers of one unit with a fraction from `low` to `high`; None: to the next unit."""
    width = max(_places(low), _places(high or Decimal(0)), 1)
    scale = 10**width
    first = int(low * scale)
    last = scale if high is None else int(high * scale)
    choices = []
    if first < last:
        span = _span(f"{first:0{width}}", f"{last - 1:0{width}}")
        choices.append(f'"{whole}." ({span}) [0-9]{{0,{DIGITS - width}}}')
    if high is not None:
        choices.append(f'"{whole}.{last:0{width}}"')
    for places in range(1, width):  # fewer digits: the others are zeros that nobody writes
        step = 10 ** (width - places)
        least, most = -(-first // step), min(last // step, 10**places - 1)
        if least <= most:
            choices.append(f'"{whole}." ({_span(f"{least:0{places}}", f"{most:0{places}}")})')
    return choices


def _places(fraction: Decimal) -> int:
    exponent = fraction.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _between(first: int, last: int) -> str:
    """Integers that are not negative, first and last included."""
    choices = []
    while first <= last:
        top = min(last, 10 ** len(str(first)) - 1)  # the last of as many digits
        choices.append(_span(str(first), str(top)))
        first = top + 1
    return " | ".join(choices)


def _span(first: str, last: str) -> str:
    """The digit strings from first to last, all of one length."""
    if first == last:
        return f'"{first}"'
    if len(first) == 1:
        return f"[{first}-{last}]"
    rest = len(first) - 1
    all_zero, all_nine = "0" * rest, "9" * rest
    low, high = int(first[0]), int(last[0])
    if low == high:
        return f'"{low}" ({_span(first[1:], last[1:])})'
    choices = []
    if first[1:] != all_zero:
        choices.append(f'"{low}" ({_span(first[1:], all_nine)})')
        low += 1
    before = high if last[1:] == all_nine else high - 1
    if low <= before:
        choices.append(f"[{low}-{before}] [0-9]{{{rest}}}")
    if before != high:
        choices.append(f'"{high}" ({_span(all_zero, last[1:])})')
    return " | ".join(choices)
