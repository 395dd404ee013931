"""SAE features of the mode: does one latent of the base model switch thinking on?

An SAE of the base model is asked for its features of the mode (`interp.methods.saes.features`), and
each is tried as a switch: its decoder row is added once, at the last token of the question, from
which the first new token is predicted (He et al. 2026, arXiv 2601.08058, add a latent at the first
generated token only). Base and post are both asked, with the row of the same latent, at the same
doses; other latents of the same SAE, drawn at random and of the same length, show what any row
does.

Metrics: p_think, the probability that the first new token opens a chain, and accuracy of what is
then written freely. Every feature is named with the class that token injection gave it (Ma et al.
2026, arXiv 2601.05679): a token-driven latent stands for words of the chain, and a switch that
works with it says that the *mode* can be reached, nothing about how a chain is worked out.

Example: "latent 37 (token-driven)" at dose 1 raises p_think from .08 to .60, random latents to .10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from interp.chains.chain import decode, encode, encode_answer, encode_layout
from interp.engine import run
from interp.methods.directions import Direction, Source, collect, make_direction
from interp.methods.saes import (
    ChainText,
    Features,
    Injection,
    find_features,
    load_sae,
    sae_reader,
    sae_site,
)
from interp.methods.steering import steer, write_steered
from interp.methods.steering.readings import read_written
from interp.models import Model
from interp.organisms.saes.bundled import find_sae
from interp.results.rows import Item
from interp.tasks import Example, Task
from probes.probe import Readers, Traces, not_applicable

UNSTEERED, RANDOM = "unsteered", "random latents"
METRICS = ("p_think", "accuracy")
LAST = (-1,)


@dataclass(frozen=True)
class SaeFeatures:
    """Features of the mode as switches, in base and post."""

    name: ClassVar[str] = "sae_features"
    title: ClassVar[str] = "SAE features"
    question: ClassVar[str] = "Does one latent of the base model switch thinking on?"
    reading: ClassVar[tuple[str, ...]] = (
        "p_think: probability that the model opens a chain after the question. accuracy: of what "
        "it then writes. The step is the number of the dose, in the order of the settings.",
        "Compare a latent with the random latents at the same dose: their rows are added at the "
        "same length. In brackets: what token injection says of the latent. Token-driven: the "
        "words of the chain wake it in texts without a chain, more than other words do.",
        "A latent that switches the mode shows that the mode can be reached in this model. It "
        "shows nothing about the skill, which accuracy after the switch does.",
    )

    sae: str = ""
    """Folder of an SAE of the base model; the bundled one, found by the weights, if empty."""
    n_features: int = 4
    n_random: int = 4
    """Random latents, whose mean is reported."""
    doses: tuple[float, ...] = (-1.0, 0.5, 1.0)
    """In mean residual norms at the last token of the questions."""
    n_clean: int = 150
    """Texts, at most, into which tokens are put."""
    batch_size: int = 64

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Both metrics for each example, reader, feature and dose."""
        del traces
        try:
            features, sae = self.find(readers, task, seed=seed)
        except ValueError as error:
            return not_applicable(self.name, UNSTEERED, "p_think", str(error), readers, task)
        items: list[Item] = []
        for reader, model in readers.items():
            for condition, step, values in self._arms(model, task, features, sae):
                items += [
                    Item(
                        self.name, reader, reader, task.name, example.id, example.problem,
                        condition, metric, value[at], step,
                    )
                    for at, example in enumerate(task.examples)
                    for metric, value in values.items()
                ]  # fmt: skip
        return tuple(items)

    def find(self, readers: Readers, task: Task, *, seed: int) -> tuple[Features, Any]:
        """The features of the mode in the base model, and its SAE.

        Raises:
            ValueError: There is no base model, no SAE of it, no chain to open, or too few examples.
        """
        if "base" not in readers:
            raise ValueError("features are those of the base model, and there is none")
        base = readers["base"]
        sae = load_sae(Path(self.sae) if self.sae else find_sae(base)).to(base.device)
        thinking, direct = _texts(base, task)
        special = {
            base.tokenizer.convert_tokens_to_ids(t) for t in base.tokenizer.all_special_tokens
        }
        features = find_features(
            sae_reader(sae, base),
            thinking,
            direct[: self.n_clean],
            n=self.n_features,
            special=special,
            injection=Injection(seed=seed),
        )
        return features, sae

    def _arms(
        self, model: Model, task: Task, features: Features, sae: Any
    ) -> Iterator[tuple[str, int, dict[str, list[float]]]]:
        """Condition, number of the dose and both metrics per example."""
        bench = _Bench.of(model, task, sae, self.batch_size)
        anything = features.others[0] if features.others else 0
        yield UNSTEERED, -1, bench.measure(anything, 0.0)
        for step, dose in enumerate(self.doses):
            for feature in features.found:
                yield (
                    label(feature.latent, feature.falsification.kind),
                    step,
                    bench.measure(feature.latent, dose),
                )
            drawn = [bench.measure(latent, dose) for latent in features.others[: self.n_random]]
            if drawn:
                means = {
                    metric: [fmean(v) for v in zip(*(one[metric] for one in drawn), strict=True)]
                    for metric in METRICS
                }
                yield RANDOM, step, means


@dataclass(frozen=True)
class _Bench:
    """A model and the questions that it is asked under every latent."""

    model: Model
    task: Task
    sae: Any
    prompts: tuple[tuple[int, ...], ...]
    reference_norm: float
    batch_size: int

    @staticmethod
    def of(model: Model, task: Task, sae: Any, batch_size: int) -> _Bench:
        prompts = tuple(encode(model.tokenizer, example.question) for example in task.examples)
        norm = collect(model, prompts, [LAST for _ in prompts], sae_site(sae)).mean_norm
        return _Bench(model, task, sae, prompts, norm, batch_size)

    def measure(self, latent: int, dose: float) -> dict[str, list[float]]:
        """Both metrics per example, with one latent's row added at the last token."""
        direction = self._direction(latent)
        edit = steer(direction, dose, positions=LAST)
        seen = run(self.model, self.prompts, interventions=[edit], logits_at="last").last
        first = seen.double().log_softmax(-1)
        layout = self.task.layout
        ids = encode_layout(self.model.tokenizer, layout)
        eos = self.model.tokenizer.eos_token_id
        extra = len(ids.think_open) + len(ids.think_close) + len(ids.answer_cue)
        written = write_steered(
            self.model,
            self.prompts,
            direction,
            dose,
            max_new_tokens=extra + self.task.max_chain_tokens + self.task.max_answer_tokens + 1,
            positions=LAST,
            stop=() if eos is None else ((int(eos),),),
            batch_size=self.batch_size,
        )
        readings = [
            read_written(self.model.tokenizer, self.task, example, logprobs, one, "free")
            for example, logprobs, one in zip(self.task.examples, first, written, strict=True)
        ]
        return {
            "p_think": [float(one.first[ids.think_open[0]].exp()) for one in readings],
            "accuracy": [float(one.is_correct) for one in readings],
        }

    def _direction(self, latent: int) -> Direction:
        source = Source("sae latent", (self.model.name,), note=f"latent {latent}")
        return make_direction(
            self.sae.W_dec[latent],
            sae_site(self.sae),
            source,
            reference_norm=self.reference_norm,
        )


def label(latent: int, kind: str) -> str:
    """How a feature is named in results: never without its class."""
    return f"latent {latent} ({kind})"


def features_report(readers: Readers, task: Task, probe: SaeFeatures, *, seed: int) -> list[str]:
    """The features of the mode, their classes and what they do as switches, as lines of text.

    Args:
        readers: ``base``, and ``post`` if there is one.
        task: The questions.
        probe: The settings.
        seed: Of injection and random latents.

    Returns:
        One line per feature, then per reader, condition and dose the means of both metrics.

    Raises:
        ValueError: The features cannot be found; the message says why.
    """
    features, _ = probe.find(readers, task, seed=seed)
    tokenizer = readers["base"].tokenizer
    lines = [f"words of the mode: {' '.join(decode(tokenizer, [w]) for w in features.words)}"]
    for one in features.found:
        said = one.falsification
        tokens = " ".join(decode(tokenizer, [token]) for token in said.tokens)
        lines.append(
            f"{label(one.latent, said.kind)}: ReasonScore {one.score:.4f}, d {said.d:.2f} "
            f"({said.way}, p {said.p:.1g}), tokens {tokens}"
        )
    items = probe.run(readers, task, {}, seed=seed)
    for reader in readers:
        for condition, step in dict.fromkeys((item.condition, item.step) for item in items):
            found = {
                metric: fmean(
                    item.value
                    for item in items
                    if (item.reader, item.condition, item.step, item.metric)
                    == (reader, condition, step, metric)
                )
                for metric in METRICS
            }
            dose = 0.0 if step < 0 else probe.doses[step]
            lines.append(
                f"{reader:<5} {condition:<38} dose {dose:+.2f}  p_think {found['p_think']:.3f}  "
                f"accuracy {found['accuracy']:.3f}"
            )
    return lines


def _texts(model: Model, task: Task) -> tuple[list[ChainText], list[tuple[int, ...]]]:
    """Each example with its gold chain, and answered at once.

    Raises:
        ValueError: The layout has no token that opens a chain, or the task is too small.
    """
    ids = encode_layout(model.tokenizer, task.layout)
    if not ids.think_open:
        raise ValueError(
            "the layout has no token that opens a chain, so there is no mode to switch"
        )
    if len(task.examples) < 10:
        raise ValueError(
            f"features need at least 10 examples, and the task has {len(task.examples)}"
        )

    def parts(example: Example) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        question = encode(model.tokenizer, example.question)
        steps: Sequence[int] = [t for s in example.steps for t in encode(model.tokenizer, s)]
        answer = encode_answer(model.tokenizer, task.layout, example.answer)
        chain = (*ids.think_open, *steps, *ids.think_close)
        return question, chain, (*ids.answer_cue, *answer, *ids.answer_end)

    found = [parts(example) for example in task.examples]
    thinking = [ChainText(q + c + a, len(q), len(q) + len(c)) for q, c, a in found if c]
    return thinking, [q + a for q, _, a in found]
