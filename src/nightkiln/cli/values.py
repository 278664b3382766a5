"""Values of options that are more than a number: `auto`, and a moment said in two ways."""

import datetime as dt
import re
import time
from typing import Any, Final

import click

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


class CountOrAuto(click.ParamType[int | None]):
    """A whole number from 1 up, or `auto`, which is None: as if nothing had been said."""

    name = "count"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | None:
        """The number. Fails as click does."""
        if isinstance(value, str) and value.lower() == "auto":
            return None
        return click.IntRange(min=1).convert(value, param, ctx)


class Moment(click.ParamType[float]):
    """Epoch seconds of a moment: a span from now (`90m`, `1h30m`, `2d`) or ISO 8601."""

    name = "moment"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The moment; without a zone it is local time. Fails as click does."""
        if isinstance(value, int | float):
            return float(value)
        if _SPAN.fullmatch(value):
            return time.time() + sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(value))
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            said = f"{value!r} is no span like 90m or 2d, and no moment like 2026-11-20T06:00"
            self.fail(said, param, ctx)
        return moment.astimezone().timestamp() if moment.tzinfo is None else moment.timestamp()
