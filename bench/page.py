"""The table in `docs/benchmarks.md`: between its markers ours, around them the author's."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from bench import plots
from bench.figures import Figure, Report
from bench.processes import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
_MARKS = {True: "yes", False: "**no**", None: ""}


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """An SVG that a workload draws into `plots.FOLDER`."""

    file: str  # without its ending
    workload: str
    says: str


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the page, between the markers of its name."""

    name: str
    workloads: frozenset[str]  # of whose figures it is made
    pictures: tuple[Picture, ...] = ()


def update(
    report: Report,
    page: Path = PAGE,
    *,
    name: str = "figures",
    pictures: Sequence[Picture] = (),
    body: str | None = None,
) -> None:
    """Put a report's table, then its pictures, between the markers of that name.

    A `body` stands in place of the table. Raises ValueError without the markers.
    """
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text()
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{page} needs the lines {first} and {last}")
    shown = "".join(f"\n{_shown(picture, page.parent)}\n" for picture in pictures)
    inner = table(report) if body is None else f"{conditions(report)}\n\n{body}"
    page.write_text(f"{before}{first}\n{inner}\n{shown}{last}{after}")


def _shown(picture: Picture, folder: Path) -> str:
    shutil.copy(plots.FOLDER / f"{picture.file}.svg", folder)
    return f"![{picture.says}]({picture.file}.svg)"


def conditions(report: Report) -> str:
    """When, where and with what a report was made."""
    machine = report.machine
    changed = " with changes" if report.changed else ""
    return (
        f"Measured {report.at} at commit `{report.commit}`{changed} (nightkiln {report.version})"
        f" with `{report.command}` on {machine.processor}, {machine.cores} cores,"
        f" {machine.memory_gb:.0f} GB, {machine.system}, Python {machine.python};"
        f" load {machine.load_before:.1f} before, {machine.load_after:.1f} after."
    )


def table(report: Report) -> str:
    """A report as Markdown."""
    head = [
        conditions(report),
        "",
        "| workload | figure | measured | to reach | reached | server |",
        "|---|---|---:|---:|---|---|",
    ]
    return "\n".join([*head, *_lines(report.figures)])


def _lines(figures: Iterable[Figure]) -> Iterable[str]:
    for figure in figures:
        name = figure.name + (f" ({figure.note})" if figure.note else "")
        yield (
            f"| {figure.workload} | {name} | {said(figure)} | {_target(figure)}"
            f" | {_MARKS[figure.holds]} | {figure.against} |"
        )


def said(figure: Figure) -> str:
    """A figure's value with its unit, and its spread where it is a median."""
    value = _number(figure.value, figure.unit)
    if len(figure.samples) > 1:
        low, high = min(figure.samples), max(figure.samples)
        value += f" ({_bare(low)} to {_bare(high)})"
    return value


def _target(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"≤ {_number(figure.at_most, figure.unit)}"
    return "" if figure.at_least is None else f"≥ {_number(figure.at_least, figure.unit)}"


def _number(value: float, unit: str) -> str:
    return f"{_bare(value)} {unit}".strip()


def _bare(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
