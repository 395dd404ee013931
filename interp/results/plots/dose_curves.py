"""Dose-response: a behaviour and the coherence that is left, against the dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from interp.methods.steering import DoseRow, random_band
from interp.results.plots.canvas import (
    MUTED,
    WIDTH,
    Figure,
    find_name,
    find_style,
    styled,
)
from interp.results.plots.legends import draw_legend

NAMES = {
    "p_think": "P(think)",
    "accuracy": "Accuracy",
    "kl": "KL to unsteered\n(nats per token)",
    "kl_rest": "KL of the rest\n(nats per token)",
    "perplexity": "Perplexity",
    "distinct_2": "Distinct bigrams",
    "compression": "Compression ratio",
    "valid": "Valid format",
    "steered": "direction",
}


@styled
def dose_response(
    rows: Sequence[DoseRow],
    *,
    metrics: Sequence[str] = ("accuracy", "kl"),
    names: Mapping[str, str] = NAMES,
) -> Figure:
    """Metrics against the dose, one panel below the other, over the band of random directions.

    Args:
        rows: Of one sweep.
        metrics: One panel each, in this order: behaviours first, then coherence.
        names: How to write metrics and directions.

    Returns:
        The figure. The band reaches from the lowest to the highest random direction.

    Raises:
        ValueError: A metric has no rows, or two rows for one point.
    """
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(WIDTH, 0.5 + 1.15 * len(metrics)), layout="constrained")
    axes = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for metric, ax in zip(metrics, axes, strict=True):
        _panel(ax, [row for row in rows if row.metric == metric], metric, names)
    axes[-1].set_xlabel("dose (mean residual norms)")
    draw_legend(figure, axes[0])
    return figure


def _panel(ax: Any, rows: Sequence[DoseRow], metric: str, names: Mapping[str, str]) -> None:
    if not rows:
        raise ValueError(f"there are no rows of the metric {metric!r} to draw")
    band = random_band(rows, metric)
    if band:
        lows, highs = zip(*band.values(), strict=True)
        ax.fill_between(
            list(band), lows, highs, color=MUTED, alpha=0.25, linewidth=0, label="random"
        )
    drawn = dict.fromkeys(row.direction for row in rows if row.kind != "random")
    for at, direction in enumerate(drawn):
        points = sorted((row for row in rows if row.direction == direction), key=lambda r: r.dose)
        if len({row.dose for row in points}) < len(points):
            raise ValueError(
                f"a figure draws one row for each point; {direction!r} has several of {metric!r} "
                f"at one dose. Keep the rows of one sweep"
            )
        known = [row for row in points if not isnan(row.value)]
        colour, line, marker = find_style(direction, at + 4)
        xs, ys = [row.dose for row in known], [row.value for row in known]
        # errorbar refuses negative lengths; max() also turns a limit of NaN into no bar.
        below = [max(0.0, row.value - row.low) for row in known]
        above = [max(0.0, row.high - row.value) for row in known]
        ax.errorbar(
            xs, ys, (below, above), color=colour, linestyle=line, marker=marker, markersize=2.6,
            linewidth=1.2, elinewidth=0.7, label=find_name(direction, names),
        )  # fmt: skip
    ax.axvline(0, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
    ax.grid(axis="y")
    ax.set_ylabel(find_name(metric, names))
