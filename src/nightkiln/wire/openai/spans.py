"""Spans of time as people write them: `24h`, `90m`, `1h30m`, `7d`. Pure."""

import datetime as dt
import re
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN: Final = re.compile(r"(?:\d{1,9}[smhd])+", re.ASCII)
_PART: Final = re.compile(r"(\d+)([smhd])", re.ASCII)


def span_seconds(text: str) -> int | None:
    """The seconds of a span; None for a text that is none."""
    if not _SPAN.fullmatch(text):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def moment_of(text: str, *, now: float) -> float | None:
    """Epoch seconds of a span from now, or of an ISO 8601 moment that names its zone.

    None for anything else: whose local time a moment without a zone means is not
    known on a server.
    """
    span = span_seconds(text)
    if span is not None:
        return now + span
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()
