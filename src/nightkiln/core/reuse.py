"""Answers that serve more than the request they were paid for."""

import enum

import msgspec

from nightkiln.core.usage import Saved, Usage


class Dedupe(enum.StrEnum):
    """Which identical requests may share one answer."""

    AUTO = "auto"  # those whose answer is settled: temperature 0, a seed, an embedding
    ALWAYS = "always"
    NEVER = "never"


class CacheUse(enum.StrEnum):
    """What a run does with the answers of earlier runs."""

    AUTO = "auto"  # reads and keeps them
    OFF = "off"
    REFRESH = "refresh"  # asks anew, and keeps the new answers in place of the old ones


class Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An answer that was paid once, and serves every request identical to its own."""

    text: str
    finish_reason: str = ""
    model: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None  # when it was paid; None: the price was unknown
    body: bytes | None = None  # the raw reply, where its job records them

    @property
    def saved(self) -> Saved:
        """What each use of it saves."""
        tokens = self.usage.input_tokens + self.usage.output_tokens
        return Saved(tokens=tokens, cost_usd=self.cost_usd)

    @property
    def size_bytes(self) -> int:
        """About the memory it takes."""
        return 400 + len(self.text) + (0 if self.body is None else len(self.body))
