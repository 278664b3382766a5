"""Numbers as people read them. Pure; never rounds a count that is printed whole."""

import datetime as dt
from typing import Final

from nightkiln.core.events import BackendShare
from nightkiln.core.usage import NANOS_PER_USD, Totals

_STEPS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(number: float) -> str:
    """1234567 as `1,234,567`."""
    return f"{number:,.0f}"


def short(number: float) -> str:
    """1234567 as `1.2M`; below a thousand in full."""
    for size, letter in _STEPS:
        if number >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.1f}{letter}" if scaled < 99.95 else f"{scaled:.0f}{letter}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def money(usd: float) -> str:
    """Dollars: two digits, more where two would say nothing."""
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= 0.1 else f"${usd:.4f}"


def span(seconds: float) -> str:
    """A duration in its two largest units: `3 min 12 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_of(number: float) -> str:
    """Bytes in the unit that fits, in powers of a thousand."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} B"


def dollars_of(totals: Totals) -> float | None:
    """What is known to be spent, or None where nothing has a price."""
    if totals.cost_nanos == 0 and totals.unpriced:
        return None
    return totals.cost_nanos / NANOS_PER_USD


def saved_usd(totals: Totals) -> float | None:
    """What the answers to identical requests saved, or None where no price is known."""
    if totals.saved_nanos == 0 and totals.saved_unpriced:
        return None
    return totals.saved_nanos / NANOS_PER_USD


def saved_words(rows: int, tokens: int, usd: float | None) -> str:
    """What reused rows were spared."""
    price = "" if usd is None else f" and {money(usd)}"
    return f"{count(rows)} rows shared an answer: {short(tokens)} tokens{price} saved"


def iso(at: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC."""
    return None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat("T", "seconds")


def local_time(at: float) -> str:
    """Epoch seconds as `2026-11-20 14:02` of this machine's clock."""
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def clock_time(at: float) -> str:
    """Epoch seconds as `14:02` of this machine's clock."""
    return local_time(at)[-5:]


def share_words(share: BackendShare) -> str:
    """What one backend of several did, in a line."""
    cost = "cost unknown" if share.cost_usd is None else money(share.cost_usd)
    return f"{share.backend}: {count(share.rows)} rows, {cost}"
