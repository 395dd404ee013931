"""The figure of three measures: which rows it takes from which runs, and what it refuses."""

import dataclasses

import pytest

from interp.results.plots import columns
from interp.results.rows import Measurement
from probes.knowledge_and_gain import MEASURES, name_model, plot_knowledge_and_gain

NAN = float("nan")


def run_rows(post, level):
    """Rows of one run, with rows that the figure must leave alone."""
    rows = []
    for probe, condition, metric in MEASURES.values():
        for writer in ("gold", "base", "post"):
            for reader in ("base", "post"):
                value = {"gold": 0.9, "base": 0.5, "post": level}[writer]
                value += 0.05 * (reader == "post" and probe == "information_gain")
                rows.append(
                    Measurement(
                        probe=probe, pair=f"base-s0 -> {post}", writer=writer, reader=reader,
                        task="arith/fresh", condition=condition, metric=metric, value=value,
                        low=value - 0.1, high=value + 0.1, n=40, n_missing=0, chance=1 / 11, seed=0,
                    )
                )  # fmt: skip
    return [*rows, *(dataclasses.replace(row, task="arith/pool", value=7.0) for row in rows)]


def drawn(figure):
    """By panel: the x of the markers by their line's name."""
    found = {}
    for ax in figure.axes:
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        dots = [line for line in ax.lines if line.get_marker() != "None"]
        found[ax.get_title(loc="left").replace("\n", " ")] = {
            names[round(line.get_ydata()[0])]: round(float(line.get_xdata()[0]), 6) for line in dots
        }
    return found


def test_each_model_is_drawn_once_and_its_chains_are_read_by_base():
    rows = [*run_rows("sft-s0", 0.6), *run_rows("grpo-s0", 0.8)]
    found = drawn(
        plot_knowledge_and_gain(rows, task="arith/fresh", names={"grpo-s0": "GRPO", "base": "base"})
    )
    assert [*found] == [*MEASURES]
    assert all(panel == {"GRPO": 0.8, "base": 0.5, "sft-s0": 0.6} for panel in found.values()), (
        found
    )


def test_a_base_that_differs_between_runs_is_refused():
    rows = run_rows("sft-s0", 0.6)
    other = [dataclasses.replace(row, n=39) for row in run_rows("grpo-s0", 0.8)]
    with pytest.raises(ValueError, match="one base, one seed and the same n"):
        plot_knowledge_and_gain([*rows, *other], task="arith/fresh")


def test_what_is_missing_is_named():
    rows = [row for row in run_rows("sft-s0", 0.6) if row.probe != "accuracy"]
    with pytest.raises(ValueError, match="none of accuracy"):
        plot_knowledge_and_gain(rows, task="arith/fresh")
    (first,) = [r for r in rows if r.task == "arith/fresh"][:1]
    with pytest.raises(ValueError, match="one row"):
        columns({"Panel": [first, first]}, line=name_model)
    with pytest.raises(ValueError, match="received none"):
        columns({}, line=name_model)


def test_a_value_that_could_not_be_measured_is_written_out():
    rows = [
        dataclasses.replace(row, value=NAN, low=NAN, high=NAN) if row.writer == "post" else row
        for row in run_rows("sft-s0", 0.6)
    ]
    figure = plot_knowledge_and_gain(rows, task="arith/fresh")
    for ax in figure.axes:
        assert "not measurable" in [text.get_text() for text in ax.texts]
