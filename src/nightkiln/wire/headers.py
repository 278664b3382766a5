"""What response headers say about waiting: retry times, limit resets, large numbers.

Servers write the same idea in many forms, some of them wrong. Every reader
here answers None for what it cannot use and never raises. Nothing here reads
a clock: `now` is epoch seconds and comes in as an argument.
"""

import datetime as dt
import email.utils
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from nightkiln.core.limits import Limits

LONGEST_WAIT_S: Final = 86_400.0  # a longer wait is somebody's mistake; we ask again after a day

_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_NUMBER: Final = re.compile(
    r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d{1,3})?", re.ASCII
)
_LIMITS: Final = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining-project-tokens", "x-ratelimit-reset-project-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
)

_PER_REQUEST: Final = (
    ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
    ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"),
)
_PER_TOKEN: Final = (
    ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"),
    ("x-ratelimit-limit-project-tokens", "x-ratelimit-remaining-project-tokens"),
    ("anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-remaining"),
)


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds the server asks us to wait, or None.

    The order is milliseconds, seconds, date, as the official clients read it.
    A date is measured against the server's own `date` header when there is
    one, so that a wrong clock on our side costs nothing.
    """
    milliseconds = number(headers.get("retry-after-ms", ""))
    if milliseconds is not None and milliseconds >= 0:
        return _clamped(milliseconds / 1000)
    text = headers.get("retry-after", "")
    seconds = number(text)
    if seconds is not None:
        return _clamped(seconds) if seconds >= 0 else None
    moment = http_date(text)
    if moment is None:
        return None
    return _clamped(moment - server_now(headers, now=now))


def limit_reset_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds until every limit that is used up now has something again, or None."""
    waits = [
        wait
        for remaining, reset in _LIMITS
        if number(headers.get(remaining, "")) == 0
        and (wait := reset_s(headers.get(reset, ""), now=server_now(headers, now=now))) is not None
    ]
    return max(waits, default=None)


def limits_of(headers: Mapping[str, str]) -> Limits | None:
    """The rate limits a reply tells of, or None. Of several token limits the tightest."""
    requests = [_told(headers, limit, left) for limit, left in _PER_REQUEST]
    tokens = [_told(headers, limit, left) for limit, left in _PER_TOKEN]
    request, token = _tightest(requests), _tightest(tokens)
    if request is None and token is None:
        return None
    return Limits(
        requests=request and request[0],
        requests_left=request and request[1],
        tokens=token and token[0],
        tokens_left=token and token[1],
    )


def _told(headers: Mapping[str, str], limit: str, left: str) -> tuple[float, float] | None:
    most, rest = number(headers.get(limit, "")), number(headers.get(left, ""))
    if most is None or most <= 0:
        return None
    return most, most if rest is None else max(0.0, rest)


def _tightest(told: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Of several limits the one with the smallest share left."""
    known = [one for one in told if one is not None]
    return min(known, key=lambda one: one[1] / one[0], default=None)


def reset_s(text: str, *, now: float) -> float | None:
    """Seconds until a limit resets: from a Go duration, an RFC 3339 moment or plain seconds."""
    wait = duration_s(text)
    if wait is None:
        wait = number(text)
    if wait is None:
        moment = rfc3339(text)
        wait = None if moment is None else max(0.0, moment - now)
    return None if wait is None or wait < 0 else _clamped(wait)


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says: the server's own word, None when it is silent."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def server_now(headers: Mapping[str, str], *, now: float) -> float:
    """The server's own time where it tells it, else ours."""
    told = http_date(headers.get("date", ""))
    return now if told is None else told


def duration_s(text: str) -> float | None:
    """Seconds of a Go duration: `6m0s`, `120ms`, `1h2m3.5s`."""
    text = text.strip()
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _UNIT_S[part[2]]
        end = part.end()
    return total if text and end == len(text) and math.isfinite(total) else None


def number(text: str) -> float | None:
    """A finite number as servers write it: `30,000`, `1.5`, `2`."""
    text = text.strip()
    if len(text) > 40 or not any(mark.isdigit() for mark in text) or not _NUMBER.fullmatch(text):
        return None
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def http_date(text: str) -> float | None:
    """Epoch seconds of an HTTP date in any of its three forms."""
    if not text or len(text) > 64:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _epoch(moment)


def rfc3339(text: str) -> float | None:
    """Epoch seconds of a moment like `2026-11-20T12:00:00Z`."""
    if len(text) > 64 or "T" not in text.upper():
        return None
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return _epoch(moment)


def _epoch(moment: dt.datetime) -> float | None:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    try:
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def _clamped(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_WAIT_S)
