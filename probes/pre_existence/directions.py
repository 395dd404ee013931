"""Directions: which model each comes from, and what each of them measures.

At the **last question token** the model opens a chain or does not, so a direction is found and
added there. Three sources, per site:

* **base**, **post**: found within one model from the bare questions alone, so that nothing of the
  other model can leak in. Two contrasts can be chosen:

  - *gradient*: mean gradient of the log-odds of opening (`interp.methods.directions.gradient`);
  - *leaning*: mean difference between states before an opening and before none. In a model
    that opens at random every state precedes both, so states are weighted by the probability p:
    sum p x / sum p - sum (1-p) x / sum (1-p), what sampling would give in expectation.

  The gradient is the default. It was chosen on seed 0 of four pairs, where *leaning*, regressions
  of the log-odds on the state and the gradient were tried. In base -> grpo the prompt hardly
  predicts whether that base will think (p from 0.067 to 0.085), so *leaning* is mostly how prompts
  differ: with pushes up to the stream's own length it moved the base to 0.21 at most, the best of 8
  random directions to 0.31, the gradient to 0.98.

* **pair**: mean of post minus mean of base at that token. It is what post-training changed. It is
  no evidence by itself that the base had the ability: it may carry the behaviour in.

A further control is the **token**: the gradient of the same log-odds at the last layer of the
steered model, where nothing but the final norm and the unembedding follows. A base direction that
moves post no further than this may move nothing but that token, and is no evidence of reasoning
that both models share.
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
from probes.pre_existence.arms import AskedModel
from probes.pre_existence.settings import Contrast

SOURCES = ("base", "post", "pair")

Directions = Mapping[Site, Mapping[str, Direction]]
"""Site -> source ('token' among them) -> direction, in the dose unit of the steered model."""


def find_directions(
    models: Mapping[str, AskedModel], sites: tuple[Site, ...], contrast: Contrast
) -> dict[str, Directions]:
    """All directions, for each steered model in its own dose unit.

    Args:
        models: 'base' and 'post', asked the same questions.
        sites: Where.
        contrast: How a direction is found within one model.

    Returns:
        Steered model -> site -> source -> direction. Sources that give no direction (the mean of a
        model minus itself) are left out.
    """
    directions: dict[str, dict[Site, dict[str, Direction]]] = {name: {} for name in models}
    tokens = {name: find_token_direction(asked) for name, asked in models.items()}
    for site in sites:
        read = {name: _last(asked, site) for name, asked in models.items()}
        here = {
            name: find_own_direction(asked, read[name], contrast) for name, asked in models.items()
        }
        if not torch.equal(read["post"].values, read["base"].values):
            here["pair"] = mean_difference(read["post"], read["base"])
        for name in models:
            norm = read[name].mean_norm
            # Found after the last layer and added at any: all layers write into one stream.
            every = {**here, "token": replace(tokens[name], site=site)}
            directions[name][site] = {key: with_reference(one, norm) for key, one in every.items()}
    return dict(directions)


def find_own_direction(asked: AskedModel, read: Activations, contrast: Contrast) -> Direction:
    """The direction of opening a chain, found within one model."""
    token = asked.layout.think_open[0]
    if contrast == "gradient":
        return opening_gradient(asked.model, asked.questions, token, read)
    # In float64: where p hardly varies, the two weighted means are nearly equal.
    p = torch.from_numpy(asked.first_probability(token)).double()
    x = read.values.double()
    raw = p @ x / p.sum() - (1 - p) @ x / (1 - p).sum()
    source = Source("leaning", (read.model,), (read.weights_sha256,), (read.texts_sha256,))
    return make_direction(raw.float(), read.site, source, reference_norm=read.mean_norm)


def find_token_direction(asked: AskedModel) -> Direction:
    """What raises the opening's first token by the last norm and matrix alone."""
    last = _last(asked, Site(asked.model.n_layers - 1, "resid_post"))
    return opening_gradient(asked.model, asked.questions, asked.layout.think_open[0], last)


def _last(asked: AskedModel, site: Site) -> Activations:
    where = [(-1,)] * len(asked.questions)
    problems = [example.problem for example in asked.task.examples]
    return collect(asked.model, asked.questions, where, site, problems=problems)
