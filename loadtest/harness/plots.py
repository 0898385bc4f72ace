"""Plots as SVG, for a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 26, 30, 40

Text = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """Points in ascending order of x, under a name; `color` is a class of the page's style."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        ticks: where it has a line and a number; its ends are the first and the last.
        text: how a number is written.
        at: where a number is, as a distance; ascending.
    """

    label: str
    ticks: Sequence[float]
    text: Text
    at: Callable[[float], float] = float

    def part(self, value: float) -> float:
        """Where between the ends it is, 0 to 1."""
        first, last = self.at(self.ticks[0]), self.at(self.ticks[-1])
        return min(1.0, max(0.0, (self.at(value) - first) / (last - first)))


def linear(label: str, highest: float, text: Text) -> Axis:
    """From 0 to what is not less than `highest`, in round steps."""
    highest = highest if highest > 0 else 1.0
    step = 10 ** math.floor(math.log10(highest / 4))
    step = next(step * each for each in (1, 2, 2.5, 5, 10) if step * each * 5 >= highest)
    return Axis(label, [step * index for index in range(math.ceil(highest / step - 1e-9) + 1)], text)


def logarithmic(label: str, lowest: float, highest: float, text: Text) -> Axis:
    """In powers of ten around both."""
    first, last = math.floor(math.log10(max(lowest, 1e-12))), math.ceil(math.log10(max(highest, 1e-12)))
    ticks = [10.0**power for power in range(first, max(last, first + 1) + 1)]
    return Axis(label, ticks, text, lambda value: math.log10(max(value, 1e-12)))


def nines(last: float) -> Axis:
    """Percents, the more room the nearer to 100: 90, 99, 99.9 are equally far from each other."""
    ticks = [0.0, *(100 - 10.0**power for power in (1, 0, -1, -2) if 100 - 10.0**power <= last + 1e-9)]
    return Axis("", ticks, lambda value: f"{value:g} %", lambda value: -math.log10(1 - value / 100))


def plot(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Lines over a grid, with a legend where there are several."""
    inner_width, inner_height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + x.part(value) * inner_width

    def down(value: float) -> float:
        return _TOP + (1 - y.part(value)) * inner_height

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{_LEFT}" y="16">{escape(title)}</text>',
    ]
    for tick in y.ticks:
        at = down(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{at + 4:.1f}">{escape(y.text(tick))}</text>'
        )
    for tick in x.ticks:
        at, bottom = across(tick), HEIGHT - _BOTTOM
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{bottom + 15}">{escape(x.text(tick))}</text>'
        )
    parts.append(
        f'<text class="label" text-anchor="end" x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}">{escape(x.label)}</text>'
        f'<text class="label" text-anchor="end" x="{WIDTH - _RIGHT}" y="16">{escape(y.label)}</text>'
    )
    for line in lines:
        drawn = " ".join(f"{across(each):.1f},{down(value):.1f}" for each, value in line.points)
        parts.append(f'<polyline class="line {line.color}" points="{drawn}"/>')
        parts += [
            f'<circle class="dot {line.color}" cx="{across(each):.1f}" cy="{down(value):.1f}" r="3">'
            f"<title>{escape(f'{line.name}: {y.text(value)} at {x.text(each)}')}</title></circle>"
            for each, value in line.points
        ]
    if len(lines) > 1:
        left = _LEFT
        for line in lines:
            parts.append(
                f'<rect class="{line.color}" x="{left}" y="{HEIGHT - 14}" width="10" height="10"/>'
                f'<text class="label" x="{left + 14}" y="{HEIGHT - 5}">{escape(line.name)}</text>'
            )
            left += 30 + 7 * len(line.name)
    return "".join([*parts, "</svg>"])


def bars(title: str, rows: Sequence[tuple[str, float, str, str]], *, width: int = 940) -> str:
    """Horizontal bars: name, how long, what is written beside it, and its color."""
    row, left, right = 26, 260, 130
    height = 34 + row * len(rows)
    longest = max((value for _, value, _, _ in rows), default=1.0) or 1.0
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="0" y="16">{escape(title)}</text>'
    ]
    for index, (name, value, text, color) in enumerate(rows):
        top, length = 30 + index * row, max(1.0, value / longest * (width - left - right))
        parts.append(
            f'<text class="label" text-anchor="end" x="{left - 8}" y="{top + 14}">{escape(name)}</text>'
            f'<rect class="{color}" x="{left}" y="{top}" width="{length:.1f}" height="18" rx="2"/>'
            f'<text class="label" x="{left + length + 8:.1f}" y="{top + 14}">{escape(text)}</text>'
        )
    return "".join([*parts, "</svg>"])
