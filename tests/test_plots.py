"""Figures: what is drawn is what the rows say, no text on other text, the same bytes twice."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic import CHANCE, NASTY, make_chains, make_items

from interp.results.plots import columns, curve, dots, headline, save, step_bars
from interp.results.plots.canvas import MUTED, replace_missing_glyphs, shorten
from interp.results.rows import CONTRAST, Item, Measurement
from interp.results.summaries import summarise

NAMES = {"arith/pool": "pool (trained on)", "arith/fresh": "fresh problems"}
BLUE, VERMILION = "#0072b2", "#d55e00"


@pytest.fixture(scope="module")
def chains():
    return make_chains(20)


@pytest.fixture(scope="module")
def items(chains) -> list[Item]:
    return make_items(chains)


@pytest.fixture(scope="module")
def rows(items) -> list[Measurement]:
    return summarise(items, pair="a -> b", chance=CHANCE, seed=0, n_boot=200)


def pick(rows, **fields) -> list[Measurement]:
    return [
        row
        for row in rows
        if all(getattr(row, k) in (v if isinstance(v, tuple) else (v,)) for k, v in fields.items())
        and CONTRAST not in (row.reader, row.writer)
    ]


@pytest.fixture(scope="module")
def curve_rows(rows):
    return pick(rows, probe="early_answering", metric="same_answer", writer="gold")


@pytest.fixture(scope="module")
def figures(rows, items, chains, curve_rows):
    chain = next(c for c in chains if c.steps[0] == NASTY and c.writer == "gold")
    gains = [
        i for i in items if i.example == chain.example and i.writer == "gold" and i.metric == "gain"
    ]
    edits = pick(rows, probe="corruption", metric="same_answer", writer="gold", step=None)
    accuracy = pick(rows, probe="accuracy", condition="free", metric="accuracy")
    reliance = pick(rows, probe="corruption", metric="reliant", writer="gold")
    panels = {"Accuracy, free": accuracy, "Accuracy, made to think": accuracy}
    missing = pick(rows, probe="corruption", metric="decorative")
    return {
        "curve": curve(curve_rows, ylabel="answer as after the full chain", names=NAMES),
        "dots": dots(edits, xlabel="share of answers that stay", names=NAMES, chance=True),
        "missing": dots(missing, xlabel="decorative", y="writer", names=NAMES),
        "headline": headline(panels, {"Answer follows its own chain": reliance}, names=NAMES),
        "bars": step_bars(gains, texts=chain.steps),
    }


def lines_of(ax, colour: str):
    return [
        line
        for line in ax.get_lines()
        if mpl.colors.to_hex(line.get_color()) == colour and len(line.get_xdata()) > 0
    ]


def dotted(ax):
    return [line for line in lines_of(ax, MUTED) if len(line.get_xdata()) == 2]


def test_curve_draws_each_row_with_its_interval(figures, curve_rows) -> None:
    pool, fresh = figures["curve"].axes
    assert [ax.get_title(loc="left") for ax in (pool, fresh)] == list(NAMES.values())
    for ax, task in ((pool, "arith/pool"), (fresh, "arith/fresh")):
        for reader, colour in (("base", BLUE), ("post", VERMILION)):
            expected = sorted(pick(curve_rows, task=task, reader=reader), key=lambda r: r.step or 0)
            (line,) = lines_of(ax, colour)
            assert list(line.get_xdata()) == [row.step for row in expected]
            assert list(line.get_ydata()) == [row.value for row in expected]
        band = ax.collections[0].get_paths()[0].vertices
        base = pick(curve_rows, task=task, reader="base")
        assert band[:, 1].min() == pytest.approx(min(row.low for row in base))
        assert band[:, 1].max() == pytest.approx(max(row.high for row in base))


def test_dots_draw_each_row_on_its_line(figures, rows) -> None:
    ax = figures["dots"].axes[0]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    known = pick(rows, probe="corruption", metric="same_answer", writer="gold", step=None)
    assert set(labels) == {row.condition for row in known}
    for reader, colour in (("base", BLUE), ("post", VERMILION)):
        drawn = {
            labels[round(line.get_ydata()[0])]: line.get_xdata()[0]
            for line in lines_of(ax, colour)
            if len(line.get_xdata()) == 1
        }
        expected = pick(known, task="arith/pool", reader=reader)
        assert drawn == {row.condition: row.value for row in expected}


def test_missing_values_are_said(figures) -> None:
    texts = [text.get_text() for ax in figures["missing"].axes for text in ax.texts]
    assert texts == ["not measurable"]


@pytest.mark.parametrize(("chance", "side"), [(0.1, "right"), (0.9, "left")])
def test_words_in_place_of_a_value_lie_off_the_line_of_chance(rows, chance, side) -> None:
    nan = math.nan
    (row,) = pick(
        rows, probe="accuracy", condition="free", metric="accuracy", task="arith/pool",
        reader="base",
    )  # fmt: skip
    row = replace(row, value=nan, low=nan, high=nan, chance=chance)
    other = replace(row, reader="post")
    for figure in (
        dots([row, other], xlabel="x", chance=True),
        headline({"Accuracy": [row]}, {"Follows": [other]}),
        columns({"Accuracy": [row]}, line=lambda row: row.reader),
    ):
        texts = [text for text in figure.axes[0].texts if text.get_text() == "not measurable"]
        assert [text.get_ha() for text in texts] == [side]


def test_words_in_place_of_a_value_lie_off_the_other_values(rows) -> None:
    nan = math.nan
    for value, side in ((0.1, "right"), (0.9, "left")):
        base = replace(pick(rows, metric="accuracy")[0], value=value, low=value, high=value)
        post = replace(base, reader="post", value=nan, low=nan, high=nan)
        whole = replace(base, condition="of the range 0 to 1", value=1.0, high=1.0)
        assert [t.get_ha() for t in dots([base, post, whole], xlabel="x").axes[0].texts] == [side]


def test_curve_without_values_says_so(curve_rows) -> None:
    nan = math.nan
    figure = curve([replace(r, value=nan, low=nan, high=nan) for r in curve_rows], ylabel="y")
    assert [t.get_text() for ax in figure.axes for t in ax.texts] == ["not measurable"] * 2


def test_headline_writes_its_numbers(figures, rows) -> None:
    free, forced, right = figures["headline"].axes
    accuracy = pick(rows, probe="accuracy", condition="free", metric="accuracy")
    for panel in (free, forced):
        written = [t.get_text() for t in panel.texts if t.get_text() not in NAMES.values()]
        assert sorted(written) == sorted(f"{row.value:.2f}" for row in accuracy)
        assert {*CHANCE.values()} == {line.get_xdata()[0] for line in dotted(panel)}
    assert len(right.texts) == 4 and not dotted(right)


def test_the_dotted_line_has_a_name(figures) -> None:
    for name in ("headline", "dots"):
        (legend,) = figures[name].legends
        assert [t.get_text() for t in legend.texts][-1] == "best constant answer or guess"


def test_bars_are_the_gains(figures) -> None:
    (ax,) = figures["bars"].axes
    widths = sorted(bar.get_width() for bar in ax.patches)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[0] == shorten(NASTY) and "$" not in labels[0]
    assert len(widths) == 2 * len(labels) and widths[0] < 0 < widths[-1]


@pytest.mark.parametrize("name", ["curve", "dots", "missing", "headline", "bars"])
def test_texts_neither_overlap_nor_leave_the_figure(figures, name: str) -> None:
    figure = figures[name]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = figure.bbox
    beyond = {
        id(tick.label1)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    boxes = {}
    for text in figure.findobj(mpl.text.Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in beyond:
            box = text.get_window_extent(renderer)
            boxes[id(text)] = (text.get_text(), box.shrunk(0.98, 0.8))
            assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
            assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text.get_text()
    assert len(boxes) > 5
    for (a, first), (b, second) in combinations(boxes.values(), 2):
        assert not first.overlaps(second), f"{a!r} lies on {b!r}"


def test_files_are_the_same_bytes_twice(curve_rows, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for folder in ("a", "b"):
        save(curve(curve_rows, ylabel="same"), tmp_path / folder, "curve")
    for ending in ("svg", "pdf", "png"):
        first, second = (tmp_path / f / f"curve.{ending}" for f in "ab")
        assert first.read_bytes() == second.read_bytes() and first.stat().st_size > 1000
    assert dict(mpl.rcParams) == before


def test_one_point_one_row(curve_rows) -> None:
    twice = [*curve_rows, replace(curve_rows[0], condition="other")]
    with pytest.raises(ValueError, match="condition: 'cut' and 'other'"):
        curve(twice, ylabel="y")
    with pytest.raises(ValueError, match="at least one row"):
        dots([], xlabel="x")


@pytest.mark.parametrize(
    ("x", "values"),
    [("kept", (0.0, 0.25, 1.0)), ("dose", (-1.0, 0.0, 2.5)), ("layer", (0, 1, 5)), ("k", (1, 8))],
)
def test_a_curve_runs_over_any_coordinate(curve_rows, x: str, values) -> None:
    (first, *_) = pick(curve_rows, task="arith/pool", reader="base")
    rows = [replace(first, **{"step": None, x: value}) for value in reversed(values)]
    (ax,) = curve(rows, ylabel="y", xlabel=x, x=x).axes
    (line,) = lines_of(ax, BLUE)
    assert list(line.get_xdata()) == list(values)
    if x == "kept":
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.5", "1"]
    with pytest.raises(ValueError, match=f"every row drawn on it has .*received '{x}'"):
        curve([*rows, first], ylabel="y", x=x)
    with pytest.raises(ValueError, match="an axis is one of layer, dose, step"):
        curve(rows, ylabel="y", x="value")


def test_bars_show_one_example(items) -> None:
    gains = [i for i in items if i.metric == "gain" and i.writer == "gold"]
    with pytest.raises(ValueError, match="one example"):
        step_bars(gains, texts=["a", "b"])
    with pytest.raises(ValueError, match="received none"):
        step_bars([], texts=["a"])
    with pytest.raises(ValueError, match="received 'step'"):
        step_bars([replace(gains[0], step=None)], texts=["a"])


def test_characters_without_a_glyph_become_boxes() -> None:
    assert replace_missing_glyphs("a\u4e2d\U0001f9eab") == "a\u25a1\u25a1b"
