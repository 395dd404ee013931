"""Curves: a metric along a coordinate of its rows, with its interval as a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from interp.results.plots.canvas import (
    CHANCE,
    Figure,
    draw_chance,
    find_name,
    find_point,
    find_style,
    group_rows,
    label_axes,
    list_series,
    list_values,
    make_panels,
    set_point_ticks,
    set_share_range,
    styled,
    write_if_empty,
)
from interp.results.plots.legends import draw_legend
from interp.results.rows import Measurement


@styled
def curve(
    rows: Sequence[Measurement],
    *,
    ylabel: str,
    xlabel: str = "steps kept",
    x: str = "step",
    by: str = "reader",
    panel: str = "task",
    names: Mapping[str, str] | None = None,
    chance: bool = False,
) -> Figure:
    """A metric along a coordinate, such as the steps kept: lines with bands, one panel per task.

    Args:
        rows: Rows of one probe and metric, one for each panel, series and x.
        ylabel: What is drawn, with its unit.
        xlabel: What the coordinate is, with its unit.
        x: Coordinate of the x axis: a name of `interp.results.rows.POINTS`.
        by: Field whose values are the series.
        panel: Field whose values are the panels.
        names: How to write values of these fields, and their order; themselves where not given.
        chance: Draw the chance level of each panel.

    Raises:
        ValueError: No rows, a row without the coordinate, or two rows for one point (the message
            says how they differ).
    """
    table = group_rows(rows, (panel, by), x)
    series = list_series(rows, by, names)
    panels = list_values(rows, panel, names)
    figure, axes = make_panels([find_name(p, names) for p in panels], height=1.35)
    for value, ax in zip(panels, axes, strict=True):
        ax.grid(axis="y")
        for nr, name in enumerate(series):
            known = [row for row in table.get((value, name), ()) if not isnan(row.value)]
            colour, line, marker = find_style(name, nr)
            xs, ys = [find_point(row, x) for row in known], [row.value for row in known]
            lows = [row.value if isnan(row.low) else row.low for row in known]
            highs = [row.value if isnan(row.high) else row.high for row in known]
            ax.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0)
            ax.plot(
                xs, ys, color=colour, linestyle=line, marker=marker,
                markersize=2.6, linewidth=1.2, label=find_name(name, names),
            )  # fmt: skip
        drawn = [row for name in series for row in table.get((value, name), ())]
        if chance and drawn and not isnan(drawn[0].chance):
            draw_chance(ax, drawn[0].chance, is_horizontal=True, label=CHANCE)
        write_if_empty(ax, drawn)
        set_point_ticks(ax, [find_point(row, x) for row in drawn])
    set_share_range(axes, rows, "y")
    label_axes(figure, axes, x=xlabel, y=ylabel)
    draw_legend(figure, axes[0])
    return figure
