"""Comparing a pair with its control pairs: a crosscoder of each, trained and judged alike.

How many latents of a pair would seem exclusive by chance, and how many would be seen at all, is
measured on **control pairs**:

* *same*: the base model against itself. Nothing can be exclusive;
* *noise*: the base model against itself plus, at each position, a random vector as long as what
  post-training changed there. The models differ as much as the pair does, without structure;
* *plant*: the base model against itself plus eight directions, each added at one position in fifty
  at the mean length of the pair's change. There are eight post-only latents to find; how many of
  them are found says how much a count of none means.

*same* and *noise* are nulls: a pair has exclusive latents where their rate is above both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.activation_store import capture
from interp.methods.crosscoder.dictionary import Crosscoder
from interp.methods.crosscoder.latents import (
    BASE_ONLY,
    POST_ONLY,
    LatentReport,
    Thresholds,
    inspect_latents,
)
from interp.methods.crosscoder.training import CrosscoderSettings, shuffled, train_crosscoder
from interp.models import ModelPair
from interp.models.token_ids import Rows
from interp.sites import Site, SiteOrName, as_site

PAIR, SAME, NOISE, PLANT = "pair", "same", "noise", "plant"
NULLS = (SAME, NOISE)
N_PLANTED, PLANTED_SHARE = 8, 0.02
"""Directions, and the share of the positions at which each is added."""
HELD_OUT = 5
"""One text in so many is kept for judging the latents."""
READ_AT_ONCE = 4096


@dataclass(frozen=True)
class TextFit:
    """How well a crosscoder reads one held-out text; each pair of numbers is base, post."""

    text: int
    """Number of the text."""
    squared_error: tuple[float, float]
    """Sum over the positions of the text, in the units of the crosscoder."""
    variance: tuple[float, float]
    """The same around the mean of all held-out texts."""
    exclusive_share: tuple[float, float]
    """Share of its active latents that base alone has, and that post alone has."""


@dataclass(frozen=True, eq=False)
class CrosscoderComparison:
    """A crosscoder of a pair and of its controls, with what is known of their latents."""

    pair: str
    site: Site
    settings: CrosscoderSettings
    crosscoders: Mapping[str, Crosscoder]
    """By PAIR, SAME, NOISE and PLANT."""
    reports: Mapping[str, LatentReport]
    fits: Mapping[str, Sequence[TextFit]]

    @property
    def null_rate(self) -> float:
        """The larger exclusive rate of the nulls; NaN where one has no judged latent."""
        return null_rate(self.reports)

    def record(self) -> dict[str, Any]:
        """Everything but the weights, as plain data."""
        return {
            "pair": self.pair, "site": str(self.site), "settings": asdict(self.settings),
            "reports": {name: _plain_report(report) for name, report in self.reports.items()},
        }  # fmt: skip


def null_rate(reports: Mapping[str, LatentReport]) -> float:
    """The larger exclusive rate of the nulls; NaN where one has no judged latent."""
    rates = [reports[name].exclusive_rate for name in NULLS]
    # NaN is asked for first: whether max() returns it depends on the order.
    return max(rates) if all(rate == rate for rate in rates) else float("nan")


def read_reports(record: Mapping[str, Any]) -> dict[str, LatentReport]:
    """The reports on the latents of each crosscoder, from `CrosscoderComparison.record`."""
    return {name: _read_report(fields) for name, fields in record["reports"].items()}


def _plain_report(report: LatentReport) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, Tensor) else value
        for name, value in vars(report).items()
    }


def _read_report(fields: Mapping[str, Any]) -> LatentReport:
    columns = ("delta", "n_active", "nu_eps", "nu_r")
    read: dict[str, Any] = {**fields, "kinds": tuple(fields["kinds"]), "fvu": tuple(fields["fvu"])}
    for name in columns:
        read[name] = torch.tensor(fields[name])
    return LatentReport(**read)


def paired_activations(
    pair: ModelPair, texts: Rows, site: SiteOrName, folder: Path
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
    # Offsets end with the number of positions, which begins no text.
    kept[store.offsets[:-1]] = False
    both = torch.stack([store.values(name, site) for name in models], dim=1)
    return both[kept], of_text[kept]


def control_pairs(
    activations: Float[Tensor, "example model d_in"], *, seed: int
) -> dict[str, Float[Tensor, "example model d_in"]]:
    """The control pairs, position by position.

    The planted directions are the same for every seed, so that they occur in held-out texts too.
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
    texts: Rows,
    site: SiteOrName,
    settings: CrosscoderSettings = CrosscoderSettings(),  # noqa: B008 - frozen
    *,
    folder: Path,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
) -> CrosscoderComparison:
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
        NotMeasurableError: If there are fewer positions than a batch holds.
        ValueError: As in `paired_activations`.
        OSError: As there.
    """
    values, of_text = paired_activations(pair, texts, site, folder)
    # Whole texts are held out, since positions of one text are alike.
    is_held_out = of_text % HELD_OUT == 0
    train, test = values[~is_held_out], values[is_held_out]
    if len(train) < settings.batch_size:
        raise NotMeasurableError(
            f"a crosscoder is trained on batches of {settings.batch_size} positions, and the texts "
            f"have {len(train)} besides those held out. Ask for more examples, or lower batch_size"
        )
    sources = {PAIR: train, **control_pairs(train, seed=settings.seed)}
    # With the seed of the training half, its noise vectors would come again in the test half.
    targets = {PAIR: test, **control_pairs(test, seed=settings.seed + 1)}
    crosscoders: dict[str, Crosscoder] = {}
    reports: dict[str, LatentReport] = {}
    fits: dict[str, list[TextFit]] = {}
    device = pair.base.device
    for name, source in sources.items():
        # The same seed and so the same order for all: only the data differ.
        batches = shuffled(source.to(device), settings.batch_size, seed=settings.seed)
        label = f"crosscoder, {name}"
        crosscoders[name] = train_crosscoder(batches, settings, progress=label)
        target = targets[name].to(device)
        split = target.split(READ_AT_ONCE)
        reports[name] = inspect_latents(crosscoders[name], split, thresholds)
        fits[name] = fit_texts(crosscoders[name], reports[name], target, of_text[is_held_out])
    return CrosscoderComparison(pair.name, as_site(site), settings, crosscoders, reports, fits)


@torch.no_grad()
def fit_texts(
    crosscoder: Crosscoder,
    report: LatentReport,
    activations: Float[Tensor, "example model d_in"],
    of_text: Int[Tensor, " example"],
) -> list[TextFit]:
    """How well a crosscoder reads each of these texts.

    Args:
        crosscoder: The dictionary.
        report: On its latents, from the same texts.
        activations: At all positions of the texts, where the dictionary is.
        of_text: Number of the text of each position.
    """
    mean = crosscoder.scaled(activations.float()).double().mean(0)
    is_kind = torch.tensor(
        [[kind == only for kind in report.kinds] for only in (BASE_ONLY, POST_ONLY)],
        device=activations.device,
    )
    fits: list[TextFit] = []
    for text in of_text.unique().tolist():
        raw = activations[(of_text == text).to(activations.device)].float()
        x, latents = crosscoder.scaled(raw), crosscoder.encode(raw)
        error = (x - crosscoder.decode_scaled(latents)).double().pow(2).sum((0, 2))
        variance = (x.double() - mean).pow(2).sum((0, 2))
        active = (latents > 0).sum(0)
        shares = (is_kind * active).sum(1) / active.sum()  # NaN where none is active
        columns = (error, variance, shares)
        fits.append(TextFit(text, *((float(c[0]), float(c[1])) for c in columns)))
    return fits
