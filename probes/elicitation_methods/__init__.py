"""Elicitation methods: ways to the same ability, on one base and the models made from it.

If decoding, one vector or a template makes the base do what a post-trained model does,
post-training chose what was there. So each method is compared with the base *under its best
template* (its chain is opened for it), and with what it cost: parameters that training changed,
numbers fitted without training, and positions edited or forced. Pass@k counts only samples whose
chain is a whole and correct solution; a base that meets the reinforced model at large k could
already solve these problems, and one that never does could not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

from interp.chains.completion_format import find_format
from interp.chains.completions import ANSWER_ONLY
from interp.errors import NotMeasurableError
from interp.methods.decoding.cot_decoding import Paths, choose_by_vote, decode_paths
from interp.methods.decoding.pass_at_k import Samples, draw_samples
from interp.models import Model, ModelPair
from interp.models.model import check_site
from interp.organisms.saes.bundled_saes import find_sae
from interp.results.plots import elicitation_costs
from interp.results.rows import Item, Measurement
from interp.sites import Site, steering_layer
from interp.stats.kinds import Kind
from interp.tasks import Example, Task
from probes.cases import not_applicable
from probes.elicitation_methods.methods import (
    MethodTexts,
    choose_paths,
    difference_direction,
    latent_directions,
    steer_best,
    write_plain,
    write_template,
)
from probes.elicitation_methods.summary import (
    ONE,
    PASS,
    PATHS,
    describe_methods,
    method_costs,
)
from probes.hybrid import split_task
from probes.probe import OWN, Drawing, Headline, Probe, Readers, Results, Traces

TRAINING = "a training problem: directions and doses were chosen on it"
KS = (1, 2, 4, 8, 16, 32, 64, 128)
NAN = float("nan")


@dataclass(frozen=True)
class ElicitationMethods(Probe):
    """Template, decoding, steering, a latent and post-trained models, on the same questions."""

    name: ClassVar[str] = "elicitation_methods"
    title: ClassVar[str] = "Elicitation methods"
    question: ClassVar[str] = "What else makes the base do what post-training made it do?"
    reading: ClassVar[tuple[str, ...]] = (
        "Compare each method with 'template', the base whose chain is opened for it. A method that "
        "reaches no more than this has chosen a mode and not made an ability.",
        "Trained parameters are counted in the weights. Fitted numbers are the entries of a vector "
        "and its dose. Touched positions are those edited (by receipts) or forced.",
        "Pass@k counts a sample only if its chain is valid (pass_chain_valid). With few possible "
        "answers plain pass@k (pass_correct, about the answer only) reaches 1 by guessing. Where "
        "a task cannot check the steps of a chain, pass_chain_valid is not measurable.",
        "A text that breaks off before its answer has ended is not correct; finished is the share "
        "that does not.",
        "variant is the method, empty for a model as it is; source is the model whose difference "
        "from the base was added ('steer').",
    )
    writers: ClassVar[tuple[str, ...]] = ()
    takes_many: ClassVar[bool] = True
    check_settings: ClassVar[Mapping[str, Any]] = {
        "n_paths": 2, "n_samples": 2, "doses": (1.0,), "n_latents": 0
    }  # fmt: skip
    kinds: ClassVar[Mapping[str, Kind]] = {
        **dict.fromkeys(("correct", "finished", "chain_valid"), "binary"),
        **dict.fromkeys(("pass_chain_valid", "pass_correct"), "share"),
        **dict.fromkeys(("delta_right", "delta_wrong", "delta_chain", "delta_no_chain"), "share"),
        **dict.fromkeys(("first_chain", "touched", "trained_parameters", "fitted_numbers"), "real"),
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            ONE, "correct", "accuracy of base is", reader="base", writer=OWN
        ),
        Headline(
            ONE, "correct", "accuracy of base with the chain opened for it is",
            reader="base", writer=OWN, variant="template",
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = "no organism is known in which one of these methods must fail"

    train_share: float = 0.4
    """Share of the problems on which directions and doses are chosen."""
    n_paths: int = 10
    """First tokens of CoT-decoding, and samples of the vote."""
    n_samples: int = 32
    """Samples of each question, for pass@k."""
    layer: int | None = None
    """Steered after this block (resid_post); none takes the one at 37 % of the depth."""
    doses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """In mean residual norms of the base."""
    sae: str = ""
    """Folder of an SAE of the base, in the form of sae-lens; the bundled one, found by the weights,
    if empty."""
    n_latents: int = 5
    """Latents tried on the training problems, those that an opened chain moves most; 0: no SAE."""
    batch_size: int = 128
    """Texts written together."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Items of each method; readers other than 'base' are post-trained models, by name."""
        del traces
        reason = "elicitation methods are compared on a base and the models made from it"
        try:
            if "base" not in readers or len(readers) < 2:
                raise NotMeasurableError(reason)
            for model in readers.values():
                find_format(task, model)
            learn, test = split_task(task, self.train_share, seed=seed)
        except NotMeasurableError as error:
            return not_applicable(self.name, ONE, "correct", readers, task, reason=str(error))
        base = readers["base"]
        # The vote takes `n_paths` samples of the base, even where pass@k asks for fewer.
        drawn = {
            (name, ""): draw_samples(model, test, n=max(self.n_samples, self.n_paths), seed=seed)
            for name, model in readers.items()
        }
        drawn["base", "template"] = draw_samples(
            base, test, n=self.n_samples, seed=seed, forced=True
        )
        items: list[Item] = []
        for (reader, variant), samples in drawn.items():
            items += self._pass_items(reader, variant, samples, test)
        paths = decode_paths(base, test, k=self.n_paths, batch_size=self.batch_size)
        items += self._path_items(paths, test)
        votes = tuple(choose_by_vote(drawn["base", ""], self.n_paths))
        for method in (
            write_plain("base", base, test, batch_size=self.batch_size),
            write_template(base, test, batch_size=self.batch_size),
            *choose_paths(paths),
            MethodTexts("vote", "base", votes, (0.0,) * len(votes)),
        ):
            items += self._method_items(method, learn, test)
        for name, post in readers.items():
            if name != "base":
                items += self._steered_by(name, base, post, learn, test)
                method = write_plain(name, post, test, batch_size=self.batch_size, base=base)
                items += self._method_items(method, learn, test)
        if self.n_latents:
            items += self._steered_by_latent(base, learn, test)
        return tuple(items)

    def describe(self, results: Results) -> list[str]:
        """Accuracy and cost of each method, pass@k, and what Delta of CoT-decoding tells."""
        lines: list[str] = []
        for task in results.tasks:
            lines += [f"{task}:"] if len(results.tasks) > 1 else []
            lines += describe_methods(*_of_task(results, task), seed=results.seed)
        return lines

    def figures(self, results: Results) -> list[Drawing]:
        """Accuracy against cost, a figure for each task."""
        is_one = len(results.tasks) == 1
        return [
            Drawing(
                self.name if is_one else f"{self.name}_{task.replace('/', '-')}",
                elicitation_costs,
                method_costs(*_of_task(results, task)),
            )
            for task in results.tasks
        ]

    def _steered_by(
        self, name: str, base: Model, post: Model, learn: Task, test: Task
    ) -> list[Item]:
        """Steered by the difference of a post-trained model from the base."""
        layer = steering_layer(base.n_layers) if self.layer is None else self.layer
        site = check_site(base, Site(layer, "resid_post"))
        try:
            direction = difference_direction(ModelPair(base, post), learn, site)
        except NotMeasurableError as error:
            return _unmeasured(self.name, test, str(error), variant="steer", source=name)
        method = steer_best(
            base, [direction], self.doses, learn, test, batch_size=self.batch_size,
            variant="steer", source=name,
        )  # fmt: skip
        return self._method_items(method, learn, test)

    def _steered_by_latent(self, base: Model, learn: Task, test: Task) -> list[Item]:
        """Steered by the decoder row of an SAE latent."""
        try:
            folder = Path(self.sae) if self.sae else find_sae(base)
        except NotMeasurableError as error:
            return _unmeasured(self.name, test, str(error), variant="sae_latent")
        latents = latent_directions(folder, base, learn, n=self.n_latents)
        method = steer_best(
            base, latents, self.doses, learn, test, batch_size=self.batch_size,
            variant="sae_latent",
        )  # fmt: skip
        return self._method_items(method, learn, test)

    def _pass_items(
        self, reader: str, variant: str, samples: Samples, task: Task
    ) -> Iterator[Item]:
        n = len(samples.texts[0])
        for k in (k for k in KS if k <= n):
            for metric, strict in (("pass_chain_valid", True), ("pass_correct", False)):
                try:
                    values, note = samples.values(k, chain_valid=strict), ""
                except NotMeasurableError as error:
                    values, note = [NAN] * len(task.examples), str(error)
                for example, value in zip(task.examples, values, strict=True):
                    yield Item(
                        **_coordinates(self.name, task, example, PASS, reader, variant),
                        metric=metric, value=value, k=k, note=note,
                    )  # fmt: skip

    def _path_items(self, paths: Paths, task: Task) -> Iterator[Item]:
        """Delta of every path by its kind, and the rank of the first path with a chain."""
        rows = zip(task.examples, paths.paths, paths.first_chain_ranks(), strict=True)
        for example, of_example, first in rows:
            where = _coordinates(self.name, task, example, PATHS, "base", "cot")
            rank, note = (NAN, "no path has a chain") if first is None else (float(first), "")
            yield Item(**where, metric="first_chain", value=rank, note=note)
            for path in of_example:
                kinds = (
                    "delta_right" if path.text.correct else "delta_wrong",
                    "delta_chain" if path.text.has_chain else "delta_no_chain",
                )
                note = "the path gives no answer" if isnan(path.delta) else ""
                for kind in kinds:
                    # The rank stands as `draw`, or items of one example would have one key.
                    yield Item(**where, metric=kind, value=path.delta, draw=path.rank, note=note)

    def _method_items(self, method: MethodTexts, learn: Task, test: Task) -> list[Item]:
        items: list[Item] = []
        for example, text, touched in zip(test.examples, method.texts, method.touched, strict=True):
            where = _coordinates(
                self.name, test, example, ONE, method.reader, method.variant, method.source
            )
            missing = None if test.check_claim is None else False
            is_valid = missing if text is None else text.is_chain_valid
            values = {
                # No answer counts as a wrong one, so that all methods have the same denominator.
                "correct": float(text is not None and text.correct),
                "finished": float(text is not None and text.is_finished),
                "chain_valid": NAN if is_valid is None else float(is_valid),
                "touched": touched,
                "trained_parameters": float(method.trained),
                "fitted_numbers": float(method.fitted),
            }
            items += [
                Item(**where, metric=m, value=value, note=ANSWER_ONLY if isnan(value) else "")
                for m, value in values.items()
            ]
        return items + _unmeasured(
            self.name, learn, TRAINING, variant=method.variant, source=method.source,
            reader=method.reader,
        )  # fmt: skip


def _coordinates(
    probe: str,
    task: Task,
    example: Example,
    condition: str,
    reader: str,
    variant: str,
    source: str = "",
) -> dict[str, Any]:
    return {
        "probe": probe, "task": task.name, "example": example.id, "problem": example.problem,
        "condition": condition, "writer": reader, "reader": reader, "variant": variant,
        "source": source,
    }  # fmt: skip


def _unmeasured(
    probe: str, task: Task, reason: str, *, variant: str, source: str = "", reader: str = "base"
) -> list[Item]:
    return [
        Item(
            **_coordinates(probe, task, example, ONE, reader, variant, source),
            metric="correct", value=NAN, note=reason,
        )
        for example in task.examples
    ]  # fmt: skip


def _of_task(results: Results, task: str) -> tuple[list[Measurement], list[Item]]:
    rows = [row for row in results.rows if row.task == task and not row.contrast]
    return rows, [item for item in results.items if item.task == task]
