"""Plots as SVG, to stand in a page: numbers of two versions beside each other. Pure.

Colours are classes, which the page's style fills for dark and for light.
"""

from collections.abc import Callable, Sequence
from html import escape
from math import log10
from typing import TypeVar

from pipeline_client.cli.batches.figures import Pair

MAX_POINTS = 2000
"""Of a plot: of more solutions, every so-manieth is drawn."""

_WIDTH, _HEIGHT = 360, 300
_LEFT, _BOTTOM, _TOP, _RIGHT = 62, 34, 10, 14

T = TypeVar("T")

Amount = Callable[[float], str]
"""Say a number with its unit."""


def scatter(pairs: Sequence[Pair], title: str, amount: Amount) -> str:
    """Return a point for each solution, old to the right and new upwards, on logarithmic axes.

    What lies above the diagonal takes more with the new version.
    """
    axis = _Axis([value for pair in pairs for value in pair])
    points = "".join(
        f'<circle class="point" cx="{axis.x(old):.1f}" cy="{axis.y(new):.1f}" r="3"/>'
        for old, new in _thinned(pairs)
    )
    low, high = axis.low, axis.high
    diagonal = (
        f'<line class="guide" x1="{axis.x(low):.1f}" y1="{axis.y(low):.1f}" '
        f'x2="{axis.x(high):.1f}" y2="{axis.y(high):.1f}"/>'
    )
    ticks = "".join(
        _x_label(axis.x(tick), amount(tick)) + _y_label(axis.y(tick), amount(tick))
        for tick in axis.ticks()
    )
    return _svg(title, f"{_frame()}{ticks}{diagonal}{points}{_axis_names('old', 'new')}")


def distribution(pairs: Sequence[Pair], title: str, amount: Amount) -> str:
    """Return, for both versions, which part of the solutions takes at most so much."""
    axis = _Axis([value for pair in pairs for value in pair])
    lines = ""
    for name, values in zip(("old", "new"), zip(*pairs, strict=True), strict=True):
        ordered = _thinned(sorted(values))
        steps = [f"{axis.x(ordered[0]):.1f},{_up(0):.1f}"]
        for number, value in enumerate(ordered, 1):
            across, upwards = axis.x(value), _up(number / len(ordered))
            steps.append(f"{across:.1f},{_up((number - 1) / len(ordered)):.1f}")
            steps.append(f"{across:.1f},{upwards:.1f}")
        lines += f'<polyline class="{name}" points="{" ".join(steps)}"/>'
    ticks = "".join(_x_label(axis.x(tick), amount(tick)) for tick in axis.ticks())
    parts = "".join(_y_label(_up(part / 4), f"{25 * part} %") for part in range(5))
    return _svg(title, f"{_frame()}{ticks}{parts}{lines}")


def bars(counts: Sequence[tuple[str, tuple[int, int]]], title: str) -> str:
    """Return two bars for each name, the old version's number and the new one's."""
    most = max((max(pair) for _, pair in counts), default=0) or 1
    rows, space = [], 150
    scale = (2 * _WIDTH - space - 70) / most
    for number, (name, pair) in enumerate(counts):
        top = 8 + 44 * number
        rows.append(f'<text class="name" x="{space - 8}" y="{top + 21}">{escape(name)}</text>')
        for kind, count, down in zip(("old", "new"), pair, (0, 17), strict=True):
            long = max(count * scale, 1) if count else 0
            corner = f'x="{space}" y="{top + down}"'
            rows.append(
                f'<rect class="{kind}" {corner} width="{long:.1f}" height="15"/>'
                f'<text x="{space + long + 6:.1f}" y="{top + down + 12}">{count}</text>'
            )
    return _svg(title, "".join(rows), 2 * _WIDTH, 44 * len(counts) + 8)


class _Axis:
    """A logarithmic axis, the same in both directions; what is 0 lies at its beginning."""

    def __init__(self, values: Sequence[float]) -> None:
        above = [value for value in values if value > 0] or [1.0]
        self.low, self.high = min(above) / 1.15, max(above) * 1.15
        self._span = log10(self.high / self.low)

    def _part(self, value: float) -> float:
        return log10(max(value, self.low) / self.low) / self._span

    def x(self, value: float) -> float:
        return _LEFT + self._part(value) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _up(self._part(value))

    def ticks(self) -> list[float]:
        """Return four values, evenly apart on paper."""
        return [self.low * (self.high / self.low) ** (part / 3) for part in range(4)]


def _up(part: float) -> float:
    return _HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - _TOP)


def _thinned(values: Sequence[T]) -> Sequence[T]:
    return values[:: -(-len(values) // MAX_POINTS)]


def _svg(title: str, inside: str, width: int = _WIDTH, height: int = _HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><title>{escape(title)}</title>{inside}</svg>'
    )


def _frame() -> str:
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP
    return f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{wide}" height="{high}"/>'


def _x_label(x: float, text: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}">{escape(text)}</text>'


def _y_label(y: float, text: str) -> str:
    return f'<text class="name" x="{_LEFT - 5}" y="{y + 4:.1f}">{escape(text)}</text>'


def _axis_names(across: str, upwards: str) -> str:
    return (
        f'<text class="tick" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}">{across}</text>'
        f'<text class="name" x="{_LEFT + 26}" y="{_TOP + 14}">{upwards}</text>'
    )
