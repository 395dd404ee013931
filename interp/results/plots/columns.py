"""Several measures of the same models side by side, each on an axis of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from textwrap import fill

from interp.results.plots.canvas import (
    CHANCE,
    WIDTH,
    Figure,
    draw_chance,
    draw_dot,
    find_style,
    set_share_range,
    styled,
)
from interp.results.plots.legends import draw_legend
from interp.results.rows import Measurement

TITLE = 36
"""Characters of all titles in a row."""


@styled
def columns(
    measures: Mapping[str, Sequence[Measurement]],
    *,
    line: Callable[[Measurement], str],
    names: Mapping[str, str] | None = None,
) -> Figure:
    """A panel for each measure, a line for each model, each value with its interval.

    Args:
        measures: Title of a panel -> its rows, one for each line; a measure's rows may lack a line.
        line: The line that a row belongs to.
        names: How to write the lines, and their order; themselves in the order of the rows where
            not given. A line called ``base`` has the colour of base, the others that of post.

    Raises:
        ValueError: No measures, a measure without rows, or two rows for one point.
    """
    from matplotlib.figure import Figure as NewFigure

    tables = {title: _by_line(title, rows, line) for title, rows in measures.items()}
    every = dict.fromkeys(name for table in tables.values() for name in table)
    if not every:
        raise ValueError("a figure needs at least one measure with a row; received none")
    order = [*(n for n in names or () if n in every), *(n for n in every if n not in (names or ()))]
    titles = [fill(title, TITLE // len(tables)) for title in tables]
    height = 0.5 + 0.12 * max(title.count("\n") + 1 for title in titles) + 0.2 * len(order)
    figure = NewFigure(figsize=(WIDTH, height), layout="constrained")
    apart = {"wspace": 0.12}
    axes = list(figure.subplots(1, len(tables), sharey=True, squeeze=False, gridspec_kw=apart).flat)
    for ax, title, table in zip(axes, titles, tables.values(), strict=True):
        ax.set_title(title)
        ax.grid(axis="x")
        rows = [*table.values()]
        set_share_range([ax], rows, "x")  # first: where words go depends on it
        known = not isnan(rows[0].chance) and rows[0].metric == "accuracy"
        guess = [rows[0].chance] if known else []
        for level, name in enumerate(order):
            if name in table:
                draw_dot(
                    ax,
                    table[name],
                    float(level),
                    find_style("base" if name == "base" else "post", 0),
                    drawn=guess,
                )
        for level in guess:
            draw_chance(ax, level, is_horizontal=False, label=CHANCE)
            draw_legend(figure, ax)
        ax.set_yticks(range(len(order)), [(names or {}).get(name, name) for name in order])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(order) - 0.45, -0.55)
        ax.spines["left"].set_visible(False)
    return figure


def _by_line(
    title: str, rows: Sequence[Measurement], line: Callable[[Measurement], str]
) -> dict[str, Measurement]:
    table: dict[str, Measurement] = {}
    for row in rows:
        if line(row) in table:
            raise ValueError(
                f"a line of a panel has one row; {title!r} received two for {line(row)!r}: "
                f"{table[line(row)]} and {row}. Keep the rows of one of them."
            )
        table[line(row)] = row
    if not table:
        raise ValueError(f"the panel {title!r} has no rows. Is the filter too narrow?")
    return table
