"""Lines over time, rows or size as an SVG written by hand: one picture, no library."""

from collections.abc import Sequence
from math import ceil, floor, log10
from pathlib import Path

import msgspec
from bench.processes import ROOT

FOLDER = ROOT / "bench" / "results"  # from where `run.py --page` takes what it shows
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 320, 64, 46
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - 44
_COLOURS = ("#1f6fb4", "#c2571a", "#3a8a4d")
_TICKS = 5  # at most, and one for nought
_LEGEND_Y = 34
_LETTER = 6.6  # how wide one is, about
_FORM = 'role="img" font-family="sans-serif" font-size="12"'
_DASHES = ("", "6 4", "2 3")  # so that the lines differ without colour too


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a picture."""

    name: str
    points: tuple[tuple[float, float], ...]


def rate(ended: Sequence[tuple[float, int]], *, wall_s: float, bins: int = 24) -> Line:
    """Tokens a second over time, from who ended when with how many tokens."""
    width = wall_s / bins
    sums = [0] * bins
    for at, tokens in ended:
        sums[min(int(at / width), bins - 1)] += tokens
    points = tuple(((n + 0.5) * width, total / width) for n, total in enumerate(sums))
    return Line(name="", points=points)


class _Axis(msgspec.Struct, frozen=True, kw_only=True):
    """Values to shares of the plot's width or height, and where its ticks are."""

    low: float
    high: float
    decades: bool = False

    def share(self, value: float) -> float:
        """From 0 at the axis's beginning to 1 at its end."""
        if self.decades:
            value = log10(max(value, 10**self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values with a line of their own."""
        if self.decades:
            return [10.0**step for step in range(round(self.low), round(self.high) + 1)]
        step = _round_up(self.high / _TICKS)
        return [step * number for number in range(floor(self.high / step + 1e-9) + 1)]


def picture(
    title: str, lines: Sequence[Line], *, across: str, up: str, decades: bool = False
) -> str:
    """The SVG of some lines over common axes: from nought, or both by powers of ten."""
    xs, ys = _axes(lines, decades=decades)
    bottom = _TOP + _PLOT_HEIGHT
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FORM}>',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 16, f"{title} ({up})" if up else title, "start"),
        _text(_LEFT + _PLOT_WIDTH / 2, _HEIGHT - 8, across, "middle"),
    ]
    for value in ys.ticks():
        y = bottom - ys.share(value) * _PLOT_HEIGHT
        drawn += [
            f'<path d="M{_LEFT} {y:.1f}h{_PLOT_WIDTH}" stroke="#ddd"/>',
            _text(_LEFT - 6, y + 4, f"{value:,.0f}", "end"),
        ]
    for value in xs.ticks():
        said = f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"
        drawn.append(_text(_LEFT + xs.share(value) * _PLOT_WIDTH, bottom + 16, said, "middle"))
    left = float(_LEFT)
    for number, line in enumerate(lines):
        drawn += _drawn(line, number, xs, ys, left=left)
        left += 34 + len(line.name) * _LETTER + 16
    return "\n".join([*drawn, "</svg>", ""])


def _axes(lines: Sequence[Line], *, decades: bool) -> tuple[_Axis, _Axis]:
    points = [point for line in lines for point in line.points]
    across, up = [x for x, _ in points], [y for _, y in points]
    if decades:
        return _by_tens(across), _by_tens(up)
    step = _round_up(max(up) / _TICKS)
    most = step * ceil(max(up) / step - 1e-9)
    return _Axis(low=0.0, high=max(across)), _Axis(low=0.0, high=most or 1.0)


def _by_tens(values: Sequence[float]) -> _Axis:
    low = floor(log10(min(values)))
    return _Axis(low=low, high=max(low + 1, ceil(log10(max(values)))), decades=True)


def _drawn(line: Line, number: int, xs: _Axis, ys: _Axis, *, left: float) -> list[str]:
    """A line, and its name in the row under the title."""
    places = [
        (_LEFT + xs.share(x) * _PLOT_WIDTH, _TOP + (1 - ys.share(y)) * _PLOT_HEIGHT)
        for x, y in line.points
    ]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    colour, dash = _COLOURS[number % 3], _DASHES[number % 3]
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    return [
        f'<path d="{path}" {style}/>',
        f'<path d="M{left:.0f} {_LEGEND_Y - 4}h28" {style}/>',
        _text(left + 34, _LEGEND_Y, line.name, "start"),
    ]


def _text(x: float, y: float, said: str, anchor: str, *, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="#222">{said}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 times a power of ten."""
    tens = 10.0 ** floor(log10(value)) if value > 0 else 1.0
    return next(tens * step for step in (1, 2, 4, 5, 10) if value <= tens * step * (1 + 1e-9))


def save(path: Path, svg: str) -> None:
    """Write a picture."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(svg)
