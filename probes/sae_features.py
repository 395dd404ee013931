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
works with it says that the *mode* can be reached, nothing about how a chain is worked out. The
variant of a row is this name, and its reader the steered model, which writes for itself.

Example: "latent 37 (token-driven)" at dose 1 raises p_think from .08 to .60, random latents to .10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from interp.chains.chain import encode_answer, encode_chain, encode_question
from interp.chains.completion_format import CompletionFormat, find_format
from interp.chains.completions import read_completion
from interp.chains.rendering import lay_out
from interp.chains.texts import Ids, decode, token_starts
from interp.chains.trace_forms import begin_chain
from interp.engine import run
from interp.errors import NotMeasurableError
from interp.methods.directions import Source, collect, make_direction
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
from interp.models import Model
from interp.organisms.saes.bundled_saes import find_sae, hash_sae
from interp.results.plots import curve
from interp.results.rows import Item, Measurement
from interp.results.run_folder import Part
from interp.stats.kinds import Kind
from interp.tasks import Example, Task
from probes.cases import not_applicable
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces

FREE = "free"
"""Condition of all rows: nothing opens a chain for the model."""
UNSTEERED, RANDOM = "unsteered", "random latents"
METRICS = ("p_think", "accuracy")
LAST = (-1,)
MIN_EXAMPLES = 10


@dataclass(frozen=True)
class SaeFeatures(Probe):
    """Features of the mode as switches, in base and post."""

    name: ClassVar[str] = "sae_features"
    title: ClassVar[str] = "SAE features"
    question: ClassVar[str] = "Does one latent of the base model switch thinking on?"
    reading: ClassVar[tuple[str, ...]] = (
        "p_think: probability that the model opens a chain after the question. accuracy: of what "
        "it then writes. The dose is in mean residual norms at the last question token.",
        "Compare a latent with the random latents at the same dose: their decoder rows are added "
        "at the same length. The class in brackets comes from token injection. Token-driven: the "
        "words of chains, inserted into texts without a chain, activate the latent more than "
        "other words do.",
        "A latent that switches the mode shows that the mode can be reached in this model. It "
        "shows nothing about the skill; accuracy after the switch does.",
    )
    n: ClassVar[int] = 60
    writers: ClassVar[tuple[str, ...]] = ()
    # Both are means over random latents, too.
    kinds: ClassVar[Mapping[str, Kind]] = dict.fromkeys(METRICS, "share")
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            FREE, "p_think", "probability of opening a chain without steering:", variant=UNSTEERED
        ),
    )
    no_truth: ClassVar[str] = "no organism is known to have one latent that switches its mode"

    sae: str = ""
    """Folder of an SAE of the base model; the bundled one, found by the weights, if empty."""
    n_features: int = 4
    """Latents that are tried, those of the highest ReasonScore."""
    n_random: int = 4
    """Random latents, whose mean is reported."""
    doses: tuple[float, ...] = (-1.0, 0.5, 1.0)
    """In mean residual norms at the last token of the questions."""
    n_clean: int = 150
    """Texts, at most, into which tokens are put."""
    batch_size: int = 64
    """Texts in a forward pass."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Both metrics for each example, reader, feature and dose."""
        return self.examine(readers, task, traces, seed=seed, folder=Path()).items

    def examine(
        self, readers: Readers, task: Task, traces: Traces, *, seed: int, folder: Path
    ) -> Part:
        """As `run`; the record has the words of the mode, and each feature with its class."""
        del traces, folder
        try:
            features, sae = self.find(readers, task, seed=seed)
        except NotMeasurableError as error:
            reason = str(error)
            missing = not_applicable(self.name, FREE, "p_think", readers, task, reason=reason)
            # Keyed as measured items are: without a writer, and with a variant.
            return Part(tuple(replace(item, writer="", variant=UNSTEERED) for item in missing))
        items = [
            Item(
                probe=self.name, task=task.name, example=example.id, problem=example.problem,
                condition=FREE, metric=metric, value=values[at], reader=reader, variant=variant,
                dose=dose,
            )
            for reader, model in readers.items()
            for variant, dose, metrics in self._arms(model, task, features, sae)
            for at, example in enumerate(task.examples)
            for metric, values in metrics.items()
        ]  # fmt: skip
        return Part(tuple(items), _record(features, readers["base"].tokenizer))

    def find(self, readers: Readers, task: Task, *, seed: int) -> tuple[Features, Any]:
        """The features of the mode in the base model, and its SAE.

        Raises:
            NotMeasurableError: There is no base model, no bundled SAE of it, no chain to open, or
                there are too few examples.
        """
        if "base" not in readers:
            raise NotMeasurableError("features are those of the base model, and there is none")
        base = readers["base"]
        forms = {name: find_format(task, model) for name, model in readers.items()}
        sae = load_sae(Path(self.sae) if self.sae else find_sae(base)).to(base.device)
        thinking, direct = _texts(forms["base"])
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
    ) -> Iterator[tuple[str, float | None, dict[str, list[float]]]]:
        """Variant, dose and both metrics per example."""
        form = find_format(task, model)
        prompts = form.prompts()
        norm = collect(model, prompts, [LAST] * len(prompts), sae_site(sae)).mean_norm

        def switch(latent: int, dose: float) -> dict[str, list[float]]:
            return self._switch(model, form, sae, norm, latent, dose)

        anything = features.others[0] if features.others else 0  # at dose 0 any latent will do
        yield UNSTEERED, None, switch(anything, 0.0)
        for dose in self.doses:
            for feature in features.found:
                variant = label(feature.latent, feature.falsification.kind)
                yield variant, dose, switch(feature.latent, dose)
            drawn = [switch(latent, dose) for latent in features.others[: self.n_random]]
            if drawn:
                means = {
                    metric: [fmean(v) for v in zip(*(one[metric] for one in drawn), strict=True)]
                    for metric in METRICS
                }
                yield RANDOM, dose, means

    def _switch(
        self,
        model: Model,
        form: CompletionFormat,
        sae: Any,
        reference_norm: float,
        latent: int,
        dose: float,
    ) -> dict[str, list[float]]:
        """Both metrics per example, with one latent's row added at the last question token."""
        source = Source("sae latent", (model.name,), note=f"latent {latent}")
        row = sae.W_dec[latent]
        direction = make_direction(row, sae_site(sae), source, reference_norm=reference_norm)
        edit = steer(direction, dose, positions=LAST)
        prompts = form.prompts()
        last = run(model, prompts, interventions=[edit], logits_at="last").last
        p_think = last.double().log_softmax(-1)[:, form.layout.think_open[0]].exp()
        written = write_steered(
            model,
            prompts,
            direction,
            dose,
            max_new_tokens=form.max_new_tokens,
            positions=LAST,
            stop=form.stop,
            batch_size=self.batch_size,
        )
        right = [
            float(read_completion(form, example, one.ids).correct)
            for example, one in zip(form.task.examples, written, strict=True)
        ]
        return {"p_think": p_think.tolist(), "accuracy": right}

    def hash_inputs(self, readers: Readers) -> Mapping[str, str]:
        """Of the SAE, if there is one."""
        return hash_sae(self.sae, readers["base"]) if "base" in readers else {}

    def figures(self, results: Results) -> list[Drawing]:
        """P(think) against the dose, a figure for each reader."""
        variants = {row.variant for row in results.rows}
        names = {variant: variant.removeprefix("latent ") for variant in sorted(variants)}
        options = {"by": "variant", "x": "dose", "xlabel": "dose (mean residual norms)"}
        return [
            Drawing(
                f"sae_features_{reader}", curve, _through_zero(results, reader),
                {**options, "ylabel": f"P(think) of {reader}", "names": names},
            )
            for reader in ("base", "post")
        ]  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """The features with their classes, and both metrics of each as a switch."""
        lines: list[str] = []
        for task, record in results.records.items():
            lines.append(f"{task}: words of the mode: {' '.join(record['words'])}")
            lines += [
                f"{one['label']}: ReasonScore {one['score']:.4f}, d {one['d']:.2f} "
                f"({one['way']}, p {one['p']:.1g}), tokens {' '.join(one['tokens'])}"
                for one in record["features"]
            ]
        rows = {
            (row.task, row.reader, row.dose, row.variant, row.metric): row
            for row in results.rows
            if not row.contrast
        }
        means = [row for row in rows.values() if row.metric == "p_think"]
        # The unsteered model first, then dose by dose; the sort keeps the order of the variants.
        means.sort(key=lambda row: (row.task, row.reader, row.dose is not None, row.dose or 0.0))
        for row in means:
            accuracy = rows.get((row.task, row.reader, row.dose, row.variant, "accuracy"))
            right = f"  accuracy {accuracy.describe(3)}" if accuracy else ""
            lines.append(
                f"{row.task}: {row.reader:<5} {row.variant:<38} dose {row.dose or 0.0:+.2f}  "
                f"p_think {row.describe(3)}{right}"
            )
        return lines


def label(latent: int, kind: str) -> str:
    """How a feature is named in results: never without its class."""
    return f"latent {latent} ({kind})"


def _record(features: Features, tokenizer: Any) -> dict[str, Any]:
    """What items do not hold of the features, as plain data."""

    def words(tokens: Sequence[int]) -> list[str]:
        return [decode(tokenizer, [token]) for token in tokens]

    return {
        "words": words(features.words),
        "features": [
            {
                **asdict(one.falsification),
                "label": label(one.latent, one.falsification.kind),
                "score": one.score,
                "tokens": words(one.falsification.tokens),
            }
            for one in features.found
        ],
    }


def _through_zero(results: Results, reader: str) -> list[Measurement]:
    """P(think) of one reader under each variant; at dose 0 they all are the unsteered model."""
    rows = [
        row
        for row in results.rows
        if (row.metric, row.reader, row.contrast) == ("p_think", reader, "")
    ]
    steered = [row for row in rows if row.dose is not None]
    variants = dict.fromkeys((row.task, row.variant) for row in steered)
    return steered + [
        replace(row, variant=variant, dose=0.0)
        for row in rows
        if row.dose is None
        for task, variant in variants
        if task == row.task
    ]


def _texts(form: CompletionFormat) -> tuple[list[ChainText], list[tuple[int, ...]]]:
    """Each example with its gold chain, and answered at once.

    Raises:
        NotMeasurableError: The task is too small.
    """
    examples = form.task.examples
    if len(examples) < MIN_EXAMPLES:
        raise NotMeasurableError(
            f"features need at least {MIN_EXAMPLES} examples, and the task has {len(examples)}"
        )
    texts = [_parts(form, example) for example in examples]
    thinking = [ChainText(q + c + a, len(q), len(q) + len(c)) for q, c, a in texts]
    return thinking, [q + a for q, _, a in texts]


def _parts(form: CompletionFormat, example: Example) -> tuple[Ids, Ids, Ids]:
    """Question, chain with its tags, and answer with its cue, in the tokens of the whole text."""
    layout, tokenizer = form.layout, form.tokenizer
    question = encode_question(tokenizer, form.task, example)
    steps = example.steps
    if steps and layout.is_running:
        steps = (begin_chain(form.task, example, steps[0]), *steps[1:])
    chain = encode_chain(tokenizer, form.task.layout, question, steps)
    laid = lay_out(question, chain, layout)
    n_cue = len(layout.answer_cue)
    if layout.is_running:  # a tag may share a token with the line break before it
        cue = laid.ids[laid.cue.start :]
        closed = len(decode(tokenizer, cue)) - len(layout.text.answer_cue)
        n_cue = sum(start >= closed for start in token_starts(tokenizer, cue))
    answer = encode_answer(tokenizer, form.task.layout, example.answer)
    end = len(laid.ids) - n_cue
    return question, laid.ids[len(question) : end], laid.ids[end:] + answer + layout.answer_end
