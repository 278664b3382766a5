"""How many tokens a reply says it took, in the words of chats, completions and embeddings. Pure."""

from typing import Final

import msgspec

from nightkiln.core.usage import Usage


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class TokenCounts(msgspec.Struct):
    """The `usage` of a reply."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None


_NO_USAGE: Final = Usage()


def usage_of(counts: TokenCounts | None) -> Usage:
    """What was counted; what is missing or makes no sense is 0."""
    if counts is None:
        return _NO_USAGE
    details = counts.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    return sensible(counts.prompt_tokens or 0, cached, counts.completion_tokens or 0)


def sensible(given: int, cached: int, written: int) -> Usage:
    """Counts that hold together: none below 0, and no more cached than given."""
    return Usage(
        input_tokens=max(0, given),
        cached_tokens=max(0, min(cached, given)),
        output_tokens=max(0, written),
    )
