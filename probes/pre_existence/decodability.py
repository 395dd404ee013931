"""Decodability: does the base have the result of a step, before it reads that result in a chain?

The base reads correct chains (the task's own steps). At the token before each step's result, a
linear probe predicts whether the result is in the upper or the lower half of all results (ordered
by length, then text, which is the order of whole numbers). The result is not written there yet. It
follows from the operands of the step, so a model that has it must have worked it out.

The linear probe is fitted on the problems of the first half, at the site where it does best on
those it holds out, and scored on the second half; the band is that of linear probes fitted to
shuffled labels. *Decodable* means that the parts are known, not that they are ever put together: a
model that knows sums and never saw a chain may pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from interp.chains.chain import Step, encode_steps
from interp.chains.texts import decode
from interp.errors import NotMeasurableError
from interp.methods.directions import Activations, LinearProbe, collect, fit_linear_probe, project
from interp.sites import Site
from interp.stats.auroc import ScoredItem, collect_scores, estimate_pooled
from probes.pre_existence.arms import AskedModel
from probes.pre_existence.settings import PreExistenceSettings
from probes.pre_existence.verdict import Answer, Quantity, QuestionResult, join_estimates

NAN = float("nan")
CHANCE = 0.5


def find_before_result(tokenizer: Any, step: Step, result: str) -> int | None:
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
    return start - 1 if start else None  # no token of the step precedes its first


def read_results(asked: AskedModel, site: Site) -> tuple[Activations, list[str]]:
    """Activations before each result, and the results.

    Raises:
        NotMeasurableError: No step states a result.
    """
    rows: list[tuple[int, ...]] = []
    places: list[list[int]] = []
    results: list[str] = []
    for question, example in zip(asked.questions, asked.task.examples, strict=True):
        row, here = question + asked.layout.think_open, list[int]()
        for step in encode_steps(asked.model.tokenizer, example.steps):
            result = asked.task.rewriter.result(step.text)
            at = find_before_result(asked.model.tokenizer, step, result) if result else None
            if at is not None and result:
                here.append(len(row) + at)
                results.append(result)
            row = row + step.ids
        rows.append(row)
        places.append(here)
    if not results:
        raise NotMeasurableError(f"no step of these chains of {asked.task.name} states a result")
    problems = [example.problem for example in asked.task.examples]
    return collect(asked.model, rows, places, site, problems=problems), results


def judge_decodable(
    choose: AskedModel,
    test: AskedModel,
    sites: Sequence[Site],
    settings: PreExistenceSettings,
    *,
    seed: int,
) -> QuestionResult:
    """Whether the results of steps are decodable from a model.

    Args:
        choose: The model with the problems on which the linear probe is fitted and its site chosen.
        test: The model with the problems on which it is scored.
        sites: To choose from.
        settings: Bound and alpha.
        seed: Of the hold-out, the shuffles and the bootstrap.

    Returns:
        The answer; *undecided* with the reason where too few problems state a result.
    """
    try:
        probe, site, median = _fit_best(choose, sites, seed=seed)
        activations, results = read_results(test, site)
    except NotMeasurableError as error:
        return _unmeasured(str(error))
    scores = project(probe.direction, activations.values).tolist()
    scored = [
        ScoredItem(str(at), str(problem), score, _rank(result) > median)
        for at, (problem, score, result) in enumerate(
            zip(activations.problems, scores, results, strict=True)
        )
    ]
    sample = collect_scores("auroc", scored)
    wide, narrow = (
        estimate_pooled(sample, seed=seed, level=1 - k * settings.alpha) for k in (1, 2)
    )
    auroc, top = join_estimates(wide, narrow), probe.band[1]
    return QuestionResult(
        "decodable", answer_auroc(auroc, top, settings.bound), auroc, None,
        f"shuffled labels up to {top:.2f}", f"base, before results, at {site}",
        auroc.upper < CHANCE + settings.bound,
    )  # fmt: skip


def answer_auroc(auroc: Quantity, band: float, bound: float) -> Answer:
    """The answer for an AUROC on problems held out.

    Args:
        auroc: Measured, with its intervals.
        band: The highest that probes of shuffled labels reached.
        bound: An AUROC less than this above chance counts as none.
    """
    if auroc.upper < CHANCE + bound:
        return "no"
    return "yes" if auroc.low > max(band, CHANCE + bound) else "undecided"


def _fit_best(
    choose: AskedModel, sites: Sequence[Site], *, seed: int
) -> tuple[LinearProbe, Site, tuple[int, str]]:
    """The best linear probe by the problems that it held out, its site, and the middle result."""
    fits: list[tuple[LinearProbe, Site, tuple[int, str]]] = []
    for site in sites:
        activations, results = read_results(choose, site)
        ranks = sorted({_rank(result) for result in results})
        # The lower middle of the distinct results: with two or more, neither side is empty.
        median = ranks[(len(ranks) - 1) // 2]
        upper = np.array([_rank(result) > median for result in results])
        sides = (_select(activations, upper), _select(activations, ~upper))
        fits.append((fit_linear_probe(*sides, seed=seed), site, median))
    return max(fits, key=lambda fit: fit[0].auroc)


def _rank(result: str) -> tuple[int, str]:
    return len(result), result


def _select(read: Activations, chosen: np.ndarray) -> Activations:
    at = np.flatnonzero(chosen).tolist()
    return replace(
        read,
        values=read.values[at],
        tokens=tuple(read.tokens[n] for n in at),
        problems=tuple(read.problems[n] for n in at),
    )


def _unmeasured(reason: str) -> QuestionResult:
    nothing = Quantity(NAN, NAN, NAN, NAN, NAN, 0)
    return QuestionResult(
        "decodable", "undecided", nothing, None, f"not measurable: {reason}", "", False
    )
