"""Knowledge, information gain and accuracy of several models side by side.

The question of Wu et al. 2025 (arXiv 2506.02126): after post-training, does accuracy rise although
the chains tell the answer less, or because they contain more knowledge? All three measures are of
the chains that each model writes when the chain is opened for it:

* accuracy of its own answers after them;
* information gain: nats per answer that they give to *one* reader, the base model, so that models
  differ only in their text (the published metric, too, has one fixed scorer). Without a chain
  this reader knows as much whoever wrote, so the gains differ by log p with the full chain alone;
* knowledge index: the share of their claims that is true.

The rows come from one run for each post-trained model, all with the same base and the same
examples: ``Measurement.pair`` (``base -> post``) says which models a row is about.

Example: ``plot_knowledge_and_gain([*sft.rows, *grpo.rows], task="clinic/known")`` draws three lines
in each panel: base, and the post-trained model of each run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interp.results.plots import Figure, columns
from interp.results.rows import Measurement

MEASURES = {
    "Knowledge index": ("knowledge_index", "written", "ki"),
    "Information gain (nats)": ("information_gain", "chain", "total"),
    "Accuracy": ("accuracy", "forced", "accuracy"),
}
"""Title of a panel -> probe, condition and metric."""
READ_BY_BASE = ("information_gain",)
"""Probes whose rows are taken from the reader base; the others from each model itself."""


def plot_knowledge_and_gain(
    rows: Sequence[Measurement], *, task: str, names: Mapping[str, str] | None = None
) -> Figure:
    """Draws the three measures of the base and of each post-trained model.

    Args:
        rows: Of all runs together; each with the probes of `MEASURES`, and base and post among
            the writers.
        task: The task whose rows are drawn.
        names: How to write the models, and their order.

    Raises:
        ValueError: A measure is missing, or base was measured differently in two runs (with
            another base, seed or set of examples).
    """
    panels = {title: _one_row_each(rows, task, *key) for title, key in MEASURES.items()}
    missing = [MEASURES[title][0] for title, kept in panels.items() if not kept]
    if missing:
        raise ValueError(
            f"The figure needs rows of {', '.join(key[0] for key in MEASURES.values())} on "
            f"{task!r} with the writers base and post; received none of {', '.join(missing)}. "
            "Run an audit of each pair on that task, with all writers."
        )
    return columns(panels, line=name_model, names=names)


def name_model(row: Measurement) -> str:
    """``base`` for the chains of the base model, else the name of the post-trained model."""
    return "base" if row.writer == "base" else row.pair.split(" -> ")[-1]


def _one_row_each(
    rows: Sequence[Measurement], task: str, probe: str, condition: str, metric: str
) -> list[Measurement]:
    """The row of each model; base once, however many runs it was in."""
    kept: dict[str, Measurement] = {}
    for row in rows:
        if (row.task, row.probe, row.condition, row.metric) != (task, probe, condition, metric):
            continue
        reader = "base" if probe in READ_BY_BASE else row.writer
        if row.writer not in ("base", "post") or row.reader != reader or not row.is_whole:
            continue
        model = name_model(row)
        first = kept.setdefault(model, row)
        numbers = [(r.value, r.low, r.high, r.n, r.note) for r in (first, row)]
        if repr(numbers[0]) != repr(numbers[1]):  # repr, because NaN is not equal to itself
            raise ValueError(
                f"{model!r} has two different rows of {probe}: {numbers[0]} in {first.pair!r} and "
                f"{numbers[1]} in {row.pair!r}. Compare runs of one base, one seed and the same n."
            )
    return [*kept.values()]
