"""Other people's words, made safe to keep: short, on one line, without secrets.

Providers echo keys in error messages. What is recorded and shown has passed
through here.
"""

import re
from typing import Final

from nightkiln.core.fault import MESSAGE_LIMIT

_SECRETS: Final = (
    (re.compile(r"\b(sk|pk|rk|gsk|xai|hf|pplx|nvapi|csk|fw|tgp|r8)([-_])[\w*.-]{6,}"), r"\1\2…"),
    (re.compile(r"\bAIza[\w-]{10,}"), "AIza…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), "AKIA…"),
    (re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]+){1,2}"), "eyJ…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{6,}"), r"\1 …"),
    (re.compile(r"(?i)\b(api[ _-]?key(?: provided)?\s*[:=]\s*)[\"']?[\w*./+=-]{4,}"), r"\1…"),
)
_SCANNED: Final = 4 * MESSAGE_LIMIT  # a message of megabytes is not worth reading whole


def excerpt(text: str) -> str:
    """At most MESSAGE_LIMIT characters of `text`, on one line, its secrets replaced by `…`."""
    line = " ".join(text[:_SCANNED].split())
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    line = "".join(mark if mark.isprintable() else "�" for mark in line)
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def excerpt_of_bytes(body: bytes) -> str:
    """The same for bytes of any kind; what is no UTF-8 shows as a replacement mark."""
    return excerpt(body[:_SCANNED].decode("utf-8", "replace"))
