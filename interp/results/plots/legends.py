"""What stands above the panels of a figure: the legend, and what the whole figure is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from interp.results.plots.canvas import CHANCE, STYLE, Figure


def draw_legend(figure: Figure, ax: Any) -> None:
    """One legend for all panels, above them, for more than one series or a line of chance."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) > 1 or CHANCE in labels:
        figure.legend(handles, labels, loc="outside upper left", ncols=_count_columns(labels))


def write_above(figure: Figure, text: str) -> None:
    """Says above everything else what a whole figure is about."""
    figure.set_figheight(figure.get_figheight() + 0.15)
    if figure.legends:
        # A title of the figure and a legend outside of the axes would be drawn on each other.
        figure.legends[0].set_title(text, {"size": STYLE["axes.titlesize"]})
        figure.legends[0].set_alignment("left")
    else:
        figure.suptitle(text, x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])


def _count_columns(labels: Sequence[str]) -> int:
    """How many columns of a legend fit beside each other, at most four."""
    for columns in range(min(4, len(labels)), 1, -1):
        # As matplotlib fills them: column by column, the first ones longer by one.
        parts = np.array_split([len(label) for label in labels], columns)
        # About 64 characters fit side by side, and the mark before a label takes 7.
        if sum(max(part) + 7 for part in parts) <= 64:
            return columns
    return 1
