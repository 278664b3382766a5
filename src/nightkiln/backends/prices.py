"""What tokens cost: what the user said, else the price table that is installed with us.

Offline. An unknown price is None and is shown as unknown: never a guess, and
never zero, which would mean free.
"""

import datetime as dt
import ipaddress
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from nightkiln.core.usage import Usage


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """USD per token of one model at one provider."""

    input_usd: float
    cached_usd: float
    output_usd: float
    source: str  # which table, its version, and what it calls provider and model
    date: str  # ISO date of the day it was looked up for
    valid_to_tokens: int | None = None  # larger inputs cost more, by rules we do not apply

    def cost_usd(self, usage: Usage) -> float | None:
        """What one reply cost, or None where this price does not reach."""
        if self.valid_to_tokens is not None and usage.input_tokens > self.valid_to_tokens:
            return None
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        return (
            fresh * self.input_usd
            + usage.cached_tokens * self.cached_usd
            + usage.output_tokens * self.output_usd
        )


class OwnPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price that the user states, in USD per million tokens."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None  # None: cached tokens cost what others cost
    source: str  # where it was said, such as prices."gpt-x" in nightkiln.toml


class PriceList:
    """Prices by model: the user's own first, then the installed table. Made by `with_overrides`."""

    def __init__(self, own: Mapping[str, OwnPrice]) -> None:
        self._own = dict(own)

    def price_of(self, model: str, url: str | None, *, on: dt.datetime) -> Price | None:
        """The price of `model` behind `url`; None when nobody knows.

        Without a URL (a model on this machine) only the user's own prices hold.
        """
        said = self._own.get(model)
        if said is None:
            return None if url is None else price_of(model, url, on=on)
        cached = said.input_usd if said.cached_usd is None else said.cached_usd
        return Price(
            input_usd=said.input_usd / 1e6,
            cached_usd=cached / 1e6,
            output_usd=said.output_usd / 1e6,
            source=said.source,
            date=on.date().isoformat(),
        )


def with_overrides(own: Mapping[str, OwnPrice]) -> PriceList:
    """The prices of everybody who needs one: runs and estimates ask this, never the table alone.

    What belongs in it is said by the settings: see `nightkiln.app.targets.prices_for`.
    """
    return PriceList(own)


def price_of(model: str, url: str, *, on: dt.datetime) -> Price | None:
    """The price of `model` at the provider behind `url`; None when unknown or not a provider's."""
    if is_local(url):
        return None
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    try:
        provider, found = get_snapshot().find_provider_model(model, None, None, url)
    except LookupError:
        return None
    prices = found.get_prices(on)
    given, said = _per_token(prices.input_mtok), _per_token(prices.output_mtok)
    if given is None or said is None:
        return None
    cached = _per_token(prices.cache_read_mtok) or given
    starts = [one.start for one in (given, cached, said) if one.start is not None]
    return Price(
        input_usd=given.usd,
        cached_usd=cached.usd,
        output_usd=said.usd,
        source=f"genai-prices {genai_prices.__version__}: {provider.id} {found.id}",
        date=on.date().isoformat(),
        valid_to_tokens=min(starts, default=None),
    )


def is_local(url: str) -> bool:
    """True for hosts of this machine or network: whoever runs them pays no provider."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


class _PerToken(msgspec.Struct, frozen=True):
    usd: float
    start: int | None  # tokens from which a higher tier begins


def _per_token(price: object) -> _PerToken | None:
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        start = price.tiers[0].start if price.tiers else None
        return _PerToken(float(price.base) / 1e6, start)
    return _PerToken(float(price) / 1e6, None) if isinstance(price, Decimal) else None
