"""The four cells of the 2 x 2 test: what a direction does, by where it is from and who is steered.

A panel for each source of a direction (rows) and each steered model (columns): the effect at each
dose with its interval, over the band of random directions of the same length at the same site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp.results.plots.canvas import COLOURS, INK, MUTED, STYLE, WIDTH, Figure, styled


@dataclass(frozen=True)
class CellDose:
    """One dose of one source in one steered model."""

    source: str
    steered: str
    metric: str
    """What is read: 'reasons' or 'opens'."""
    dose: float
    """In mean residual norms."""
    value: float
    """Change against the unsteered model, with its interval."""
    low: float
    high: float
    band_low: float
    """Smallest and largest change among the random directions."""
    band_high: float
    chosen: bool
    """Whether this dose was chosen on the other half of the problems."""
    n: int
    """Problems."""


NAMES = {"reasons": "reasons rightly", "opens": "opens a chain"}


@styled
def four_cells(rows: Sequence[CellDose]) -> Figure:
    """Effect against the dose, a panel for each source and steered model.

    Args:
        rows: Of one run; dose 0, where nothing changes, is drawn without a row.

    Returns:
        The figure. The chosen dose is drawn filled, the others open.

    Raises:
        ValueError: No rows, or two for one point.
    """
    from matplotlib.figure import Figure as NewFigure

    if not rows:
        raise ValueError("a figure of cells needs rows; received none")
    keys = [(row.source, row.steered, row.dose) for row in rows]
    if len(set(keys)) < len(keys):
        raise ValueError(
            "a panel draws one row for each dose; received two for one. Keep the rows of one run"
        )
    sources = list(dict.fromkeys(row.source for row in rows))
    models = list(dict.fromkeys(row.steered for row in rows))
    figure = NewFigure(figsize=(WIDTH, 0.5 + 1.1 * len(sources)), layout="constrained")
    axes = figure.subplots(len(sources), len(models), sharey=True, sharex="col", squeeze=False)
    for line, source in zip(axes, sources, strict=True):
        for ax, model in zip(line, models, strict=True):
            points = [row for row in rows if (row.source, row.steered) == (source, model)]
            _panel(ax, sorted(points, key=lambda row: row.dose))
            if source == sources[0]:
                what = NAMES.get(points[0].metric, points[0].metric) if points else ""
                ax.set_title(f"{model} steered,\nchange: {what}")
        line[0].set_ylabel(f"from {source}")
    figure.supxlabel("dose (mean residual norms)", fontsize=STYLE["axes.labelsize"])
    return figure


def _panel(ax: Any, rows: Sequence[CellDose]) -> None:
    ax.axhline(0, color=MUTED, linewidth=0.6)
    ax.grid(axis="y")
    if not rows:
        ax.text(0.5, 0.5, "not measurable", transform=ax.transAxes, ha="center", color=MUTED)
        return
    colour = COLOURS.get(rows[0].steered, INK)
    doses = [row.dose for row in rows]
    zero = sum(dose < 0 for dose in doses)  # where dose 0 stands among them

    def with_zero(values: Sequence[float]) -> list[float]:
        return [*values[:zero], 0.0, *values[zero:]]

    lows, highs = ([getattr(r, end) for r in rows] for end in ("band_low", "band_high"))
    xs = with_zero(doses)
    ax.fill_between(
        xs, with_zero(lows), with_zero(highs), color=MUTED, alpha=0.25, linewidth=0, label="random"
    )
    ax.plot(xs, with_zero([row.value for row in rows]), color=colour, linewidth=1.2)
    for row in rows:
        ends = ([max(0.0, row.value - row.low)], [max(0.0, row.high - row.value)])
        ax.errorbar(
            [row.dose], [row.value], ends, color=colour, marker="o", markersize=3,
            markerfacecolor=colour if row.chosen else "white", elinewidth=0.7,
        )  # fmt: skip
