"""Decoding: is what a chain is about to state already in the base, when it reads the chain?

Right chains (the task's own steps) are read by the base. At the token before each step's result a
linear probe is to tell results of the upper half from those of the lower half (in the order of
their length, then their text: of whole numbers, their order). The result is not yet written there,
and follows from the step's operands, so a model that only reads does not have it.

The probe is fitted on the problems of the first half, at the site where it does best on those it
holds out, and scored on the second half; the band is that of probes fitted to shuffled labels.
Decodable says that the parts are known, not that they are ever put together: a model that knows
sums and never saw a chain may pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from interp.chains.chain import Step, decode, encode_steps
from interp.methods.directions import Activations, LinearProbe, collect, fit_linear_probe, project
from interp.sites import Site
from interp.stats.auroc import Scored, estimate_pooled, pool
from probes.pre_existence.arms import Bench
from probes.pre_existence.judging import Answer, Finding, Quantity, joined
from probes.pre_existence.settings import Settings

NAN = float("nan")
CHANCE = 0.5


def before_result(tokenizer: Any, step: Step, result: str) -> int | None:
    """Index, in the step, of the token before its result; None if the result is not found there.

    Args:
        tokenizer: Of the reader.
        step: A step with its ids.
        result: What it states, as `Rewriter.result` reads it; its last occurrence is taken.
    """
    texts = [decode(tokenizer, step.ids[:k]).rstrip() for k in range(len(step.ids) + 1)]
    grown = (k for k in range(1, len(texts)) if texts[k] != texts[k - 1])
    ends = [k for k in grown if texts[k].endswith(result)]
    if not ends:
        return None
    before = len(texts[ends[-1]][: -len(result)].rstrip())
    start = max(k for k in range(ends[-1]) if len(texts[k]) <= before)
    return start - 1 if start else None


def read_results(bench: Bench, site: Site) -> tuple[Activations, list[str]] | None:
    """Activations before each result, and the results; None if no step states one."""
    rows: list[tuple[int, ...]] = []
    places: list[list[int]] = []
    results: list[str] = []
    for question, example in zip(bench.questions, bench.task.examples, strict=True):
        row, here = question + bench.layout.think_open, list[int]()
        for step in encode_steps(bench.model.tokenizer, example.steps):
            result = bench.task.rewriter.result(step.text)
            at = before_result(bench.model.tokenizer, step, result) if result else None
            if at is not None and result:
                here.append(len(row) + at)
                results.append(result)
            row = row + step.ids
        rows.append(row)
        places.append(here)
    if not results:
        return None
    problems = [example.problem for example in bench.task.examples]
    return collect(bench.model, rows, places, site, problems=problems), results


def decodable(
    choose: Bench, test: Bench, sites: Sequence[Site], settings: Settings, *, seed: int
) -> Finding:
    """Whether the results of steps are decodable from the model that the benches hold."""
    try:
        probe, site, median = _fitted(choose, sites, seed=seed)
    except ValueError as error:
        return _unmeasured(str(error))
    read = read_results(test, site)
    if read is None:
        return _unmeasured("no step of the second half states a result")
    activations, results = read
    scores = project(probe.direction, activations.values).tolist()
    scored = [
        Scored(str(at), str(problem), score, _rank(result) > median)
        for at, (problem, score, result) in enumerate(
            zip(activations.problems, scores, results, strict=True)
        )
    ]
    sample = pool("auroc", scored)
    wide, narrow = (
        estimate_pooled(sample, seed=seed, level=1 - k * settings.alpha) for k in (1, 2)
    )
    found, top = joined(wide, narrow), probe.band[1]
    return Finding(
        "decodable", decode_answer(found, top, settings.bound), found, None,
        f"shuffled labels up to {top:.2f}", f"base, before results, at {site}",
        found.upper < CHANCE + settings.bound,
    )  # fmt: skip


def decode_answer(auroc: Quantity, band: float, bound: float) -> Answer:
    """The answer for an AUROC on problems held out.

    Args:
        auroc: Measured, with its intervals.
        band: The highest that probes of shuffled labels reached.
        bound: An AUROC less than this above chance counts as none.
    """
    if auroc.upper < CHANCE + bound:
        return "no"
    return "yes" if auroc.low > max(band, CHANCE + bound) else "undecided"


def _fitted(
    choose: Bench, sites: Sequence[Site], *, seed: int
) -> tuple[LinearProbe, Site, tuple[int, str]]:
    """The best probe by the problems that it held out, its site, and the middle result."""
    best: tuple[LinearProbe, Site, tuple[int, str]] | None = None
    for site in sites:
        read = read_results(choose, site)
        if read is None:
            raise ValueError("no step states a result")
        activations, results = read
        ranks = sorted({_rank(result) for result in results})
        median = ranks[(len(ranks) - 1) // 2]
        upper = np.array([_rank(result) > median for result in results])
        sides = (_taken(activations, upper), _taken(activations, ~upper))
        probe = fit_linear_probe(*sides, seed=seed)
        if best is None or probe.auroc > best[0].auroc:
            best = (probe, site, median)
    if best is None:
        raise ValueError("no site was given")
    return best


def _rank(result: str) -> tuple[int, str]:
    return len(result), result


def _taken(read: Activations, chosen: np.ndarray) -> Activations:
    at = np.flatnonzero(chosen).tolist()
    return replace(
        read,
        values=read.values[at],
        tokens=tuple(read.tokens[n] for n in at),
        problems=tuple(read.problems[n] for n in at),
    )


def _unmeasured(reason: str) -> Finding:
    nothing = Quantity(NAN, NAN, NAN, NAN, NAN, 0)
    return Finding("decodable", "undecided", nothing, None, f"not measurable: {reason}", "", False)
