"""What a job is expected to take: intervals, never a single number that pretends to know.

Pure data. How the numbers come about is in `plan.estimate`.
"""

import msgspec

from nightkiln.core.ids import JobId


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`, most probably about `likely`. Always in this order."""

    low: float
    likely: float
    high: float

    def times(self, factor: float) -> "Interval":
        """Each bound times a factor that is not negative."""
        return Interval(self.low * factor, self.likely * factor, self.high * factor)

    def plus(self, other: "Interval") -> "Interval":
        """The sum of both: the lows, the likelies and the highs."""
        return Interval(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def capped(self, most: float) -> "Interval":
        """No bound above `most`."""
        return Interval(min(self.low, most), min(self.likely, most), min(self.high, most))


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend's tokens cost, in USD per token, and who says so."""

    input_usd: float
    output_usd: float
    source: str
    date: str  # ISO date the price was looked up for


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What some rows are expected to take. Low to high is the interval to plan with."""

    rows: int
    input_tokens: Interval
    output_tokens: Interval
    cost_usd: Interval | None  # None: no price is known
    elapsed_s: Interval | None  # None: nobody has measured this model here
    input_basis: str  # how each figure was found, in words
    output_basis: str
    cost_basis: str
    elapsed_basis: str
    price_source: str = ""
    price_date: str = ""
    notes: tuple[str, ...] = ()


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says about the machine that answers."""

    gpu_hour_usd: float | None = None
    tokens_per_s: float | None = None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `estimate`: what was looked at, and what it is expected to take."""

    input_name: str
    model: str
    backend: str  # an address, or "this process"
    concurrency: int | None
    forecast: Forecast


class TriedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was asked to see what comes back."""

    row: int
    answer: str | None  # clipped
    fault: str | None
    fault_message: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    reused: bool = False  # an identical request's answer: nothing was asked


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of a job really asked; their answers are the job's own and are kept."""

    job: JobId
    rows: int  # of the whole job
    tried: tuple[TriedRow, ...]
    cost_usd: float | None  # of the tried rows
    whole: Forecast  # of all rows of the job, the tried ones included
