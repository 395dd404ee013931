"""Knowledge, information gain and accuracy of several models side by side.

The question of Wu et al. 2025 (arXiv 2506.02126): after post-training, does accuracy rise while
the chains tell less, or know more? All three are of the chains that each model writes when made to
think:

* accuracy: of its own answers after them;
* information gain: nats per answer token that they give to *one* reader, the base model, so that
  what differs between models is the text (the published metric, too, has one fixed scorer);
* knowledge index: the share of their claims that is true.

The rows come from one run for each post-trained model, all from the same base and on the same
examples: ``Measurement.pair`` (``base -> post``) says which models a row is about.

Example: ``triad([*sft.rows, *grpo.rows], task="clinic/known")`` draws three lines: base, and the
post-trained model of either run.
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
FIXED_READER = ("information_gain",)
"""Probes whose rows are taken at the reader base."""


def triad(
    rows: Sequence[Measurement], *, task: str, names: Mapping[str, str] | None = None
) -> Figure:
    """Draws the three measures of the base and of each post-trained model.

    Args:
        rows: Of all runs together; each with the probes of `MEASURES`, and base and post among
            the writers.
        task: The task whose rows are drawn.
        names: How to write the models, and their order.

    Raises:
        ValueError: A measure is missing, or base was measured differently in two runs (it was not
            the same base, seed or set of examples).
    """
    found = {title: _rows(rows, task, *key) for title, key in MEASURES.items()}
    missing = [MEASURES[title][0] for title, kept in found.items() if not kept]
    if missing:
        raise ValueError(
            f"The three measures need rows of {', '.join(key[0] for key in MEASURES.values())} on "
            f"{task!r} with the writers base and post; there are none of {', '.join(missing)}. "
            "Run an audit of each pair on that task, with all writers."
        )
    return columns(found, line=model_of, names=names)


def model_of(row: Measurement) -> str:
    """``base`` for the chains of the base model, else the name of the post-trained model."""
    return "base" if row.writer == "base" else row.pair.split(" -> ")[-1]


def _rows(
    rows: Sequence[Measurement], task: str, probe: str, condition: str, metric: str
) -> list[Measurement]:
    """The row of each model, base once, however many runs it was in."""
    kept: dict[str, Measurement] = {}
    for row in rows:
        here = (row.task, row.probe, row.condition, row.metric, row.step)
        reader = "base" if probe in FIXED_READER else row.writer
        if (
            here != (task, probe, condition, metric, -1)
            or row.writer not in ("base", "post")
            or row.reader != reader
        ):
            continue
        name = model_of(row)
        seen = kept.setdefault(name, row)
        told = [(r.value, r.low, r.high, r.n, r.note) for r in (seen, row)]
        if repr(told[0]) != repr(told[1]):
            raise ValueError(
                f"{name!r} has two different rows of {probe}: {told[0]} in {seen.pair!r} and "
                f"{told[1]} in {row.pair!r}. Compare runs of one base, one seed and the same n."
            )
    return [*kept.values()]
