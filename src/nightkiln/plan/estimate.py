"""What a table will take, as arithmetic over what is known. Nothing here reads or asks.

The problem: a person wants to know tokens, dollars and hours before paying for
a million rows. A single number would be wrong and believed; so every figure is
an interval, and every figure says what it stands on.

The ways, best first. Where the very same rows were asked the same before, what they
took then. Input tokens: counted by the model's own tokenizer; else
bytes times the tokens per byte that finished jobs of the same model needed;
else bytes times a default with a wide interval. Output tokens: what the same
model answered before, or was just seen to answer; else a default. `max_tokens`
caps them always. Cost: tokens times price, or hours times the price of an hour.

The interval of a sum: a row's P10 to P90 for every row. That is wider than the
sum's own spread, on purpose: rows of one table are not independent, and being
wrong the same way a million times is the usual case.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.core.forecast import Forecast, Interval, Rates

DEFAULT_TOKENS_PER_BYTE: Final = Interval(1 / 6, 1 / 4, 2 / 3)
DEFAULT_FRAME: Final = Interval(0.0, 10.0, 40.0)  # tokens that a chat template adds to a row
AGAIN: Final = 1.25  # how far the answers to the same rows may be apart in length
DEFAULT_OUTPUT: Final = Interval(1.0, 150.0, 1000.0)  # tokens of an answer
NO_CAP_NOTE: Final = "no --max-tokens: an answer may be as long as the model likes"
_HOUR_S: Final = 3600.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was answered: what went in, what came out, how long it took."""

    prompt_bytes: int  # the system message included
    input_tokens: int
    output_tokens: int
    latency_s: float


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The prompts of all rows, measured."""

    rows: int
    prompt_bytes: int | None  # of all rows with their system message; None: not measured
    max_tokens: int | None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a backend. None: not known."""

    counted: Interval | None = None  # tokens per prompt byte, by the model's own tokenizer
    counted_rows: int = 0  # that the tokenizer has looked at
    seen: Sequence[Seen] = ()
    seen_where: str = ""  # for words: whose answers these are
    recorded: tuple[int, int] | None = None  # tokens in and out of the very same rows, asked before
    rates: Rates | None = None
    is_own: bool = False  # an engine of our own: its tokens cost nothing
    gpu_hour_usd: float | None = None
    tokens_per_s: float | None = None  # assumed or measured, input and output together
    slots: int | None = None  # requests in flight; None: what the backend does is not by slots


def spread(values: Sequence[float]) -> Interval:
    """P10, mean and P90; of a single value three times that. Raises ValueError for none."""
    if not values:
        raise ValueError("no values to spread")
    ordered = sorted(values)
    mean = min(max(sum(ordered) / len(ordered), ordered[0]), ordered[-1])
    low, high = _quantile(ordered, 0.1), _quantile(ordered, 0.9)
    return Interval(min(low, mean), mean, max(high, mean))


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    left = math.floor(at)
    right = min(left + 1, len(ordered) - 1)
    return ordered[left] + (ordered[right] - ordered[left]) * (at - left)


def tokens_per_byte(pairs: Sequence[tuple[int, int]]) -> Interval:
    """Of (bytes, tokens): the ratio of the sums, between the P10 and P90 of the rows' own."""
    sized = [(size, tokens) for size, tokens in pairs if size > 0]
    if not sized:
        raise ValueError("no prompt has a byte")
    rows = spread([tokens / size for size, tokens in sized])
    whole = sum(tokens for _, tokens in sized) / sum(size for size, _ in sized)
    return Interval(min(rows.low, whole), whole, max(rows.high, whole))


def forecast(table: Table, known: Known) -> Forecast:
    """What a table will take, as far as it can be known.

    A table whose prompts nobody measured needs rows that were seen: they stand for all.
    """
    given, input_basis = _input(table, known)
    said, output_basis = _output(table, known)
    elapsed, elapsed_basis = _elapsed(table, known, given.plus(said))
    cost, cost_basis = _cost(known, given, said, elapsed)
    priced = known.rates if known.gpu_hour_usd is None else None
    return Forecast(
        rows=table.rows,
        input_tokens=given,
        output_tokens=said,
        cost_usd=cost,
        elapsed_s=elapsed,
        input_basis=input_basis,
        output_basis=output_basis,
        cost_basis=cost_basis,
        elapsed_basis=elapsed_basis,
        price_source="" if priced is None else priced.source,
        price_date="" if priced is None else priced.date,
        notes=(NO_CAP_NOTE,) if table.max_tokens is None and not known.seen else (),
    )


def _input(table: Table, known: Known) -> tuple[Interval, str]:
    if table.prompt_bytes is None:
        rows = spread([float(one.input_tokens) for one in known.seen])
        return rows.times(table.rows), f"{len(known.seen)} rows of {known.seen_where}"
    if known.recorded is not None:
        taken = float(known.recorded[0])
        return Interval(taken, taken, taken), f"what the very same rows took: {known.seen_where}"
    size = float(table.prompt_bytes)
    if known.counted is not None:
        sampled = known.counted_rows
        which = "every row" if sampled >= table.rows else f"{sampled} sampled rows"
        return known.counted.times(size), f"counted by the model's own tokenizer on {which}"
    pairs = [(one.prompt_bytes, one.input_tokens) for one in known.seen if one.input_tokens]
    if any(size for size, _ in pairs):
        basis = f"{len(pairs)} rows of {known.seen_where}"
        return tokens_per_byte(pairs).times(size), basis
    frame = DEFAULT_FRAME.times(table.rows)
    basis = "4 bytes a token, and 10 tokens around every prompt: a default, nothing is measured"
    return DEFAULT_TOKENS_PER_BYTE.times(size).plus(frame), basis


def _output(table: Table, known: Known) -> tuple[Interval, str]:
    cap = table.max_tokens
    if cap == 0:
        return Interval(0.0, 0.0, 0.0), "a vector has no tokens of its own"
    if known.recorded is not None:
        said = float(known.recorded[1])
        row = Interval(said / AGAIN, said, said * AGAIN)
        most = math.inf if cap is None else float(cap * table.rows)
        basis = f"what the very same rows took: {known.seen_where}; answers differ by chance"
        return row.capped(most), basis
    values = [float(one.output_tokens) for one in known.seen]
    if values:
        row, basis = spread(values), f"{len(values)} rows of {known.seen_where}"
    else:
        row, basis = DEFAULT_OUTPUT, "150 tokens an answer: a default, nothing is measured"
        if cap is not None:  # nobody sets a cap of 10 and expects 10 each time, nor 1
            row = Interval(1.0, min(row.likely, max(1.0, cap / 2)), float(cap))
    if cap is not None:
        row, basis = row.capped(cap), f"{basis}; at most {cap} a row"
    return row.times(table.rows), basis


def _elapsed(table: Table, known: Known, tokens: Interval) -> tuple[Interval | None, str]:
    if known.tokens_per_s is not None:
        return tokens.times(1 / known.tokens_per_s), f"{known.tokens_per_s:g} tokens a second"
    latencies = [one.latency_s for one in known.seen if one.latency_s > 0]
    if not latencies or known.slots is None:
        return None, "unknown: this model was not measured here; --tokens-per-s assumes a speed"
    turns = max(1.0, table.rows / known.slots)
    basis = f"the latency of {len(latencies)} rows of {known.seen_where}, {known.slots} at once"
    return spread(latencies).times(turns), basis


def _cost(
    known: Known, given: Interval, said: Interval, elapsed: Interval | None
) -> tuple[Interval | None, str]:
    if known.gpu_hour_usd is not None:
        if elapsed is None:
            return None, "unknown: the time is, so hours cannot be paid; add --tokens-per-s"
        return elapsed.times(known.gpu_hour_usd / _HOUR_S), f"${known.gpu_hour_usd:g} an hour"
    if known.rates is not None:
        cost = given.times(known.rates.input_usd).plus(said.times(known.rates.output_usd))
        return cost, "tokens times price"
    if known.is_own:
        return Interval(
            0.0, 0.0, 0.0
        ), "an engine of our own; `nightkiln estimate --gpu-hour-usd` prices its hours"
    return None, "unknown: no price for this model; `estimate --gpu-hour-usd` prices your own hours"
