"""The contract of a probe: what its class must state, and what its numbers must satisfy.

`check_probe` reads the class, then runs the probe on two bundled organisms (`base` and `grpo`) with
`Probe.check_settings`, and lists what is missing or wrong:

- words, settings with a description each that `--set` can read, claims or the reason for none;
- pure: the same seed gives the same items, and both models keep their weights;
- every item is keyed, belongs to the probe, and is finite or says why not;
- every metric has a kind, which its items satisfy (binary items are 0 or 1);
- a chain that cannot be read is missing under every metric that all other chains have;
- every name in ratios, pooled statistics, headline and claims occurs in the rows;
- figures can be drawn and lines described from what a run folder keeps;
- a single model gives numbers, or the reason why a pair is needed.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any, cast, get_args

import numpy as np
import torch

from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model
from interp.results.rows import COORDINATES, Item, Measurement
from interp.results.run_folder import Part
from interp.results.summaries import summarise
from interp.stats.kinds import Kind, check_kind
from interp.tasks import Task, make_task
from probes import find_probe, statistics_of
from probes.calibration.constructs import CONSTRUCTS
from probes.model_names import find_model
from probes.probe import Headline, Probe, Readers, Results
from probes.settings import describe_type, setting_types

ORGANISMS = {"base": "base", "post": "grpo"}
N_EXAMPLES = 16
SEED = 3


def check_probe(name: str) -> list[str]:
    """Everything that a probe lacks.

    Args:
        name: A name of `probes.PROBES`.

    Returns:
        One sentence for each fault; none for a complete probe.

    Raises:
        ValueError: There is no probe of this name.
    """
    probe = find_probe(name)
    faults = [*_check_words(probe, name), *_check_settings(probe), *_check_truth(probe)]
    # The run is slow, and may fail for the very reasons that are already listed.
    return faults or check_run(probe)


def _check_words(probe: type[Probe], name: str) -> list[str]:
    faults: list[str] = []
    if Probe not in probe.__mro__ or not is_dataclass(probe):
        return [f"{probe.__name__} must be a frozen dataclass derived from probes.probe.Probe"]
    if getattr(probe, "name", "") != name:
        faults.append(f"`name` must be {name!r}, as in the table PROBES")
    for attribute in ("title", "question", "reading"):
        if not getattr(probe, attribute, ()):
            faults.append(f"`{attribute}` is missing")
    if not getattr(probe, "question", "?").rstrip().endswith("?"):
        faults.append("`question` must be one question, ending with a question mark")
    if not inspect.getdoc(inspect.getmodule(probe)):
        faults.append("the module must open with what is measured, its source and an example")
    if not probe.headline:
        faults.append("`headline` is empty: which number does a run of this probe alone report?")
    return faults


def _check_settings(probe: type[Probe]) -> list[str]:
    faults: list[str] = []
    for field, kind in setting_types(probe.name).items():
        try:
            describe_type(kind)
        except TypeError:
            faults.append(f"setting {field!r} has a type that --set cannot read: {kind}")
    # The last class of the MRO is `object`, whose source cannot be read.
    described = {name for owner in probe.__mro__[:-1] for name in _described_fields(owner)}
    made = cast("Any", probe)
    faults += [
        f"setting {field.name!r} has no description (a string below it)"
        for field in fields(made)
        if field.name not in described
    ]
    unknown = set(probe.check_settings) - {field.name for field in fields(made)}
    faults += [f"`check_settings` names {name!r}, which is no setting" for name in sorted(unknown)]
    return faults


def _described_fields(owner: type) -> list[str]:
    """Fields of a class that a string literal follows."""
    (tree,) = ast.parse(dedent(inspect.getsource(owner))).body
    body = cast("ast.ClassDef", tree).body
    return [
        before.target.id
        for before, after in zip(body, body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]


def _check_truth(probe: type[Probe]) -> list[str]:
    if bool(probe.claims) == bool(probe.no_truth):
        return ["needs either `claims` for the calibration or `no_truth`, the reason for none"]
    return [
        f"a claim names the construct {claim.construct!r}; known: {', '.join(CONSTRUCTS)}"
        for claim in probe.claims
        if claim.construct not in CONSTRUCTS
    ]


def check_run(probe: type[Probe]) -> list[str]:
    """Faults of what a probe measures on the two organisms."""
    readers = {role: find_model(name) for role, name in ORGANISMS.items()}
    task = make_task(probe.tasks[0], n=N_EXAMPLES, seed=SEED)
    made = probe(**probe.check_settings)
    before = {role: _copy_weights(model) for role, model in readers.items()}
    first, second = (_examine(made, readers, task) for _ in range(2))
    faults = _check_kinds(probe, first.items)
    if faults:  # no rows can be made of these items
        return faults
    faults = _check_items(probe.name, first.items)
    faults += _check_unreadable(probe, first.items, task)
    if list(map(_comparable, first.items)) != list(map(_comparable, second.items)):
        faults.append("the same seed gives other items the second time")
    for role, model in readers.items():
        if any(
            not torch.equal(a, b) for a, b in zip(before[role], _copy_weights(model), strict=True)
        ):
            faults.append(f"the run changes the weights of {role}")
    # Few resamples do: names in the rows are checked, limits are not.
    rows = summarise(
        first.items, pair="base -> grpo", chance={task.name: task.chance}, seed=SEED, n_boot=200,
        **statistics_of([probe.name]),
    )  # fmt: skip
    faults += _check_names(probe, first.items, rows)
    faults += _check_page(made, first, rows, task)
    alone = made.run({"base": readers["base"]}, task, {}, seed=SEED)
    return [*faults, *(f"with one model: {fault}" for fault in _check_items(probe.name, alone))]


def _examine(made: Probe, readers: Readers, task: Task) -> Part:
    traces: dict[str, Sequence[Trace]] = {}
    for writer in made.writers:
        traces[writer] = (
            gold_traces(readers["base"].tokenizer, task)
            if writer == "gold"
            else write_traces(readers[writer], task, mode="forced", writer=writer, seed=SEED)
        )
        first, *rest = traces[writer]  # one chain that was never closed, for `_check_unreadable`
        cut = replace(first, status="truncated", answer="", answer_ids=(), correct=False)
        traces[writer] = (cut, *rest)
    # A new folder each time, or the second run could take up the work of the first.
    with TemporaryDirectory() as folder:
        return made.examine(readers, task, traces, seed=SEED, folder=Path(folder))


def _copy_weights(model: Model) -> list[torch.Tensor]:
    # Copied, since a state dict shares the memory of the model.
    return [weight.detach().clone() for weight in model.hf.state_dict().values()]


def _comparable(item: Item) -> tuple[Any, ...]:
    """An item as a tuple in which NaN equals itself."""
    values = [getattr(item, field.name) for field in fields(item)]
    return tuple("nan" if value != value else value for value in values)


def _check_items(name: str, items: Sequence[Item]) -> list[str]:
    faults: list[str] = []
    keys = ("task", "example", "condition", "metric", *COORDINATES)
    named = [tuple(getattr(item, key) for key in keys) for item in items]
    if len(set(named)) < len(named):
        faults.append("two items have the same example, condition, metric and coordinates")
    if any(item.probe != name for item in items):
        faults.append("an item belongs to another probe")
    silent = [
        i for i in items if not math.isfinite(i.value) and not (i.value != i.value and i.note)
    ]
    if silent:
        faults.append(f"a value is infinite, or missing without a note, such as {silent[0]}")
    return faults


def _check_kinds(probe: type[Probe], items: Sequence[Item]) -> list[str]:
    """Metrics without a kind, or with items that theirs does not allow."""
    kinds = probe.kinds_of_all()
    values: dict[str, list[float]] = {}
    for item in items:
        of_metric = values.setdefault(item.metric, [])
        if math.isfinite(item.value):
            of_metric.append(item.value)
    faults: list[str] = []
    for metric, of_metric in values.items():
        if metric not in kinds:
            faults.append(f"`kinds` does not say of which kind {metric!r} is: {get_args(Kind)}")
            continue
        try:
            check_kind(np.array(of_metric, dtype=np.float64), kinds[metric])
        except ValueError as error:
            faults.append(f"metric {metric!r}: {error}")
    return faults


def _check_unreadable(probe: type[Probe], items: Sequence[Item], task: Task) -> list[str]:
    """Metrics that the cut trace lacks, though all others of its writer have them."""
    cut, *others = (example.id for example in task.examples)
    known: dict[tuple[Any, ...], set[str]] = {}
    for item in items:
        if item.writer in probe.writers and item.step is None and item.token is None:
            names = (item.condition, item.metric, *(getattr(item, c) for c in COORDINATES))
            known.setdefault(names, set()).add(item.example)
    lacking = {names[:2] for names, of in known.items() if of.issuperset(others) and cut not in of}
    return [
        f"a chain that cannot be read is not counted under {condition}, {metric}: end `run` with "
        "`probes.unreadable.add_unreadable`"
        for condition, metric in sorted(lacking)
    ]


def _check_names(
    probe: type[Probe], items: Sequence[Item], rows: Sequence[Measurement]
) -> list[str]:
    """Names in the class that no item or row has: likely misspelt."""
    metrics = {item.metric for item in items}
    wanted = [(f"ratio {r.metric!r}", m) for r in probe.ratios for m in (r.over, r.under)]
    wanted += [
        (f"pooled {p.statistic!r}", m) for p in probe.pooled for m in (p.positive, p.negative)
    ]
    faults = [f"{what} names {m!r}, which no item has" for what, m in wanted if m not in metrics]
    for what, one in (
        *(("headline", one) for one in probe.headline),
        *(("claim", one) for one in probe.claims),
    ):
        names = {"condition": one.condition, "metric": one.metric}
        names |= {"source": one.source, "variant": one.variant}
        if isinstance(one, Headline):
            names |= {"position": one.position} | ({"reader": one.reader} if one.reader else {})
        if not any(
            row.is_whole and all(getattr(row, key) == value for key, value in names.items())
            for row in rows
        ):
            faults.append(f"a {what} names {names}, which no row has")
    return faults


def _check_page(made: Probe, part: Part, rows: Sequence[Measurement], task: Task) -> list[str]:
    """Faults of figures and words."""
    faults: list[str] = []
    records = {task.name: part.record} if part.record else {}
    writer = made.writers[0] if made.writers else ""
    results = Results(tuple(rows), part.items, records, (task.name,), writer, SEED)
    drawings = [drawing for drawing in made.figures(results) if drawing.data]
    if not drawings:
        faults.append("`figures` draws nothing")
    for drawing in drawings:
        if not drawing.name.startswith(made.name):
            faults.append(f"figure {drawing.name!r} must begin with the probe's name")
        drawing.draw(drawing.data, **drawing.options)
    if not made.describe(results):
        faults.append("`describe` says nothing")
    return faults
