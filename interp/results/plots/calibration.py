"""How far each instrument can be trusted: agreement with the truth, nulls, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any, NamedTuple

from interp.results.plots.canvas import (
    COLOURS,
    GRID,
    WIDTH,
    Figure,
    draw_chance,
    styled,
    write_not_measurable,
)

BAR, NULL_BAR, COVERED = 0.9, 0.05, (0.92, 0.98)
"""Criteria of a calibrated number: agreement, false positives, range of coverage."""


class Judged(NamedTuple):
    """One number of one probe, judged on organisms of known truth."""

    name: str
    """On as many lines as it takes."""
    agreement: float
    """AUROC or rank correlation."""
    low: float
    high: float
    null: float
    """Share of pairs of organisms of one recipe that differ significantly."""
    coverage: float
    verdict: str
    """'calibrated', 'not calibrated' or 'undecided'."""


@styled
def calibration(judged: Sequence[Judged]) -> Figure:
    """A line for each number: its agreement with the truth, false positives, and coverage.

    Calibrated numbers are filled circles, undecided ones open circles, others open diamonds; dotted
    lines and the band show the criteria.

    Args:
        judged: In the order of the lines.

    Raises:
        ValueError: Nothing was judged.
    """
    from matplotlib.figure import Figure as NewFigure

    if not judged:
        raise ValueError("a figure of calibration needs at least one judged number; received none")
    figure = NewFigure(figsize=(WIDTH, 0.8 + 0.26 * len(judged)), layout="constrained")
    axes = list(figure.subplots(1, 3, sharey=True, width_ratios=(1.3, 1, 1)))
    titles = ("agreement\nwith truth", "false\npositives", "interval\ncoverage")
    ranges = ((0.0, 1.0), (0.0, 1.0), (0.5, 1.0))
    for ax, title, (low, high) in zip(axes, titles, ranges, strict=True):
        margin = 0.05 * (high - low)
        ax.set_title(title)
        ax.grid(axis="x")
        ax.set_xlim(low - margin, high + margin)
        ax.set_xticks([low, high], [f"{low:g}", f"{high:g}"])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    bars = ([BAR], [NULL_BAR], [])
    for ax, bar in zip(axes, bars, strict=True):
        for level in bar:
            draw_chance(ax, level, is_horizontal=False)
    axes[2].axvspan(*COVERED, color=GRID, linewidth=0, zorder=0)
    for level, one in enumerate(judged):
        low, high = (one.agreement if isnan(v) else v for v in (one.low, one.high))
        if not isnan(one.agreement):
            axes[0].plot([low, high], [level, level], color=_colour(one), linewidth=1.0)
        values = (one.agreement, one.null, one.coverage)
        for ax, value, bar in zip(axes, values, bars, strict=True):
            _mark(ax, value, level, one, bar)
    axes[0].set_yticks(range(len(judged)), [one.name for one in judged])
    # From the bottom to the top of the axis, so that the first line is drawn on top.
    axes[0].set_ylim(len(judged) - 0.45, -0.55)
    return figure


def _colour(one: Judged) -> str:
    return COLOURS["post"] if one.verdict == "not calibrated" else COLOURS["base"]


def _mark(ax: Any, value: float, level: int, one: Judged, bar: Sequence[float]) -> None:
    if isnan(value):
        write_not_measurable(ax, float(level), bar)
        return
    # A value off the axis is drawn at its edge, or it could not be seen.
    low, high = ax.get_xlim()
    ax.plot(
        [min(max(value, low), high)], [level], color=_colour(one), clip_on=False, markersize=3.6,
        marker="D" if one.verdict == "not calibrated" else "o",
        markerfacecolor=_colour(one) if one.verdict == "calibrated" else "white",
    )  # fmt: skip
