"""Crosscoding: has post-training added features that the base model lacks, or removed some?

A crosscoder (`interp.methods.crosscoder`) is trained on both models' activations at one site, and
its latents are sorted into shared, base only and post only, with those set apart that only seem
exclusive. How many would seem exclusive by chance, and how many would be seen at all, is not
assumed but measured, by two **nulls** and a **plant** that are trained in the same way:

* *same*: the base model against itself. Nothing can be exclusive;
* *noise*: the base model against itself plus, at each position, a random vector as long as what
  post-training changed there. The models differ as much as the pair does, without structure;
* *plant*: the base model against itself plus eight directions, each added at one position in fifty
  at the mean length of the pair's change. Eight post-only latents are there to be found; how many
  are is what a count of none is worth.

A pair has exclusive latents where their rate is above both nulls. The site, the texts and the size
of the dictionary bound what can be found: a feature that no text calls for is in neither count.

Example: GRPO that only made a model choose what it could do before: no more exclusive latents than
the nulls have, though Delta is not 0.5 for every latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.chains.answer_scoring import Ids, render
from interp.chains.chain import encode_layout
from interp.chains.trace_writing import gold_traces
from interp.methods.activation_store import capture
from interp.methods.crosscoder import (
    POST_ONLY,
    Crosscoder,
    CrosscoderSettings,
    LatentReport,
    Thresholds,
    inspect_latents,
    shuffled,
    train_crosscoder,
)
from interp.methods.crosscoder.latents import KINDS
from interp.models import ModelPair
from interp.sites import Site
from interp.tasks import Task

PAIR, SAME, NOISE, PLANT = "pair", "same", "noise", "plant"
NULLS = (SAME, NOISE)
N_PLANTED, PLANTED_SHARE = 8, 0.02
"""Directions, and the share of the positions at which each is added."""
HELD_OUT = 5
"""One text in so many is kept for judging the latents."""
READ_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Crosscoding:
    """A crosscoder of a pair and of its controls, with what is known of their latents."""

    pair: str
    site: Site
    settings: CrosscoderSettings
    crosscoders: dict[str, Crosscoder]
    """By PAIR, SAME, NOISE and PLANT."""
    reports: dict[str, LatentReport]

    @property
    def null_rate(self) -> float:
        """The larger exclusive rate of the nulls; NaN where one has no judged latent."""
        rates = [self.reports[name].exclusive_rate for name in NULLS]
        return max(rates) if all(rate == rate for rate in rates) else float("nan")


def whole_texts(tokenizer: Any, task: Task) -> list[Ids]:
    """Question, correct chain between its delimiters, and answer of every example.

    Delimiters and answer belong to the text: a model that only answers or opens differently differs
    nowhere else.
    """
    layout = encode_layout(tokenizer, task.layout)
    return [
        render(trace.prompt_ids, trace.steps, layout) + trace.answer_ids + layout.answer_end
        for trace in gold_traces(tokenizer, task)
    ]


def paired_activations(
    pair: ModelPair, texts: Sequence[Sequence[int]], site: Site, folder: Path
) -> tuple[Float[Tensor, "example model d_in"], Int[Tensor, " example"]]:
    """Activations of both models at all positions but the first of each text, and their texts.

    The first position is left out because its outsized norm would be most of what is explained.

    Args:
        pair: The models.
        texts: Token ids that both read.
        site: A site with heads gives them side by side, as one vector.
        folder: Of the activation store; a capture that was stopped there goes on.

    Returns:
        The activations, and the number of the text of each.

    Raises:
        ValueError: If a text does not fit, or the folder holds other activations.
        OSError: If the disk has not enough room.
    """
    models = {"base": pair.base, "post": pair.post}
    store = capture(models, texts, [site], folder, progress=f"activations, {pair.name}")
    lengths = store.offsets.diff()
    of_text = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    kept = torch.ones(store.n_tokens, dtype=torch.bool)
    kept[store.offsets[:-1]] = False
    both = torch.stack([store.values(name, site) for name in models], dim=1)
    return both[kept], of_text[kept]


def control_pairs(
    activations: Float[Tensor, "example model d_in"], *, seed: int
) -> dict[str, Float[Tensor, "example model d_in"]]:
    """The pairs that say what happens by chance and what can be seen, position by position.

    The planted directions are the same for every seed, so that they can be held out.
    """
    base = activations[:, 0]
    changed = (activations[:, 1] - base).norm(dim=-1, keepdim=True)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(base.shape, generator=rng)
    noise = noise / noise.norm(dim=-1, keepdim=True) * changed
    return {
        SAME: torch.stack([base, base], dim=1),
        NOISE: torch.stack([base, base + noise], dim=1),
        PLANT: torch.stack([base, base + _planted(base, float(changed.mean()), rng)], dim=1),
    }


def _planted(
    base: Float[Tensor, "example d_in"], length: float, rng: torch.Generator
) -> Float[Tensor, "example d_in"]:
    """What is added at each position: sums of the planted directions that it drew."""
    fixed = torch.Generator().manual_seed(0)
    directions = torch.randn(N_PLANTED, base.shape[-1], generator=fixed)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    drawn = torch.rand(len(base), N_PLANTED, generator=rng) < PLANTED_SHARE
    return length * drawn.float() @ directions


def crosscode(
    pair: ModelPair,
    texts: Sequence[Sequence[int]],
    site: Site,
    settings: CrosscoderSettings = CrosscoderSettings(),  # noqa: B008 - frozen
    *,
    folder: Path,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
) -> Crosscoding:
    """Trains a crosscoder on a pair and on its controls, and judges all on held-out texts.

    Args:
        pair: The models.
        texts: Token ids that both read; every fifth is held out.
        site: Where.
        settings: The same for all.
        folder: Where the activations are kept.
        thresholds: Where classes of latents begin.

    Returns:
        The crosscoders and their latents.

    Raises:
        ValueError: If there are too few texts for a batch, or as in `paired_activations`.
        OSError: As there.
    """
    values, of_text = paired_activations(pair, texts, site, folder)
    train, test = values[of_text % HELD_OUT > 0], values[of_text % HELD_OUT == 0]
    sources = {PAIR: train, **control_pairs(train, seed=settings.seed)}
    targets = {PAIR: test, **control_pairs(test, seed=settings.seed + 1)}
    crosscoders: dict[str, Crosscoder] = {}
    reports: dict[str, LatentReport] = {}
    device = pair.base.device
    for name, values in sources.items():
        batches = shuffled(values.to(device), settings.batch_size, seed=settings.seed)
        label = f"crosscoder, {name}"
        crosscoders[name] = train_crosscoder(batches, settings, progress=label)
        split = targets[name].to(device).split(READ_AT_ONCE)
        reports[name] = inspect_latents(crosscoders[name], split, thresholds)
    return Crosscoding(pair.name, site, settings, crosscoders, reports)


def told(found: Crosscoding) -> list[str]:
    """The counts of each class, the null rate and the fit, in lines."""
    names = list(found.reports)
    settings = found.settings
    lines = [
        f"{found.pair}, {found.site}: {settings.d_sae} latents, k = {settings.k}, "
        f"{found.reports[PAIR].n_positions} held-out positions",
        f"{'':16}" + "".join(f"{name:>10}" for name in names),
    ]
    for kind in KINDS:
        counts = "".join(f"{found.reports[name].count(kind):>10}" for name in names)
        lines.append(f"{kind:16}{counts}")
    for label, read in (
        ("exclusive rate", lambda r: r.exclusive_rate),
        ("duplicates", lambda r: r.n_duplicates),
        ("L0", lambda r: r.l0),
        ("FVU base", lambda r: r.fvu[0]),
        ("FVU post", lambda r: r.fvu[1]),
    ):
        values = "".join(f"{read(found.reports[name]):>10.3g}" for name in names)
        lines.append(f"{label:16}{values}")
    rate, null = found.reports[PAIR].exclusive_rate, found.null_rate
    verdict = "above" if rate > null else "not above" if rate <= null else "not comparable with"
    seen = found.reports[PLANT].count(POST_ONLY)
    lines.append(f"exclusive latents of the pair: {rate:.1%}, {verdict} the nulls' {null:.1%}")
    lines.append(f"post-only latents of {N_PLANTED} planted directions: {seen}")
    return lines
