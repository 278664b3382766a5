"""What was found, side by side: as figures for the results, and as tables for people.

Ratios are always nightkiln's advantage: above one it is faster or cheaper.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
from bench.figures import Figure
from bench.peers.phases import Killed, Run

SHORT = 100  # rows of the run that start-up is measured with
T = TypeVar("T")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One tool; a run that could not be made is None, and `failures` says why."""

    title: str
    version: str
    slots: str
    short: Run | None = None
    long: Run | None = None
    faults: Run | None = None
    killed: Killed | None = None
    failures: tuple[str, ...] = ()

    @property
    def cpu_us(self) -> float | None:
        """CPU a row without start-up: the long run less the short one."""
        if self.long is None or self.short is None or self.long.rows <= self.short.rows:
            return None
        more = self.long.spent.cpu_s - self.short.spent.cpu_s
        return more / (self.long.rows - self.short.rows) * 1e6


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One tool and nightkiln in a setting that favours the tool."""

    setting: str
    title: str
    unit: str
    theirs: float
    ours: float
    more_is_better: bool

    @property
    def ratio(self) -> float:
        """Nightkiln's advantage."""
        better, worse = (
            (self.ours, self.theirs) if self.more_is_better else (self.theirs, self.ours)
        )
        return better / worse


def figures(ours: Result, peers: Sequence[Result], settings: Sequence[Setting]) -> list[Figure]:
    """Everything as figures."""
    found: list[Figure] = []
    for result in (ours, *peers):
        found += _figures_of(result)
    for peer in peers:
        found += _ratios(ours, peer)
    for each in settings:
        name = f"{each.setting}: {each.title}"
        found.append(_figure(name, each.theirs, each.unit))
        found.append(_figure(f"{name}, nightkiln", each.ours, each.unit))
    return found


def _figure(name: str, value: float, unit: str = "", note: str = "") -> Figure:
    return Figure(workload="peers", name=name, value=value, unit=unit, note=note)


def _figures_of(result: Result) -> Iterator[Figure]:
    name = f"{result.title} {result.version}"
    if result.short is not None:
        yield _figure(f"{name}: {SHORT} rows, the whole command", result.short.spent.wall_s, "s")
    if result.long is not None:
        run = result.long
        yield _figure(f"{name}: rate", run.rate, "rows/s", f"{run.rows:,} rows")
        yield _figure(f"{name}: the whole command", run.spent.wall_s, "s")
        yield _figure(f"{name}: CPU of the whole command", run.spent.cpu_s, "s")
        yield _figure(f"{name}: peak memory", run.spent.peak_mb, "MB")
        yield _figure(f"{name}: mean requests in flight", run.filled)
        yield _figure(f"{name}: rows lost or wrong without faults", run.wrong, "rows")
    if result.cpu_us is not None:
        yield _figure(f"{name}: CPU a row", result.cpu_us, "µs")
    if result.faults is not None:
        run = result.faults
        note = f"of {run.rows:,}"
        yield _figure(f"{name}: rows lost or wrong at 5 % faults", run.wrong, "rows", note)
        yield _figure(f"{name}: rate at 5 % faults", run.rate, "rows/s", note)
        yield _figure(f"{name}: requests a row at 5 % faults", run.requests / run.rows)
    if result.killed is not None:
        killed = result.killed
        note = f"of {killed.answered:,} answered"
        yield _figure(f"{name}: asked again after kill -9", killed.asked_again, "rows", note)
        yield _figure(f"{name}: seen twice after kill -9", killed.seen_twice, "rows")
        yield _figure(f"{name}: rows lost or wrong after kill -9", killed.wrong, "rows")
    for failure in result.failures:
        yield _figure(f"{name}: could not be measured", 1, note=failure)


def _ratios(ours: Result, peer: Result) -> Iterator[Figure]:
    if ours.long is not None and peer.long is not None and peer.long.rate:
        yield _figure(
            f"rate of nightkiln, times that of {peer.title}", ours.long.rate / peer.long.rate
        )
    if ours.cpu_us and peer.cpu_us and peer.cpu_us > 0:
        share = ours.cpu_us / peer.cpu_us * 100
        yield _figure(f"CPU a row of nightkiln, of that of {peer.title}", share, "%")


def main_table(ours: Result, peers: Sequence[Result]) -> str:
    """The comparison as Markdown."""
    columns = [
        "tool",
        "at once",
        "rows",
        "rows/s",
        "nightkiln is",
        "CPU a row",
        "nightkiln needs",
        "peak memory",
        "rows/s at 5 % faults",
        "lost or wrong",
        "asked again after kill -9",
    ]
    head = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    rows = [_row(result, ours) for result in (*peers, ours)]
    failed = [
        f"- {result.title} {result.version}: {failure}"
        for result in (*peers, ours)
        for failure in result.failures
    ]
    notes = ["", "Could not be measured:", "", *failed] if failed else []
    return "\n".join([*head, *rows, *notes])


def _row(result: Result, ours: Result) -> str:
    long, faults, killed = result.long, result.faults, result.killed
    cells = [
        f"{result.title} {result.version}",
        result.slots,
        _cell(long, lambda run: f"{run.rows:,}"),
        _cell(long, lambda run: f"{run.rate:,.0f}"),
        "" if result is ours else _faster(ours, result),
        _cell(result.cpu_us, lambda cost: f"{cost:,.0f} µs"),
        "" if result is ours else _cheaper(ours, result),
        _cell(long, lambda run: f"{run.spent.peak_mb:,.0f} MB"),
        _cell(faults, lambda run: f"{run.rate:,.0f}"),
        _cell(faults, lambda run: f"{run.wrong:,} of {run.rows:,}"),
        _cell(killed, lambda found: f"{found.asked_again:,} of {found.answered:,}"),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(value: T | None, said: Callable[[T], str]) -> str:
    return "-" if value is None else said(value)


def _faster(ours: Result, peer: Result) -> str:
    if ours.long is None or peer.long is None or not peer.long.rate:
        return "-"
    return f"{_times(ours.long.rate / peer.long.rate)} as fast"


def _cheaper(ours: Result, peer: Result) -> str:
    if not ours.cpu_us or not peer.cpu_us or peer.cpu_us <= 0:
        return "-"
    return f"{ours.cpu_us / peer.cpu_us * 100:.2g} % of it"


def favouring_table(settings: Sequence[Setting]) -> str:
    """The settings that favour the others, as Markdown."""
    head = [
        "| setting | tool | it | nightkiln | nightkiln's advantage (below 1: the tool's) |",
        "|---|---|---:|---:|---:|",
    ]
    rows = [
        f"| {each.setting} | {each.title} | {_number(each.theirs)} {each.unit}"
        f" | {_number(each.ours)} {each.unit} | {_times(each.ratio)} |"
        for each in settings
    ]
    return "\n".join([*head, *rows])


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
