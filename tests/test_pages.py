"""Figures of what models do by themselves: for the tasks that can be asked about it, in order."""

from interp.results.rows import Item, summarise
from probes.audit.page import ABSTAINING, CLAIMS, draw_figures

NAN = float("nan")


def rows_of(*cells):
    """Rows of both readers: (probe, task, condition, metric, value)."""
    items = [
        Item(
            probe, reader, reader, task, f"e{i}", f"p{i}", condition, metric,
            value, note="cannot be asked" if value != value else "",
        )
        for probe, task, condition, metric, value in cells
        for reader in ("base", "post")
        for i in range(4)
    ]  # fmt: skip
    chance = {cell[1]: 0.1 for cell in cells}
    return summarise(items, pair="a -> b", chance=chance, seed=0, n_boot=50)


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_a_task_that_could_not_be_asked_has_no_panel():
    rows = rows_of(
        ("abstention", "plain", "direct", "recall", NAN),
        ("generalisation", "plain", "none", "accuracy", NAN),
        ("knowledge_index", "plain", "written", "ki", NAN),
    )
    assert draw_figures(rows, ("plain",), "gold") == {}
    asked = rows_of(
        ("abstention", "plain", "direct", "recall", NAN),
        *(("abstention", "twins", "direct", metric, 1.0) for metric in ABSTAINING),
    )
    figures = draw_figures(asked, ("plain", "twins"), "gold")
    assert [*figures] == ["abstention_direct"]
    assert [ax.get_title(loc="left") for ax in figures["abstention_direct"].axes] == ["twins"]
    assert labels(figures["abstention_direct"]) == [*ABSTAINING.values()]


def test_shifts_and_claims_stand_in_their_order():
    rows = rows_of(
        *(("knowledge_index", "t", "written", metric, 0.5) for metric in reversed(CLAIMS)),
        *(("generalisation", "t", shift, "accuracy", 1.0) for shift in ("z", "rule", "none")),
        *(("generalisation", "t", shift, "drop", 0.0) for shift in ("z", "rule")),
        ("generalisation", "t", "rule", "infeasible_in_form", 1.0),
    )
    figures = draw_figures(rows, ("t",), "gold")
    assert [*figures] == [
        "knowledge_index", "generalisation", "generalisation_drop", "generalisation_form"
    ]  # fmt: skip
    assert labels(figures["knowledge_index"]) == [*CLAIMS.values()]
    assert labels(figures["generalisation"]) == ["as trained", "unknown rule", "z"]
