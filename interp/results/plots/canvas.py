"""What all figures share: sizes, colours, marks, and how they are written to files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from io import BytesIO
from math import ceil, isnan
from pathlib import Path
from textwrap import fill
from typing import Any, ParamSpec, TypeAlias

from interp.files import write_file
from interp.results.rows import CONTRAST, ORDER, POINTS, Measurement, RowKey, rank

Figure: TypeAlias = Any
"""matplotlib.figure.Figure (imported only when something is drawn)."""

WIDTH = 3.3
"""Inches: one column of a two-column paper."""
INK, MUTED, GRID = "#1f2328", "#6a737d", "#e1e4e8"
PAPER = "#fefefe"
"""Around text that may lie on a line: white to the eye, and the background of a dark page there."""
COLOURS = {"base": "#0072b2", "post": "#d55e00", "gold": "#009e73", CONTRAST: "#cc79a7"}
OTHER_COLOURS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#0072b2", "#d55e00")
LINES = {CONTRAST: "-", "base": "-", "post": (0, (4, 1.5)), "gold": (0, (1, 1.2))}
OTHER_LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), "-", (0, (2, 2)))
MARKERS = {CONTRAST: "o", "base": "o", "post": "D", "gold": "s"}
OTHER_MARKERS = ("o", "D", "s", "^", "v", "P")
NOT_MEASURABLE = "not measurable"
CHANCE = "best constant answer or guess"
"""What the dotted line of accuracy is (`interp.tasks.Task.chance`)."""
NUMBER_WIDTH = 0.36
"""Of a panel from 0 to 1, one of three beside each other, the part that a written number takes."""
LINE_LENGTHS = {1: 50, 2: 18, 3: 13}
"""Panels beside each other -> characters in a line of their titles."""

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a step is no formula
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.2,
    "svg.hashsalt": "posthoc",  # else ids would be random in every file
    "svg.fonttype": "path",  # looks the same where the font is missing
    "pdf.fonttype": 42,  # TrueType: many journals refuse Type 3
}


P = ParamSpec("P")
Table: TypeAlias = Mapping[tuple[str, ...], Sequence[Measurement]]


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in this project's style and leaves the settings of matplotlib as they were."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, ...]:
    """Writes a figure as svg, pdf and png (300 dots per inch); the same figure, the same bytes.

    Args:
        figure: From one of the functions above.
        folder: Made if it does not exist.
        name: File name without its ending.

    Returns:
        The three paths.
    """
    import matplotlib

    # Dates, and the version of matplotlib that png names, would change the bytes.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    paths: list[Path] = []
    with matplotlib.rc_context(STYLE):
        # The layout is computed once instead of twice for each file.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for ending, metadata in undated.items():
        path = folder / f"{name}.{ending}"
        buffer = BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(buffer, format=ending, metadata=metadata, dpi=300)
        write_file(path, buffer.getvalue())
        paths.append(path)
    return tuple(paths)


def find_point(row: RowKey, coordinate: str) -> float:
    """Where a row stands on an axis.

    Raises:
        ValueError: The row has no such coordinate.
    """
    value = getattr(row, coordinate) if coordinate in POINTS else None
    if value is None:
        raise ValueError(
            f"an axis is one of {', '.join(POINTS)} and every row drawn on it has that coordinate; "
            f"received {coordinate!r} for {row}. Keep the rows that have it."
        )
    return float(value)


def group_rows(rows: Sequence[Measurement], keys: Sequence[str], x: str | None) -> Table:
    """Rows by the values of some fields; in each entry sorted by x, one row for each x.

    Args:
        rows: At least one.
        keys: The fields.
        x: A coordinate; None where each entry has one row.

    Raises:
        ValueError: No rows, a row without the coordinate, or two rows for one point.
    """
    if not rows:
        raise ValueError("a figure needs at least one row; received none. Is a filter too narrow?")
    table: dict[tuple[str, ...], list[Measurement]] = {}
    for row in rows:
        table.setdefault(tuple(str(getattr(row, key)) for key in keys), []).append(row)
    for key, members in table.items():
        if x is not None:
            members.sort(key=lambda row: find_point(row, x))
        for a, b in zip(members, members[1:], strict=False):
            if x is None or find_point(a, x) == find_point(b, x):
                raise ValueError(_two_rows(key, a, b))
    return table


def _two_rows(key: tuple[str, ...], a: Measurement, b: Measurement) -> str:
    names = (*(field.name for field in fields(RowKey)), "pair", "seed")
    differing = [
        f"{name}: {getattr(a, name)!r} and {getattr(b, name)!r}"
        for name in names
        if getattr(a, name) != getattr(b, name)
    ]
    return (
        f"a figure draws one row for each point; received two for {key}, which differ in "
        f"{'; '.join(differing) or 'nothing'}. Keep the rows of one of them."
    )


def make_panels(
    titles: Sequence[str], *, height: float, beside: int = 2
) -> tuple[Figure, list[Any]]:
    """A figure one column wide with a panel for each title, at most `beside` (1 to 3) in a row."""
    from matplotlib.figure import Figure as NewFigure

    columns = min(beside, len(titles))
    lines = ceil(len(titles) / columns)
    titles = [fill(title, LINE_LENGTHS[columns]) for title in titles]
    n_lines = max(title.count("\n") for title in titles)
    size = (WIDTH, lines * (height + 0.14 * n_lines) + 0.62)
    figure = NewFigure(figsize=size, layout="constrained")
    axes = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    for spare in axes[len(titles) :]:
        spare.remove()
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title)
    return figure, axes[: len(titles)]


def label_axes(figure: Figure, axes: Sequence[Any], *, x: str = "", y: str = "") -> None:
    """Labels the axes of one panel, or all panels together."""
    y = fill(y, 26)
    if len(axes) == 1:
        axes[0].set_xlabel(fill(x, 26))  # long names of lines leave the panel little width
        axes[0].set_ylabel(y)
        return
    for text, write in ((x, figure.supxlabel), (y, figure.supylabel)):
        if text:
            write(text, fontsize=STYLE["axes.labelsize"])


def list_values(
    rows: Sequence[Measurement], field: str, names: Mapping[str, str] | None
) -> list[str]:
    """Values of a field: in the order of `names`, then those not named as the rows have them."""
    values = dict.fromkeys(str(getattr(row, field)) for row in rows)
    named = [value for value in names or () if value in values]
    return [*named, *(value for value in values if value not in named)]


def list_series(
    rows: Sequence[Measurement], field: str, names: Mapping[str, str] | None
) -> list[str]:
    """Series of a figure: writers and readers in their fixed order, others as in `list_values`."""
    values = list_values(rows, field, names)
    return sorted(values, key=rank) if set(values) <= set(ORDER) else values


def find_name(value: str, names: Mapping[str, str] | None) -> str:
    """How a value is written."""
    return (names or {}).get(value, value)


def find_style(name: str, at: int) -> tuple[str, Any, str]:
    """Colour, line style and marker of a series; `at` is its place among the others."""
    if name in ORDER:
        return COLOURS[name], LINES[name], MARKERS[name]
    at = at % len(OTHER_COLOURS)
    return OTHER_COLOURS[at], OTHER_LINES[at], OTHER_MARKERS[at]


def draw_dot(
    ax: Any,
    row: Measurement,
    level: float,
    style: tuple[str, Any, str],
    *,
    size: float = 3.4,
    width: float = 1.0,
    written: bool = False,
    drawn: Sequence[float] = (),
) -> None:
    """A value with its interval at a height.

    Args:
        ax: The panel.
        row: What to draw.
        level: The height.
        style: Of its series, from `find_style`.
        size: Of the mark, in points.
        width: Of the interval, in points.
        written: Add the number beside it.
        drawn: What else lies near this height: words in place of a value are written away from it.
    """
    colour, _, marker = style
    if isnan(row.value):
        write_not_measurable(ax, level, drawn)
        return
    low = row.value if isnan(row.low) else row.low
    high = row.value if isnan(row.high) else row.high
    ax.plot([low, high], [level, level], color=colour, linewidth=width, solid_capstyle="round")
    ax.plot([row.value], [level], color=colour, marker=marker, markersize=size, clip_on=False)
    if written:
        _write_number(ax, row.value, (low, high), level)


def _write_number(ax: Any, value: float, interval: tuple[float, float], level: float) -> None:
    """The number of a share, where it stays in the panel: right, left, or above its interval."""
    low, high = interval
    if high < 1 - NUMBER_WIDTH:
        place, offset, sides = high, (4, -0.4), ("left", "center")
    elif low > NUMBER_WIDTH:
        place, offset, sides = low, (-4, -0.4), ("right", "center")
    else:
        place, offset, sides = value, (0, 2.6), ("center", "bottom")
    ax.annotate(
        f"{value:.2f}", (place, level), xytext=offset, textcoords="offset points",
        ha=sides[0], va=sides[1], fontsize=6.5, path_effects=_halo(),
    )  # fmt: skip


def _halo() -> list[Any]:
    """Interrupts lines behind a text."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.2, foreground=PAPER)]


def write_not_measurable(ax: Any, level: float, drawn: Sequence[float] = ()) -> None:
    """Says in words that a value is missing, on the side where less is drawn.

    Args:
        ax: The panel, with its range.
        level: The height.
        drawn: Where values near this height, and lines through it, lie on the axis.
    """
    middle = sum(ax.get_xlim()) / 2
    n_left = sum(value < middle for value in drawn)
    is_right = n_left > len(drawn) - n_left
    ax.annotate(
        NOT_MEASURABLE, (0.98 if is_right else 0.02, level), xycoords=("axes fraction", "data"),
        ha="right" if is_right else "left", va="center", fontsize=5.5, color=MUTED,
        style="italic", path_effects=_halo(),
    )  # fmt: skip


def list_limits(rows: Iterable[Measurement]) -> list[float]:
    """Values and limits of intervals, those that are known."""
    return [v for r in rows for v in (r.low, r.value, r.high) if not isnan(v)]


def draw_chance(ax: Any, level: float, *, is_horizontal: bool, label: str = "") -> None:
    """A thin broken line where guessing would be; a legend names it by its label."""
    draw = ax.axhline if is_horizontal else ax.axvline
    draw(level, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1, label=label)


def write_if_empty(ax: Any, rows: Sequence[Measurement]) -> None:
    """Writes into a panel that there was nothing to draw."""
    if all(isnan(row.value) for row in rows):
        ax.text(
            0.5, 0.5, NOT_MEASURABLE, transform=ax.transAxes, ha="center", va="center",
            color=MUTED, style="italic", path_effects=_halo(),
        )  # fmt: skip


def set_point_ticks(ax: Any, xs: Sequence[float]) -> None:
    """Ticks at whole numbers when every x is one; at 0, 0.5 and 1 when x is a share."""
    from matplotlib.ticker import MaxNLocator

    if xs and all(value == int(value) for value in xs):
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    elif xs and min(xs) >= 0 and max(xs) <= 1:
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    if xs and min(xs) < max(xs):
        margin = 0.04 * (max(xs) - min(xs))
        ax.set_xlim(min(xs) - margin, max(xs) + margin)


def set_share_range(axes: Sequence[Any], rows: Sequence[Measurement], axis: str) -> None:
    """One range for all panels: 0 to 1 for shares, else what the intervals need and 0."""
    known = list_limits(rows) or [0.0, 1.0]
    low, high = min(0.0, *known), max(known)
    is_share = low >= 0 and 0.5 < high <= 1
    if is_share:
        high = 1.0
    margin = 0.04 * ((high - low) or 1.0)
    for ax in axes:
        getattr(ax, f"set_{axis}lim")(low - margin, high + margin)
        if is_share:
            getattr(ax, f"set_{axis}ticks")([0, 0.5, 1], ["0", "0.5", "1"])
        elif axis == "x":
            ax.locator_params(axis="x", nbins=5)  # long numbers would run into each other
        if low < 0 < high:
            draw_chance(ax, 0.0, is_horizontal=axis == "y")


def shorten(text: str, limit: int = 26) -> str:
    """The beginning of a long text."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "\u2026"


def replace_missing_glyphs(text: str) -> str:
    """The text with a box for every character that the font lacks."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(STYLE["font.family"])).get_charmap()
    return "".join(c if ord(c) in known else "\u25a1" for c in text)
