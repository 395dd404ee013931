"""Span patching: whole classes of positions patched together, at each layer and at all layers.

A grid (`patch_grid`) patches one position at a time and so misses what is spread over several:
operands of a step, a question. Here a cell patches all positions of a span, at one layer, and last
at all layers jointly. Patched at all layers, a span's keys and values, too, are those of the donor
from the second layer on: later positions then read the span as the donor wrote it, with the
attention of the patched model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.engine import SweepCell, run, sweep
from interp.interventions import Intervention, replace
from interp.methods.patching.donors import Donor, check_donor, choose_positions, donated, read_donor
from interp.models import Model
from interp.models.token_ids import Row, Rows
from interp.sites import Site

JOINTLY = -1
"""In the place of a layer: all layers together."""


@dataclass(frozen=True, eq=False)
class PatchedSpans:
    """Logits of the patched model, plain and with each span patched."""

    plain: Float[Tensor, "pos d_vocab"]
    patched: Mapping[tuple[str, int], Float[Tensor, "pos d_vocab"]]
    """By span and layer; layer `JOINTLY` is all of them."""


def patch_spans(
    model: Model,
    ids: Row,
    donor: Donor,
    spans: Mapping[str, Sequence[int]],
    *,
    stream: str = "resid_post",
) -> PatchedSpans:
    """Puts a donor's activations into spans of a run, one span and layer at a time.

    Args:
        model: The model that is patched.
        ids: The text that it reads.
        donor: The run that activations are taken from; as long as the text.
        spans: Positions by name.
        stream: A stream of every block.

    Returns:
        Logits at all positions.

    Raises:
        ValueError: If donor, stream or positions do not fit.
    """
    sites = [Site(layer, stream) for layer in range(model.n_layers)]
    aligned = check_donor(model, ids, donor, sites)
    chosen = {name: choose_positions(aligned, at, len(ids)) for name, at in spans.items()}
    read = read_donor(donor, sites)
    cells: dict[tuple[str, int], SweepCell] = {}
    for name, at in chosen.items():
        each = [
            Intervention(site, replace, donated(read, donor, site, at), positions=at)
            for site in sites
        ]
        cells |= {(name, layer): [edit] for layer, edit in enumerate(each)}
        cells[name, JOINTLY] = each
    # The plain run is an empty cell, so that it is computed just as the patched ones are.
    plain, *patched = sweep(model, ids, [[], *cells.values()], logits_at="all").logits
    return PatchedSpans(plain, dict(zip(cells, patched, strict=True)))


def last_token_patches(
    giver: Model, prompts: Rows, *, stream: str = "resid_post"
) -> list[Intervention]:
    """Interventions that make another model leave the last token of each prompt as the giver does.

    Args:
        giver: The model whose activations are taken.
        prompts: Token ids; row n of the run or generation reads prompt n.
        stream: A stream of every block; it is patched at all layers.

    Returns:
        One intervention per prompt and layer, for `run` and `generate`.
    """
    sites = [Site(layer, stream) for layer in range(giver.n_layers)]
    read = run(giver, prompts, capture=sites, logits_at="last")
    return [
        Intervention(site, replace, activation[-1:], positions=(-1,), rows=(row,))
        for site in sites
        for row, activation in enumerate(read.captures[site])
    ]
