"""Distributions written as short text, such as `lognormal:50,0.4`.

Pure: the dice are an argument, and the unit is whatever the caller means.
"""

import math
import random
from collections.abc import Callable
from typing import Final

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One family of distributions: how it is written, and which numbers it takes."""

    form: str
    arity: int
    is_legal: Callable[[tuple[float, ...]], bool]
    draw: Callable[[tuple[float, ...], random.Random], float]


SHAPES: Final = {
    "const": Shape(
        form="const:VALUE",
        arity=1,
        is_legal=lambda a: a[0] >= 0,
        draw=lambda a, _: a[0],
    ),
    "uniform": Shape(
        form="uniform:LOW,HIGH",
        arity=2,
        is_legal=lambda a: 0 <= a[0] <= a[1],
        draw=lambda a, dice: dice.uniform(a[0], a[1]),
    ),
    "lognormal": Shape(
        form="lognormal:MEDIAN,SIGMA",
        arity=2,
        is_legal=lambda a: a[0] > 0 and a[1] >= 0,
        draw=lambda a, dice: dice.lognormvariate(math.log(a[0]), a[1]),
    ),
    "exp": Shape(
        form="exp:MEAN",
        arity=1,
        is_legal=lambda a: a[0] > 0,
        draw=lambda a, dice: dice.expovariate(1 / a[0]),
    ),
    "bimodal": Shape(
        form="bimodal:A,B,SHARE_OF_B",
        arity=3,
        is_legal=lambda a: a[0] >= 0 and a[1] >= 0 and 0 <= a[2] <= 1,
        draw=lambda a, dice: a[1] if dice.random() < a[2] else a[0],
    ),
}


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed distribution over numbers that are never negative."""

    shape: str
    numbers: tuple[float, ...]

    @property
    def constant(self) -> float | None:
        """The one value it always gives, or None when the dice decide."""
        return self.numbers[0] if self.shape == "const" else None

    def sampler(self, dice: random.Random) -> Callable[[], float]:
        """A function that draws from this distribution with the given dice."""
        numbers, draw = self.numbers, SHAPES[self.shape].draw
        return lambda: draw(numbers, dice)


def parse_distribution(text: str) -> Distribution:
    """Read `const:50`, `uniform:20,80` and so on; a bare number is a constant.

    Raises ValueError with the accepted forms when the text is none of them.
    """
    name, colon, rest = text.strip().partition(":")
    if not colon:
        name, rest = "const", name
    shape = SHAPES.get(name)
    if shape is None:
        forms = ", ".join(known.form for known in SHAPES.values())
        raise ValueError(f"{text!r} is not a distribution; write one of {forms}")
    try:
        numbers = tuple(float(part) for part in rest.split(","))
    except ValueError:
        numbers = ()
    finite = all(math.isfinite(number) for number in numbers)
    if len(numbers) != shape.arity or not finite or not shape.is_legal(numbers):
        raise ValueError(f"{text!r} does not fit the form {shape.form}")
    return Distribution(shape=name, numbers=numbers)
