"""Step plots: one chain, and a number for each of its steps."""

from __future__ import annotations

from collections.abc import Sequence

from interp.results.plots.canvas import (
    MUTED,
    Figure,
    find_point,
    find_style,
    label_axes,
    make_panels,
    replace_missing_glyphs,
    shorten,
    styled,
)
from interp.results.plots.legends import draw_legend
from interp.results.rows import Item, rank


@styled
def step_bars(
    items: Sequence[Item],
    *,
    texts: Sequence[str],
    xlabel: str = "gain (nats per answer)",
) -> Figure:
    """One chain: a bar for each step and reader.

    Args:
        items: Items of one example, one for each step and reader.
        texts: The steps, in order.
        xlabel: What is drawn, with its unit.

    Raises:
        ValueError: No items, items without a step or of several examples, or two for one bar.
    """
    table: dict[tuple[int, str], float] = {}
    for item in items:
        step = int(find_point(item, "step"))
        if (step, item.reader) in table or item.example != items[0].example:
            raise ValueError(
                "step_bars draws one example, with one item for each step and reader; received "
                f"{items[0]} and {item}. Choose items by example, writer, condition and metric."
            )
        table[step, item.reader] = item.value
    if not table:
        raise ValueError("step_bars needs at least one item; received none")
    readers = sorted({reader for _, reader in table}, key=rank)
    slot = 0.7 / len(readers)
    figure, (ax,) = make_panels([""], height=0.25 + len(texts) * max(0.2, 0.13 * len(readers)))
    for at, reader in enumerate(readers):
        level = [i + (at - (len(readers) - 1) / 2) * slot for i in range(len(texts))]
        values = [table.get((i, reader), float("nan")) for i in range(len(texts))]
        ax.barh(level, values, height=slot * 0.9, color=find_style(reader, at)[0], label=reader)
    ax.axvline(0, color=MUTED, linewidth=0.6)
    ax.grid(axis="x")
    ax.set_yticks(range(len(texts)), [replace_missing_glyphs(shorten(text)) for text in texts])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(texts) - 0.45, -0.55)
    ax.spines["left"].set_visible(False)
    label_axes(figure, [ax], x=xlabel)
    draw_legend(figure, ax)
    return figure
