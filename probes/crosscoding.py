"""Crosscoding: has post-training added features that the base model lacks, or removed some?

A crosscoder is trained on both models' activations at one site, and its latents are sorted into
shared, base only and post only; latents that only seem exclusive form classes of their own. The
same is done with **control pairs** made of the base model alone
(`interp.methods.crosscoder.comparison`): the nulls *same* and *noise*, which have no exclusive
latents, and *plant*, which has eight. A pair has exclusive latents where their rate is above both
nulls. The site, the texts and the size of the dictionary bound what can be found: a feature that
occurs in no text is in neither count.

A latent is no example, so classes and rates are in the record. Items are about held-out texts:
the squared error and the variance in each (their ratio is the FVU), and which share of the latents
active there belongs to one model alone.

Example: if GRPO only made the model choose what it could do before, the pair has no more exclusive
latents than the nulls, although Delta is not 0.5 for every latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from interp.chains.chain import encode_layout
from interp.chains.rendering import render
from interp.chains.texts import Ids
from interp.chains.trace_writing import gold_traces
from interp.errors import NotMeasurableError
from interp.methods.crosscoder import (
    N_PLANTED,
    PAIR,
    PLANT,
    POST_ONLY,
    Crosscoder,
    CrosscoderComparison,
    CrosscoderSettings,
    LatentReport,
    crosscode,
    null_rate,
    read_reports,
    save_crosscoder,
)
from interp.methods.crosscoder.latents import KINDS
from interp.models import ModelPair
from interp.results.plots import Figure, decoder_norms
from interp.results.rows import Item, Ratio
from interp.results.run_folder import Part
from interp.sites import parse_site
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import not_applicable
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces
from probes.setting_bounds import Bounds

MODELS = ("base", "post")


@dataclass(frozen=True)
class Crosscoding(Probe):
    """A crosscoder of a pair, beside crosscoders of its control pairs."""

    name: ClassVar[str] = "crosscoding"
    title: ClassVar[str] = "Crosscoder"
    question: ClassVar[str] = "Does post-training add latents that the base lacks, or remove some?"
    reading: ClassVar[tuple[str, ...]] = (
        "A latent is exclusive if its decoder row in one model is close to zero and latent scaling "
        "finds no trace of it there (Minder et al. 2025). Compare the rate of exclusive latents "
        "of the pair with that of the nulls: 'same' (base and base) and 'noise' (base, and base "
        "plus noise as large as the change).",
        "'plant' is the base and the base with eight planted directions. If few of them are found, "
        "a rate of zero for the pair says little.",
        "fvu: fraction of variance unexplained of the reader's activations in held-out texts. "
        "exclusive_share: of the latents active in a held-out text, the share that only the reader "
        "has. The variant is the pair or its control; in a control both readers are made of the "
        "base model.",
    )
    n: ClassVar[int] = 1000
    writers: ClassVar[tuple[str, ...]] = ()
    check_settings: ClassVar[Mapping[str, Any]] = {
        "d_sae": 16, "k": 2, "steps": 20, "warmup": 5, "batch_size": 16
    }  # fmt: skip
    ratios: ClassVar[tuple[Ratio, ...]] = (
        Ratio("crosscoding", "fvu", "squared_error", "variance", low=0.0),
    )
    kinds: ClassVar[Mapping[str, Kind]] = {
        "squared_error": "real",
        "variance": "real",
        "exclusive_share": "share",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "held_out", "exclusive_share", "of the latents active in a text, only post has",
            reader="post", writer="gold", variant=PAIR,
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = "no organism is known to have latents of its own, or to have none"

    bounds: ClassVar[Mapping[str, Bounds]] = {
        "d_sae": Bounds(1, 1e6),
        "steps": Bounds(1, 1e6),
        "batch_size": Bounds(1, 1e6),
        "warmup": Bounds(0, 1e6),
    }

    site: str = "blocks.1.hook_resid_post"
    """A stream with one vector per position."""
    d_sae: int = 512
    """Latents."""
    k: int = 16
    """Active latents per position, on average over a batch."""
    steps: int = 2000
    """Of training."""
    batch_size: int = 512
    """Positions."""
    warmup: int = 300
    """Steps over which the learning rate rises."""
    dead_after: int = 100_000
    """Positions after which a latent that was never active counts as dead in training."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Items alone; the activations are kept no longer than the call."""
        with TemporaryDirectory() as folder:
            return self.examine(readers, task, traces, seed=seed, folder=Path(folder)).items

    def examine(
        self, readers: Readers, task: Task, traces: Traces, *, seed: int, folder: Path
    ) -> Part:
        """Items of held-out texts, the reports on all latents, and the crosscoders as files."""
        del traces  # reads the task's own chains, which both models can be asked about
        if set(readers) != set(MODELS):
            reason = "a crosscoder needs a base and a post model"
            return Part(
                not_applicable(
                    self.name, "held_out", "exclusive_share", readers, task, reason=reason
                )
            )
        pair = ModelPair(readers["base"], readers["post"])
        texts = whole_texts(pair.tokenizer, task)
        settings = CrosscoderSettings(
            self.d_sae, self.k, self.steps, self.batch_size, self.warmup, self.dead_after, seed
        )
        slug = task.name.replace("/", "-")
        try:
            compared = crosscode(
                pair, texts, parse_site(self.site), settings, folder=folder / "activations" / slug
            )
        except NotMeasurableError as error:
            return Part(
                not_applicable(
                    self.name, "held_out", "exclusive_share", readers, task, reason=str(error)
                )
            )
        files = {
            f"{slug}-{variant}.safetensors": partial(_save, crosscoder)
            for variant, crosscoder in compared.crosscoders.items()
        }
        return Part(tuple(self._items(compared, task)), compared.record(), files)

    def _items(self, compared: CrosscoderComparison, task: Task) -> Iterator[Item]:
        for variant, fits in compared.fits.items():
            for fit in fits:
                example = task.examples[fit.text]
                for at, reader in enumerate(MODELS):
                    for metric, value, note in (
                        ("squared_error", fit.squared_error[at], ""),
                        ("variance", fit.variance[at], ""),
                        ("exclusive_share", fit.exclusive_share[at], "no latent is active"),
                    ):
                        yield Item(
                            probe=self.name, task=task.name, example=example.id,
                            problem=example.problem, condition="held_out", metric=metric,
                            value=value, writer="gold", reader=reader, variant=variant,
                            note=note if value != value else "",
                        )  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """Latents of each class, null rate and fit, for each task."""
        lines: list[str] = []
        for task in results.tasks:
            if record := results.records.get(task):
                lines += [f"{task}:"] if len(results.tasks) > 1 else []
                lines += describe_record(record)
        return lines

    def figures(self, results: Results) -> list[Drawing]:
        """Relative decoder norms of pair and controls, a figure for each task."""
        names = {task: f"{self.name}_{task.replace('/', '-')}" for task in results.records}
        if len(names) == 1:
            names = dict.fromkeys(names, self.name)
        return [
            Drawing(names[task], _draw_norms, tuple(read_reports(record).items()))
            for task, record in results.records.items()
            if record
        ]


def _save(crosscoder: Crosscoder, path: Path) -> None:
    save_crosscoder(path, crosscoder)


def _draw_norms(reports: Sequence[tuple[str, LatentReport]]) -> Figure:
    return decoder_norms(dict(reports))


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


def describe_record(record: Mapping[str, Any]) -> list[str]:
    """Latents of each class, null rate and fit, in lines.

    Args:
        record: Of `CrosscoderComparison.record`.
    """
    reports, settings = read_reports(record), record["settings"]
    lines = [
        f"{record['pair']}, {record['site']}: {settings['d_sae']} latents, k = {settings['k']}, "
        f"{reports[PAIR].n_positions} held-out positions",
        f"{'':16}" + "".join(f"{name:>10}" for name in reports),
    ]
    for kind in KINDS:
        counts = "".join(f"{report.count(kind):>10}" for report in reports.values())
        lines.append(f"{kind:16}{counts}")
    for label, read in (
        ("exclusive rate", lambda r: r.exclusive_rate),
        ("duplicates", lambda r: r.n_duplicates),
        ("L0", lambda r: r.l0),
        ("FVU base", lambda r: r.fvu[0]),
        ("FVU post", lambda r: r.fvu[1]),
    ):
        values = "".join(f"{read(report):>10.3g}" for report in reports.values())
        lines.append(f"{label:16}{values}")
    rate, null = reports[PAIR].exclusive_rate, null_rate(reports)
    # Both comparisons are False where a rate is NaN, which means that no latent was judged.
    relation = "above" if rate > null else "not above" if rate <= null else "not comparable with"
    n_seen = reports[PLANT].count(POST_ONLY)
    return [
        *lines,
        f"exclusive latents of the pair: {rate:.1%}, {relation} the nulls' {null:.1%}",
        f"post-only latents of {N_PLANTED} planted directions: {n_seen}",
    ]
