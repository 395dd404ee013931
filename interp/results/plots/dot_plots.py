"""Dot plots: values with their intervals, below each other or task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from interp.results.plots.canvas import (
    CHANCE,
    MUTED,
    Figure,
    draw_chance,
    draw_dot,
    find_name,
    find_style,
    group_rows,
    label_axes,
    list_limits,
    list_series,
    list_values,
    make_panels,
    set_share_range,
    styled,
    write_not_measurable,
)
from interp.results.plots.legends import draw_legend
from interp.results.rows import Measurement


@styled
def dots(
    rows: Sequence[Measurement],
    *,
    xlabel: str,
    y: str = "condition",
    by: str = "reader",
    panel: str = "task",
    names: Mapping[str, str] | None = None,
    chance: bool = False,
) -> Figure:
    """Values with intervals below each other, in the order in which the rows name them.

    Args:
        rows: Rows, one for each panel, line and series.
        xlabel: What is drawn, with its unit.
        y: Field whose values are the lines.
        by: Field whose values are the series.
        panel: Field whose values are the panels.
        names: How to write values of these fields, and their order; themselves where not given.
        chance: Draw the chance level of each panel.

    Raises:
        ValueError: No rows, or two rows for one point (the message says how they differ).
    """
    table = group_rows(rows, (panel, y, by), None)
    series = list_series(rows, by, names)
    panels = list_values(rows, panel, names)
    lines = list_values(rows, y, names)
    slot = 0.62 / max(1, len(series))
    height = max(0.9, len(lines) * max(0.2, 0.105 * len(series) + 0.06) + 0.3)
    figure, axes = make_panels([find_name(p, names) for p in panels], height=height)
    set_share_range(axes, rows, "x")  # first: where words go depends on it
    for value, ax in zip(panels, axes, strict=True):
        ax.grid(axis="x")
        guess = [row.chance for row in rows if getattr(row, panel) == value][:1] if chance else []
        guess = [level for level in guess if not isnan(level)]
        for place, line in enumerate(lines):
            members = [row for name in series for row in table.get((value, line, name), ())]
            around = [*list_limits(members), *guess]
            if members and all(isnan(row.value) for row in members):
                write_not_measurable(ax, float(place), around)
                continue
            for at, name in enumerate(series):
                level = place + (at - (len(series) - 1) / 2) * slot
                for row in table.get((value, line, name), ()):
                    draw_dot(ax, row, level, find_style(name, at), drawn=around)
        for at, name in enumerate(series):
            colour, _, marker = find_style(name, at)
            # Empty lines for the legend: labels of the dots would give an entry for each.
            ax.plot([], [], color=colour, marker=marker, linestyle="", markersize=3.4,
                    label=find_name(name, names))  # fmt: skip
        for level in guess:
            draw_chance(ax, level, is_horizontal=False, label=CHANCE)
        ax.set_yticks(range(len(lines)), [find_name(line, names) for line in lines])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(lines) - 0.45, -0.55)
        ax.spines["left"].set_visible(False)
    label_axes(figure, axes, x=xlabel)
    draw_legend(figure, axes[0])
    return figure


@styled
def headline(
    accuracy: Mapping[str, Sequence[Measurement]],
    reliance: Mapping[str, Sequence[Measurement]],
    *,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Accuracy beside reliance on the chain, for base and post on each task.

    Args:
        accuracy: Title of a panel -> one row per task and reader, values between 0 and 1; with the
            line of chance.
        reliance: The same for measures of reliance, without that line. At most three panels in all
            stand beside each other.
        names: How to write the tasks and readers, and the order of the tasks.

    Raises:
        ValueError: No rows, or two rows for one task and reader.
    """
    panels = {**accuracy, **reliance}
    rows = [row for drawn in panels.values() for row in drawn]
    tasks = list_values(rows, "task", names)
    readers = list_series(rows, "reader", names)
    group = len(readers) + 1.35
    figure, axes = make_panels([*panels], height=0.2 + 0.17 * group * len(tasks), beside=3)
    for ax, (title, drawn) in zip(axes, panels.items(), strict=True):
        table = group_rows(drawn, ("task", "reader"), None)
        ax.grid(axis="x")
        ax.set_xlim(-0.04, 1.04)
        for i, task in enumerate(tasks):
            known = [row.chance for row in drawn if row.task == task and title in accuracy][:1]
            for chance in [value for value in known if not isnan(value)]:
                # Through the rows of this task alone: another task has another chance.
                span = [i * group + 0.5, i * group + len(readers) + 0.5]
                ax.plot(
                    [chance, chance], span, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)),
                    label="" if ax.get_legend_handles_labels()[1] else CHANCE,
                )  # fmt: skip
            for j, reader in enumerate(readers):
                for row in table.get((task, reader), ()):
                    style = find_style(reader, j)
                    draw_dot(
                        ax, row, i * group + 1 + j, style, size=4.6, width=1.5, written=True,
                        drawn=known,
                    )  # fmt: skip
        levels = {i * group + 1 + j: r for i in range(len(tasks)) for j, r in enumerate(readers)}
        ax.set_yticks([*levels], [find_name(reader, names) for reader in levels.values()])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(tasks) * group - 0.5, -0.6)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.spines["left"].set_visible(False)
    for i, task in enumerate(tasks):
        axes[0].annotate(
            find_name(task, names), (0, i * group), xycoords=("axes fraction", "data"),
            xytext=(-24, 0), textcoords="offset points", va="center", fontweight="bold",
        )  # fmt: skip
    draw_legend(figure, axes[0])
    return figure
