"""Elicitation costs: accuracy of each method against the parameters and tokens that it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from interp.results.plots.canvas import COLOURS, MUTED, WIDTH, Figure, find_style, styled

TICKS = {0: "0", 1: "1", 10: "10", 100: "100", 10_000: "10k", 1_000_000: "1M", 1e9: "1G"}


@dataclass(frozen=True)
class MethodCost:
    """One elicitation method: how often its answers are right, and what it changes."""

    name: str
    accuracy: float
    low: float
    high: float
    chain_valid: float
    """Share of the texts whose chain is a whole and correct solution."""
    trained: int
    """Parameters that training changed, counted in the weights."""
    fitted: int
    """Numbers fitted without training: the entries of a vector, its dose."""
    touched: float
    """Mean number of positions that were edited or forced in a text."""
    is_post: bool = False


@styled
def elicitation_costs(rows: Sequence[MethodCost], *, baseline: str = "template") -> Figure:
    """Accuracy against parameters and against tokens touched, side by side.

    Args:
        rows: One for each method.
        baseline: The method drawn as a line across: the base under its best template.

    Raises:
        ValueError: If there are no rows, or two of one name.
    """
    from matplotlib.figure import Figure as NewFigure

    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(
            f"a figure of methods draws each once and needs at least one; received {names}"
        )
    n_lines = -(-len(rows) // 2)
    figure = NewFigure(figsize=(WIDTH, 2.3 + 0.14 * n_lines), layout="constrained")
    axes = list(figure.subplots(1, 2, sharey=True))
    _panel(axes[0], rows, [float(row.trained + row.fitted) for row in rows], baseline)
    _panel(axes[1], rows, [row.touched for row in rows], baseline)
    axes[0].set_xlabel("parameters trained or fitted")
    axes[1].set_xlabel("tokens touched")
    axes[0].set_ylabel("Accuracy")
    axes[0].set_ylim(-0.03, 1.03)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(ax: Any, rows: Sequence[MethodCost], xs: Sequence[float], baseline: str) -> None:
    # Not "log": methods that train or touch nothing stand at 0.
    ax.set_xscale("symlog", linthresh=1)
    ticks = [tick for tick in TICKS if tick <= max(1, *xs)]
    ax.set_xticks(ticks, [TICKS[tick] for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y")
    for at, (row, x) in enumerate(zip(rows, xs, strict=True)):
        colour, _, marker = find_style(row.name, at)
        colour = COLOURS["post"] if row.is_post else colour
        if isnan(row.accuracy):
            continue
        below, above = max(0.0, row.accuracy - row.low), max(0.0, row.high - row.accuracy)
        ax.errorbar(
            [x], [row.accuracy], ([below], [above]), color=colour, marker=marker, markersize=4,
            linewidth=0, elinewidth=0.8, label=row.name.replace("_", " "), clip_on=False,
        )  # fmt: skip
        if row.name == baseline:
            ax.axhline(row.accuracy, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
    ax.set_xlim(left=-0.3)
