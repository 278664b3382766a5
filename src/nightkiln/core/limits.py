"""What a provider says of its rate limits, in numbers."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one credential and model; None where the provider says nothing."""

    requests: float | None = None  # a minute
    requests_left: float | None = None
    tokens: float | None = None  # a minute, in and out
    tokens_left: float | None = None
