"""Forecasts and trials in lines. Pure."""

from collections.abc import Callable
from typing import TypeAlias

from nightkiln.cli.numbers import count, money, short, span
from nightkiln.core.forecast import Estimate, Forecast, Interval, Trial, TriedRow

Shown: TypeAlias = Callable[[float], str]
_LABEL = 16
_INSTANT_S = 1.0
_ANSWER = 300  # characters of a tried answer


def estimate_text(found: Estimate) -> str:
    """What a table will take."""
    pace = "" if found.concurrency is None else f", {count(found.concurrency)} requests at once"
    first = f"{count(found.forecast.rows)} rows of {found.input_name}; nothing was sent"
    where = _line("model", f"{found.model} at {found.backend}{pace}")
    return "\n".join([first, where, *forecast_lines(found.forecast)])


def forecast_lines(found: Forecast) -> list[str]:
    """The figures, each with its interval and with what it stands on."""
    lines = [
        _line("input tokens", _spread(found.input_tokens, short)) + _because(found.input_basis),
        _line("output tokens", _spread(found.output_tokens, short)) + _because(found.output_basis),
        _line("cost", _maybe(found.cost_usd, money)) + _because(found.cost_basis),
    ]
    if found.price_source:
        dated = f" (as of {found.price_date})" if found.price_date else ""
        lines.append(_line("prices", found.price_source + dated))
    lines.append(_line("time", _time(found.elapsed_s)) + _because(found.elapsed_basis))
    return lines + [_line("note", note) for note in found.notes]


def trial_text(trial: Trial) -> str:
    """What came back from the tried rows, and what that says about the rest."""
    cost = "unknown cost" if trial.cost_usd is None else money(trial.cost_usd)
    failed = sum(one.fault is not None for one in trial.tried)
    bad = f", {failed} of them with a fault" if failed else ""
    lines = [f"tried {len(trial.tried)} of {count(trial.rows)} rows{bad} ({cost}):"]
    for one in trial.tried:
        lines += _row(one)
    return "\n".join([*lines, "all rows would take (P10 to P90):", *forecast_lines(trial.whole)])


def _row(one: TriedRow) -> list[str]:
    tokens = f"{count(one.input_tokens)} in, {count(one.output_tokens)} out"
    head = f"  row {one.row} ({tokens})"
    if one.fault is not None:
        return [f"{head}: {one.fault}: {one.fault_message or ''}"]
    text = one.answer or ""
    clipped = text if len(text) <= _ANSWER else text[: _ANSWER - 1] + "…"
    return [f"{head}:", *(f"    {line}" for line in _printable(clipped).splitlines() or [""])]


def _printable(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def _time(interval: Interval | None) -> str:
    """How long it takes; nobody can tell a part of a second, as starting takes as long."""
    if interval is not None and interval.high < _INSTANT_S:
        return "under a second"
    return _maybe(interval, lambda seconds: "< 1 s" if seconds < _INSTANT_S else span(seconds))


def _maybe(interval: Interval | None, shown: Shown) -> str:
    return "" if interval is None else _spread(interval, shown)


def _spread(interval: Interval, shown: Shown) -> str:
    low, likely, high = shown(interval.low), shown(interval.likely), shown(interval.high)
    return likely if low == high else f"about {likely}, from {low} to {high}"


def _because(basis: str) -> str:
    if not basis:
        return ""
    return basis if basis.startswith("unknown") else f"\n{' ' * _LABEL}({basis})"


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL - 2}}{text}"
