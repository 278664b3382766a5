"""Lines over time as an SVG written by hand: two runs, one picture, no library."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 300, 64, 28
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - 44
_COLOURS = ("#1f6fb4", "#c2571a", "#3a8a4d")
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


def picture(title: str, lines: Sequence[Line], *, across: str, up: str) -> str:
    """The SVG of some lines over common axes that begin at nought."""
    most_x = max(x for line in lines for x, _ in line.points)
    most_y = _round_up(max(y for line in lines for _, y in line.points))
    bottom = _TOP + _PLOT_HEIGHT
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FORM}>',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 16, title, "start"),
        _text(_LEFT + _PLOT_WIDTH / 2, _HEIGHT - 8, across, "middle"),
        _text(8, _TOP - 2, up, "start", size=10),
    ]
    for step in range(5):
        share = step / 4
        y, x = bottom - share * _PLOT_HEIGHT, _LEFT + share * _PLOT_WIDTH
        drawn += [
            f'<path d="M{_LEFT} {y:.1f}h{_PLOT_WIDTH}" stroke="#ddd"/>',
            _text(_LEFT - 6, y + 4, f"{share * most_y:,.0f}", "end"),
            _text(x, bottom + 16, f"{share * most_x:,.4g}", "middle"),
        ]
    for number, line in enumerate(lines):
        drawn += _drawn(line, number, most_x, most_y)
    return "\n".join([*drawn, "</svg>", ""])


def _drawn(line: Line, number: int, most_x: float, most_y: float) -> list[str]:
    colour, dash = _COLOURS[number % 3], _DASHES[number % 3]
    places = [
        (_LEFT + x / most_x * _PLOT_WIDTH, _TOP + (1 - y / most_y) * _PLOT_HEIGHT)
        for x, y in line.points
    ]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    height = _TOP + _PLOT_HEIGHT - 16 * (number + 1)
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    return [
        f'<path d="{path}" {style}/>',
        f'<path d="M{_LEFT + 12} {height}h28" {style}/>',
        _text(_LEFT + 46, height + 4, line.name, "start"),
    ]


def _text(x: float, y: float, said: str, anchor: str, *, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="#222">{said}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten."""
    top = 1.0
    while top < value:
        top *= 10
    steps = [top / 10 * step for step in (1, 2, 4, 8, 10)]
    below = [high for low, high in pairwise(steps) if low < value <= high]
    return below[0] if below else top


def save(path: Path, svg: str) -> None:
    """Write a picture."""
    path.write_text(svg)
