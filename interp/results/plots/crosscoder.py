"""The figure of a crosscoder: relative decoder norms of all latents, and which are exclusive.

A histogram of Delta (0: base only, 1: post only) with the latents of each class stacked, on a
logarithmic count, since a handful at the ends is what matters; below it, the null pair on the same
axis. What seems exclusive and is not (shrunk, decoupled) has a colour of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp.methods.crosscoder import LatentReport
from interp.methods.crosscoder.latents import (
    BASE_ONLY,
    BETWEEN,
    DECOUPLED,
    POST_ONLY,
    SHARED,
    SHRUNK,
)
from interp.results.plots.canvas import COLOURS, GRID, MUTED, WIDTH, Figure, styled

N_BINS = 25
TICKS = (0, 1, 10, 100, 1000, 10_000)
CLASSES: Mapping[str, tuple[str, Any]] = {
    SHARED: ("shared", MUTED),
    BETWEEN: ("between", GRID),
    SHRUNK: ("shrunk", "#e69f00"),
    DECOUPLED: ("decoupled", "#56b4e9"),
    BASE_ONLY: ("base only", COLOURS["base"]),
    POST_ONLY: ("post only", COLOURS["post"]),
}
"""Label and colour; dead and rare latents are not judged and not drawn."""


@styled
def decoder_norms(reports: Mapping[str, LatentReport]) -> Figure:
    """Histograms of the relative decoder norm, one panel for each crosscoder.

    Args:
        reports: By the title of the panel; the pair first, then its nulls.

    Returns:
        The figure.

    Raises:
        ValueError: There is nothing to draw.
    """
    from matplotlib.figure import Figure as NewFigure

    if not reports:
        raise ValueError("a figure of decoder norms needs at least one report; received none")
    figure = NewFigure(figsize=(WIDTH, 0.7 + 1.1 * len(reports)), layout="constrained")
    axes = list(figure.subplots(len(reports), 1, sharex=True, squeeze=False)[:, 0])
    for (title, report), ax in zip(reports.items(), axes, strict=True):
        _panel(ax, report)
        ax.set_title(title)
        ax.annotate(
            f"{report.n_judged} latents\n{report.exclusive_rate:.1%} exclusive",
            (0.02, 0.95), xycoords="axes fraction", va="top", fontsize=6, color=MUTED,
        )  # fmt: skip
        ax.set_ylabel("latents")
    axes[-1].set_xlabel("relative decoder norm (0: base, 1: post)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def _panel(ax: Any, report: LatentReport) -> None:
    values = [
        [float(d) for d, of in zip(report.delta, report.kinds, strict=True) if of == kind]
        for kind in CLASSES
    ]
    labels, colours = zip(*CLASSES.values(), strict=True)
    ax.hist(
        values, bins=N_BINS, range=(0, 1), stacked=True, color=colours, label=labels,
        edgecolor="white", linewidth=0.3,
    )  # fmt: skip
    # Not "log", on which empty bins would have no place.
    ax.set_yscale("symlog", linthresh=1)
    ax.set_yticks(TICKS, [str(tick) for tick in TICKS])
    ax.set_ylim(0, 4 * max(1, len(report.kinds)))
    ax.set_xlim(0, 1)
    ax.grid(axis="y")
