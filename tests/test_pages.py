"""Figures of what models do by themselves: for the tasks that can be asked about it, in order."""

from interp.results.rows import Item
from interp.results.summaries import summarise
from probes import find_probe
from probes.abstention import NAMES as RATES
from probes.audit.page import draw_figures, make_sections
from probes.knowledge_index import NAMES as CLAIMS
from probes.probe import Results

NAN = float("nan")


def figures_of(tasks, *cells, writer="", writers=("gold", "base", "post")):
    """Figures of rows of both readers: cells of (probe, task, condition, metric, value).

    The chains are of `writer`, or each reader's own.
    """
    items = [
        Item(
            probe=probe, task=task, example=f"e{i}", problem=f"p{i}", condition=condition,
            metric=metric, value=value, writer=writer or reader, reader=reader,
            kept=1.0 if condition == "share" else None,
            note="cannot be asked" if value != value else "",
        )
        for probe, task, condition, metric, value in cells
        for reader in ("base", "post")
        for i in range(4)
    ]  # fmt: skip
    chance = {cell[1]: 0.1 for cell in cells}
    rows = summarise(items, pair="a -> b", chance=chance, seed=0, n_boot=50)
    probes = {name: find_probe(name)() for name in dict.fromkeys(cell[0] for cell in cells)}
    results = {
        name: Results(
            rows=tuple(row for row in rows if row.probe == name), items=(), records={},
            tasks=tasks, writer="gold", seed=0,
        )
        for name in probes
    }  # fmt: skip
    return draw_figures(rows, probes, results, writers)


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_a_task_that_could_not_be_asked_has_no_panel():
    nothing = figures_of(
        ("plain",),
        ("abstention", "plain", "direct", "recall", NAN),
        ("generalisation", "plain", "none", "accuracy", NAN),
        ("knowledge_index", "plain", "written", "ki", NAN),
    )
    assert nothing == {}
    figures = figures_of(
        ("plain", "twins"),
        ("abstention", "plain", "direct", "recall", NAN),
        *(("abstention", "twins", "direct", metric, 1.0) for metric in RATES),
    )
    assert [*figures] == ["abstention_direct"]
    assert [ax.get_title(loc="left") for ax in figures["abstention_direct"].axes] == ["twins"]
    assert labels(figures["abstention_direct"]) == [*RATES.values()]


def test_shifts_and_claims_stand_in_their_order():
    figures = figures_of(
        ("t",),
        *(("knowledge_index", "t", "written", metric, 0.5) for metric in reversed(CLAIMS)),
        *(("generalisation", "t", shift, "accuracy", 1.0) for shift in ("z", "rule", "none")),
        *(("generalisation", "t", shift, "drop", 0.0) for shift in ("z", "rule")),
        ("generalisation", "t", "rule", "infeasible_in_form", 1.0),
    )
    assert [*figures] == [
        "knowledge_index", "generalisation", "generalisation_drop", "generalisation_form"
    ]  # fmt: skip
    assert labels(figures["knowledge_index"]) == [*CLAIMS.values()]
    assert labels(figures["generalisation"]) == ["as trained", "unknown rule", "z"]


def test_the_first_figure_has_both_accuracies_of_the_headline():
    figure = figures_of(
        ("t",),
        ("accuracy", "t", "free", "accuracy", 1.0),
        ("accuracy", "t", "forced", "accuracy", 0.0),
        ("corruption", "t", "joint", "follows", 1.0),
    )["headline"]
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in figure.axes]
    assert titles[:2] == ["Accuracy, free", "Accuracy, made to think"] and len(titles) == 3
    for ax, value in zip(figure.axes, (1.0, 0.0, 1.0), strict=True):
        dots = [line for line in ax.get_lines() if line.get_marker() != "None"]
        assert {line.get_xdata()[0] for line in dots} == {value}


ON_CHAINS = (
    ("early_answering", "t", "share", "same_answer", 0.5),
    ("information_gain", "t", "share", "logprob", 0.5),
    ("information_gain", "t", "chain", "lp_with", 0.5),
    ("information_gain", "t", "chain", "total", 0.5),
    ("corruption", "t", "swapped", "same_answer", 0.5),
    ("path_masks", "t", "masks", "necessity_js", 0.5),
)


def said_above(figure):
    titles = [legend.get_title().get_text() for legend in figure.legends]
    return [figure.get_suptitle(), *titles]


def test_a_figure_says_whose_chains_it_is_about():
    figures = figures_of(("t",), *ON_CHAINS, writer="gold")
    assert len(figures) == len(ON_CHAINS)
    for name, figure in figures.items():
        assert "On reference chains" in said_above(figure), name
    figures = figures_of(("t",), ("accuracy", "t", "free", "accuracy", 1.0))
    assert said_above(figures["accuracy"]) == ["", ""]


def test_the_first_figure_says_whose_chains_are_followed():
    for writer, title in (("", "its own chain"), ("gold", "reference chains")):
        figures = figures_of(
            ("t",),
            ("accuracy", "t", "free", "accuracy", 1.0),
            ("corruption", "t", "joint", "follows", 1.0),
            writer=writer,
            writers=("gold",) if writer else ("gold", "base", "post"),
        )
        (title_of_last,) = [ax.get_title(loc="left") for ax in figures["headline"].axes][1:]
        assert title_of_last.replace("\n", " ") == f"Answer follows {title}"


def test_a_section_has_the_figures_of_its_probe_and_no_others():
    sections = make_sections(
        {name: find_probe(name)() for name in ("information_gain", "accuracy")},
        {"accuracy": 0, "information_gain_total": 0},
        (),
    )
    assert [section.figures for section in sections] == [("information_gain_total",), ("accuracy",)]
