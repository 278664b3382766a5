"""Repetitions in a grammar that an engine follows quickly however often they repeat. Pure.

The engine's own counts (`char{0,400}`) cost more with every token: 500 characters
of a string take it many seconds. Plain rules cost next to nothing, so a large count
is written with them. `n` of something is written in tens, hundreds and so on, like
a number. Up to `n` is either a whole power of ten and up to what is left, or less
than that power; below a hundred it is one and up to `n - 1`, or nothing. Few rules
do for any `n`, and no more than a few of them are open at a time.
"""

from collections.abc import Callable
from typing import Final

from nightkiln.backends.engines.json_merge import Contradiction

_FEW: Final = 32  # the engine's own counts do up to here
_MANY: Final = 1_000_000  # more than this is as good as no limit
_NOTHING: Final = '""'


class Counts:
    """The repetitions of one grammar. `rule` makes a rule and tells its name."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        self._rule = rule
        self._made: dict[tuple[str, str, int], str] = {}

    def times(self, one: str, least: int, most: int | None) -> str:
        """One term that says `one`, a term itself, so often; without `most` as often as one likes.

        Raises Contradiction where `least` is more than anybody means.
        """
        if least > _MANY:
            raise Contradiction(f"nothing that a model says has {least} parts")
        if most is not None and most > _MANY:
            most = None
        if max(least, most or 0) <= _FEW:
            return one + _counted(least, most)
        parts = [self._exactly(one, least)] if least else []
        if most is None:
            parts.append(f"{one}*")
        elif most > least:
            parts.append(self._up_to(one, most - least))
        return f"({' '.join(parts)})"

    def _exactly(self, one: str, count: int) -> str:
        parts: list[str] = []
        unit = one
        while count:
            parts = [unit] * (count % 10) + parts
            count //= 10
            if count:
                unit = self._once("ten", unit, 10, " ".join([unit] * 10))
        return " ".join(parts)

    def _up_to(self, one: str, count: int) -> str:
        """By steps from below, so that no count is too deep to be written."""
        power = 10 ** (len(str(count)) - 1)
        if power < 100:
            name = _NOTHING
            for size in range(1, count + 1):
                name = self._once("up to", one, size, f'"" | {one} {name}')
            return name
        less = self._up_to(one, power - 1)
        whole = self._exactly(one, power)
        name = less
        for size in range(count % power, count + 1, power):
            if size < power:
                name = self._up_to(one, size) if size else _NOTHING
            else:
                name = self._once("up to", one, size, f"{whole} {name} | {less}")
        return name

    def _once(self, what: str, one: str, size: int, right: str) -> str:
        key = (what, one, size)
        if key not in self._made:
            self._made[key] = self._rule(right)
        return self._made[key]


def _counted(least: int, most: int | None) -> str:
    if not least and most is None:
        return "*"
    return f"{{{least},{'' if most is None else most}}}"
