"""Routes: the ways to one ability, side by side, on one base and the models made from it.

If decoding, one vector or a template makes the base do what a post-trained model does,
post-training chose what was there. So each route is set beside the base *under its best template*
(made to think), with what it cost: parameters that training changed, numbers fitted without
training, and positions edited or forced. Pass@k counts only samples whose chain is a whole and
correct solution; a base that meets the reinforced model at large k could do it before, one that
never does could not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from interp.chains.chain import encode
from interp.chains.completions import Form, Text, form_of, read_text
from interp.engine import generate
from interp.methods.decoding.cot_decoding import (
    Paths,
    best_path,
    decode_paths,
    likeliest,
    summed,
    voted,
)
from interp.methods.decoding.pass_at_k import Samples, draw_samples
from interp.methods.directions import Direction, collect, mean_difference, with_reference
from interp.methods.steering import write_steered
from interp.methods.vector_cards import load_latent
from interp.models import Model, ModelPair
from interp.results.plots import RouteRow
from interp.results.rows import Item
from interp.sites import Site, middle_layer
from interp.stats.auroc import Scored, estimate_pooled, pool
from interp.stats.estimates import Estimate, estimate_all
from interp.stats.estimates import collect as add_up
from interp.tasks import Task
from probes.hybrid import split_task
from probes.probe import Readers, Traces, not_applicable

TRAINING = "a training problem: directions and doses were chosen on it"
KS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class _Way:
    """One route: the text of each example, and what it cost."""

    name: str
    reader: str
    texts: tuple[Text | None, ...]
    touched: tuple[float, ...]
    trained: int = 0
    fitted: int = 0


@dataclass(frozen=True)
class Routes:
    """Template, decoding, steering, a latent and post-trained models, on the same questions."""

    name: ClassVar[str] = "routes"
    title: ClassVar[str] = "Routes to the ability"
    question: ClassVar[str] = "What else makes the base do what post-training made it do?"
    reading: ClassVar[tuple[str, ...]] = (
        "Compare with template, the base made to think: a route that only reaches it has chosen a "
        "mode, not made an ability.",
        "Trained parameters are counted in the weights; a fitted number is an entry of a vector, "
        "or its dose. Touched positions are those edited, by receipts, or forced.",
        "Pass@k under the chain-valid criterion: with few possible answers, plain pass@k saturates "
        "by guessing.",
    )

    train_share: float = 0.4
    n_paths: int = 10
    """First tokens of CoT-decoding, and samples of the vote."""
    n_samples: int = 32
    layer: int | None = None
    """Of the steered stream; None takes the block at 37 % of the depth."""
    doses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    sae: Path | None = None
    """Folder of an SAE of the base, in the form of sae-lens."""
    n_latents: int = 5
    """Latents tried on the training problems, those that a forced chain moves most."""
    batch_size: int = 128

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Items whose writer is the route; readers other than 'base' are post-trained models."""
        del traces
        if "base" not in readers or len(readers) < 2:
            reason = "routes are compared on a base and the models made from it"
            return not_applicable(self.name, "greedy", "correct", reason, readers, task)
        learn, test = split_task(task, self.train_share, seed=seed)
        base = readers["base"]
        drawn = {
            name: draw_samples(model, test, n=max(self.n_samples, self.n_paths), seed=seed)
            for name, model in readers.items()
        }
        drawn["template"] = draw_samples(base, test, n=self.n_samples, seed=seed, forced=True)
        items: list[Item] = []
        for writer, samples in drawn.items():
            items += self._passes(writer, samples, task.name)
        ways = [self._plain("base", base, test), self._template(base, test)]
        paths = decode_paths(base, test, k=self.n_paths, batch_size=self.batch_size)
        items += self._deltas(paths, task.name)
        once, k_times = (1.0,) * len(test.examples), (0.0,) * len(test.examples)
        chosen = {
            "cot_best": tuple(best_path(of) for of in paths.paths),
            "cot_summed": tuple(summed(of) for of in paths.paths),
            "cot_likeliest": tuple(likeliest(of) for of in paths.paths),
        }
        ways += [_Way(name, "base", texts, once) for name, texts in chosen.items()]
        ways.append(_Way("vote", "base", tuple(voted(drawn["base"], self.n_paths)), k_times))
        for name, model in readers.items():
            if name != "base":
                direction = self._direction(ModelPair(base, model), learn)
                if direction is not None:
                    ways.append(self._steered(f"steer[{name}]", base, [direction], learn, test))
                ways.append(self._plain(name, model, test, base=base))
        if self.sae is not None:
            latents = self._latents(base, learn)
            ways.append(self._steered("sae_latent", base, latents, learn, test))
        for way in ways:
            items += self._items(way, learn, test)
        return tuple(items)

    def _site(self, model: Model) -> Site:
        layer = middle_layer(model.n_layers) if self.layer is None else self.layer
        return Site(min(layer, model.n_layers - 1), "resid_post")

    def _plain(self, name: str, model: Model, task: Task, base: Model | None = None) -> _Way:
        """The model as it is; of a post-trained one every position that it reads is touched."""
        form = form_of(task, model.tokenizer)
        texts = _greedy(form, model, (), self.batch_size)
        prompts = form.prompts()
        read = [float(len(p) + len(t.ids) - 1) for p, t in zip(prompts, texts, strict=True)]
        touched = (0.0,) * len(read) if base is None else tuple(read)
        trained = 0 if base is None else trained_parameters(base, model)
        return _Way(name, name, texts, touched, trained)

    def _template(self, base: Model, task: Task) -> _Way:
        form = form_of(task, base.tokenizer)
        opened = form.layout.think_open
        texts = _greedy(form, base, opened, self.batch_size)
        return _Way("template", "base", texts, (float(len(opened)),) * len(texts))

    def _direction(self, pair: ModelPair, learn: Task) -> Direction | None:
        """Post minus base at the last token of the question; None where they do not differ."""
        prompts = [encode(pair.tokenizer, example.question) for example in learn.examples]
        last, site = [(-1,)] * len(prompts), self._site(pair.base)
        post, base = (collect(model, prompts, last, site) for model in (pair.post, pair.base))
        if torch.equal(post.values, base.values):
            return None
        return with_reference(mean_difference(post, base), base.mean_norm)

    def _latents(self, base: Model, learn: Task) -> list[Direction]:
        """Decoder rows of the latents that an opened chain moves most against a direct answer."""
        from sae_lens import SAE

        assert self.sae is not None
        sae: Any = SAE.load_from_disk(str(self.sae), device="cpu")
        form = form_of(learn, base.tokenizer)
        site = load_latent(self.sae, 0).site
        last = [(-1,)] * len(learn.examples)
        means: list[torch.Tensor] = []
        for cue in (form.layout.think_open, form.layout.answer_cue):
            rows = [prompt + cue for prompt in form.prompts()]
            with torch.no_grad():
                means.append(sae.encode(collect(base, rows, last, site).values).mean(0))
        top = (means[0] - means[1]).topk(min(self.n_latents, len(means[0]))).indices.tolist()
        norm = collect(base, form.prompts(), last, site).mean_norm
        return [with_reference(load_latent(self.sae, at), norm) for at in top]

    def _steered(
        self, name: str, base: Model, tried: Sequence[Direction], learn: Task, test: Task
    ) -> _Way:
        """Added at the last token of the question; direction and dose chosen on other problems."""
        right: dict[tuple[int, float], int] = {}
        for at, direction in enumerate(tried):
            for dose in self.doses:
                texts, _ = self._write(base, direction, dose, learn)
                right[at, dose] = sum(text.correct for text in texts)
        at, dose = max(right, key=right.__getitem__)
        texts, touched = self._write(base, tried[at], dose, test)
        return _Way(name, "base", texts, touched, fitted=len(tried[at].vector) + 1)

    def _write(
        self, base: Model, direction: Direction, dose: float, task: Task
    ) -> tuple[tuple[Text, ...], tuple[float, ...]]:
        form = form_of(task, base.tokenizer)
        written = write_steered(
            base, form.prompts(), direction, dose, max_new_tokens=form.max_new_tokens,
            positions=(-1,), stop=form.stop, batch_size=self.batch_size,
        )  # fmt: skip
        texts = [read_text(form, e, w.ids) for e, w in zip(task.examples, written, strict=True)]
        return tuple(texts), tuple(float(one.receipt.n_positions) for one in written)

    def _passes(self, writer: str, samples: Samples, task: str) -> list[Item]:
        reader = "base" if writer == "template" else writer
        n = len(samples.texts[0])
        items: list[Item] = []
        for k in KS:
            if k > n:
                break
            for metric, strict in (("pass_chain_valid", True), ("pass_correct", False)):
                of = zip(
                    samples.examples, samples.problems, samples.values(k, chain_valid=strict),
                    strict=True,
                )  # fmt: skip
                items += [
                    Item(self.name, writer, reader, task, e, p, "pass_at_k", metric, v, step=k)
                    for e, p, v in of
                ]
        return items

    def _deltas(self, paths: Paths, task: str) -> list[Item]:
        """Delta of every path by its kind, and the rank of the first path with a chain."""
        items: list[Item] = []
        rows = zip(paths.examples, paths.problems, paths.paths, paths.first_chain(), strict=True)
        for example, problem, of_example, first in rows:
            where = (self.name, "cot_best", "base", task, example, problem, "paths")
            rank = float("nan") if first is None else float(first)
            none = "no path has a chain"
            items.append(Item(*where, "first_chain", rank, note=none if first is None else ""))
            for path in of_example:
                kinds = (
                    "delta_right" if path.text.correct else "delta_wrong",
                    "delta_chain" if path.text.has_chain else "delta_no_chain",
                )
                note = "the path gives no answer" if isnan(path.delta) else ""
                items += [Item(*where, kind, path.delta, path.rank, note) for kind in kinds]
        return items

    def _items(self, way: _Way, learn: Task, test: Task) -> list[Item]:
        items: list[Item] = []
        for example, text, touched in zip(test.examples, way.texts, way.touched, strict=True):
            values = {
                "correct": float(text is not None and text.correct),
                "chain_valid": float(text is not None and text.is_chain_valid),
                "touched": touched,
                "trained_parameters": float(way.trained),
                "fitted_numbers": float(way.fitted),
            }
            items += [
                Item(
                    self.name, way.name, way.reader, test.name, example.id, example.problem,
                    "greedy", metric, value,
                )
                for metric, value in values.items()
            ]  # fmt: skip
        items += [
            Item(
                self.name, way.name, way.reader, learn.name, e.id, e.problem, "greedy", "correct",
                float("nan"), note=TRAINING,
            )
            for e in learn.examples
        ]  # fmt: skip
        return items


def _greedy(form: Form, model: Model, opened: tuple[int, ...], batch_size: int) -> tuple[Text, ...]:
    """The model's own text of every example, after what was opened for it."""
    written = generate(
        model, [prompt + opened for prompt in form.prompts()], stop=form.stop,
        max_new_tokens=form.max_new_tokens, batch_size=batch_size,
    )  # fmt: skip
    pairs = zip(form.task.examples, written, strict=True)
    return tuple(read_text(form, example, (*opened, *one.ids)) for example, one in pairs)


def trained_parameters(base: Model, post: Model) -> int:
    """Entries of the tensors that differ between two models.

    A tensor that only post has counts unless it is zero, as biases are that were never trained.
    Tensors shared by several modules count once.
    """
    before: dict[str, torch.Tensor] = dict(base.hf.named_parameters())
    n = 0
    for name, weight in post.hf.named_parameters():
        old = before.get(name)
        same = not bool(weight.any()) if old is None else torch.equal(old, weight)
        n += 0 if same else weight.numel()
    return n


def route_rows(items: Sequence[Item], *, seed: int) -> list[RouteRow]:
    """One row for each route, with intervals over problems.

    Args:
        items: Of this probe.
        seed: Of the bootstrap.
    """
    rows: list[RouteRow] = []
    greedy = [i for i in items if i.condition == "greedy" and not isnan(i.value)]
    for name in dict.fromkeys(item.writer for item in greedy):
        mine = [item for item in greedy if item.writer == name]
        means = {m: _mean(mine, m, seed=seed) for m in dict.fromkeys(i.metric for i in mine)}
        accuracy = means["correct"]
        rows.append(
            RouteRow(
                name, accuracy.value, accuracy.low, accuracy.high, means["chain_valid"].value,
                round(means["trained_parameters"].value), round(means["fitted_numbers"].value),
                means["touched"].value, is_post=name != "base" and mine[0].reader == name,
            )
        )  # fmt: skip
    return rows


def _mean(items: Sequence[Item], metric: str, *, seed: int, step: int = -1) -> Estimate:
    chosen = [item for item in items if item.metric == metric and item.step == step]
    values = np.array([item.value for item in chosen])
    return estimate_all([add_up(values, [item.problem for item in chosen])], seed=seed)[0]


def routes_lines(items: Sequence[Item], *, seed: int) -> list[str]:
    """The result in lines to print.

    Args:
        items: Of this probe.
        seed: Of the intervals.
    """
    rows = route_rows(items, seed=seed)
    if not rows:
        return sorted({item.note for item in items if item.note})
    lines = [
        f"{'':24}{'accuracy':>24}{'chain valid':>13}{'trained':>10}{'fitted':>8}{'touched':>9}"
    ]
    for row in rows:
        accuracy = f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}]"
        lines.append(
            f"{row.name:24}{accuracy:>24}{row.chain_valid:>13.3f}{row.trained:>10}{row.fitted:>8}"
            f"{row.touched:>9.1f}"
        )
    for metric in ("pass_chain_valid", "pass_correct"):
        mine = [item for item in items if item.metric == metric]
        ks = sorted({item.step for item in mine})
        lines.append(f"{metric.replace('pass_', 'pass@k, ').replace('_', ' '):24}"
                     + "".join(f"{k:>22}" for k in ks))  # fmt: skip
        for writer in dict.fromkeys(item.writer for item in mine):
            of = [item for item in mine if item.writer == writer]
            found = [_mean(of, metric, seed=seed, step=k) for k in ks]
            cells = [f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in found]
            lines.append(f"  {writer:22}" + "".join(f"{cell:>22}" for cell in cells))
    for what, yes, no in (
        ("the answer is right", "delta_right", "delta_wrong"),
        ("the path has a chain", "delta_chain", "delta_no_chain"),
    ):
        one = delta_auroc(items, yes, no, seed=seed)
        lines.append(
            f"Delta of CoT-decoding, AUROC for '{what}': {one.value:.3f} "
            f"[{one.low:.3f}, {one.high:.3f}]"
        )
    return lines


def delta_auroc(items: Sequence[Item], yes: str, no: str, *, seed: int) -> Estimate:
    """AUROC of Delta for one kind of path against the other, over all paths with an answer."""
    scored = [
        Scored(f"{item.example}/{item.step}", item.problem, item.value, item.metric == yes)
        for item in items
        if item.metric in (yes, no) and not isnan(item.value)
    ]
    return estimate_pooled(pool("auroc", scored), seed=seed)
