"""Sources: where a direction comes from, and what each of them measures.

What is at stake is decided at the **last question token**: there the model opens a chain or does
not, and there a direction is found and added. Three sources, per site:

* **base**, **post**: found within one model from the bare questions alone, so that nothing of the
  other model can leak in. Two contrasts can be chosen:

  - *gradient*: mean gradient of the log-odds of opening (`interp.methods.directions.gradient`);
  - *leaning*: mean difference between states before an opening and before none. A model that opens
    by a coin is before both in every state, so states count by the probability p of either:
    sum p x / sum p - sum (1-p) x / sum (1-p), what sampling would give in expectation.

  The gradient is the default. It was chosen on seed 0 of four pairs, where *leaning*, regressions
  of the log-odds on the state and the gradient were tried. In base -> grpo the prompt hardly says
  whether that base will think (p from 0.067 to 0.085), so *leaning* is mostly how prompts differ:
  with pushes up to the stream's own length it moved the base to 0.21 at most, the best of 8 random
  directions to 0.31, the gradient to 0.98.

* **pair**: mean of post minus mean of base at that token. It holds what post-training changed, and
  is no evidence by itself that the base knew of it: it may carry the behaviour in.

A further control is the **token**: the gradient of the same log-odds at the last layer of the
steered model, where nothing but the final norm and the unembedding follows. A base direction that
moves post no further than this moves a token, and says nothing of reasoning that both share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from interp.methods.directions import (
    Activations,
    Direction,
    Source,
    collect,
    make_direction,
    mean_difference,
    opening_gradient,
    with_reference,
)
from interp.sites import Site
from probes.pre_existence.arms import Bench
from probes.pre_existence.settings import Contrast

SOURCES = ("base", "post", "pair")

Directions = Mapping[Site, Mapping[str, Direction]]
"""Site -> source ('token' among them) -> direction, in the dose unit of the steered model."""


def find_directions(
    benches: Mapping[str, Bench], sites: tuple[Site, ...], contrast: Contrast
) -> dict[str, Directions]:
    """All directions, for each steered model in its own dose unit.

    Args:
        benches: 'base' and 'post', on the same questions.
        sites: Where.
        contrast: How a direction is found within one model.

    Returns:
        Steered model -> site -> source -> direction. Sources that give no direction (the mean of a
        model minus itself) are left out.
    """
    found: dict[str, dict[Site, dict[str, Direction]]] = {name: {} for name in benches}
    tokens = {name: token_direction(bench) for name, bench in benches.items()}
    for site in sites:
        read = {name: _last(bench, site) for name, bench in benches.items()}
        here = {name: within(bench, read[name], contrast) for name, bench in benches.items()}
        if not torch.equal(read["post"].values, read["base"].values):
            here["pair"] = mean_difference(read["post"], read["base"])
        for name in benches:
            norm = read[name].mean_norm
            every = {**here, "token": replace(tokens[name], site=site)}
            found[name][site] = {key: with_reference(one, norm) for key, one in every.items()}
    return dict(found)


def within(bench: Bench, read: Activations, contrast: Contrast) -> Direction:
    """The direction of opening a chain, found within one model."""
    token = bench.layout.think_open[0]
    if contrast == "gradient":
        return opening_gradient(bench.model, bench.questions, token, read)
    p = bench.first_probability(token).double()
    x = read.values.double()
    raw = p @ x / p.sum() - (1 - p) @ x / (1 - p).sum()
    source = Source("leaning", (read.model,), (read.weights_sha256,), (read.texts_sha256,))
    return make_direction(raw.float(), read.site, source, reference_norm=read.mean_norm)


def token_direction(bench: Bench) -> Direction:
    """What raises the opening's first token by the last norm and matrix alone."""
    last = _last(bench, Site(bench.model.n_layers - 1, "resid_post"))
    return opening_gradient(bench.model, bench.questions, bench.layout.think_open[0], last)


def _last(bench: Bench, site: Site) -> Activations:
    where = [(-1,)] * len(bench.questions)
    problems = [example.problem for example in bench.task.examples]
    return collect(bench.model, bench.questions, where, site, problems=problems)
