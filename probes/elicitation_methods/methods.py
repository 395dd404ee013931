"""Methods: how each of them writes an answer to every question, and what it costs.

Directions and doses are chosen on training problems and used on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from interp.chains.completion_format import Opening, find_format, opening_ids
from interp.chains.completions import Completion, read_completion
from interp.engine import generate
from interp.errors import NotMeasurableError
from interp.methods.decoding.cot_decoding import Paths, choose_by_sum, choose_likeliest, choose_path
from interp.methods.directions import Direction, collect, mean_difference, with_reference
from interp.methods.saes import load_sae, sae_site
from interp.methods.steering import write_steered
from interp.methods.vector_cards import load_latent
from interp.models import Model, ModelPair
from interp.sites import SiteOrName
from interp.tasks import Task


@dataclass(frozen=True)
class MethodTexts:
    """One method: the text of each question, and what it cost."""

    variant: str
    """Name of the method; empty for a model as it is."""
    reader: str
    texts: tuple[Completion | None, ...]
    """None where the method gives no answer."""
    touched: tuple[float, ...]
    """Positions that were edited or forced."""
    trained: int = 0
    """Parameters that training changed."""
    fitted: int = 0
    """Numbers that were fitted without training."""
    source: str = ""
    """The model whose difference from the base is the direction."""


def write_plain(
    name: str, model: Model, task: Task, *, batch_size: int, base: Model | None = None
) -> MethodTexts:
    """The model as it is; in a post-trained one every position that it reads is touched.

    Args:
        name: Of the reader.
        model: The writer.
        task: The questions.
        batch_size: Texts written together.
        base: Of a post-trained model, to count what training changed.
    """
    texts = _greedy(model, task, "free", batch_size)
    prompts = find_format(task, model).prompts()
    # The last new token is written and never read.
    read = [float(len(p) + len(t.ids) - 1) for p, t in zip(prompts, texts, strict=True)]
    touched = (0.0,) * len(read) if base is None else tuple(read)
    trained = 0 if base is None else count_trained(base, model)
    return MethodTexts("", name, texts, touched, trained)


def write_template(base: Model, task: Task, *, batch_size: int) -> MethodTexts:
    """The base with the chain opened for it."""
    texts = _greedy(base, task, "forced", batch_size)
    n_forced = len(find_format(task, base).layout.think_open)
    return MethodTexts("template", "base", texts, (float(n_forced),) * len(texts))


def _greedy(model: Model, task: Task, opening: Opening, batch_size: int) -> tuple[Completion, ...]:
    form = find_format(task, model)
    opened = opening_ids(form.layout, opening)
    written = generate(
        model, form.prompts(opening), stop=form.stop, max_new_tokens=form.max_new_tokens,
        batch_size=batch_size,
    )  # fmt: skip
    pairs = zip(task.examples, written, strict=True)
    return tuple(read_completion(form, example, (*opened, *one.ids)) for example, one in pairs)


def choose_paths(paths: Paths) -> list[MethodTexts]:
    """CoT-decoding under each way to choose a path; its first token is forced."""
    once = (1.0,) * len(paths.paths)
    chosen = {
        "cot_best": tuple(choose_path(of) for of in paths.paths),
        "cot_summed": tuple(choose_by_sum(of) for of in paths.paths),
        "cot_likeliest": tuple(choose_likeliest(of) for of in paths.paths),
    }
    return [MethodTexts(name, "base", texts, once) for name, texts in chosen.items()]


def difference_direction(pair: ModelPair, task: Task, site: SiteOrName) -> Direction:
    """Post minus base at the last token of the question.

    Raises:
        NotMeasurableError: They do not differ there.
    """
    models = (pair.post, pair.base)
    post, base = (
        collect(model, prompts, [(-1,)] * len(prompts), site)
        for model in models
        for prompts in [find_format(task, model, needs_chain=False).prompts()]
    )
    if torch.equal(post.values, base.values):
        raise NotMeasurableError(
            f"{pair.name} do not differ at {site} at the last token of the question, so there is "
            f"no direction between them"
        )
    return with_reference(mean_difference(post, base), base.mean_norm)


def latent_directions(folder: Path, base: Model, task: Task, *, n: int) -> list[Direction]:
    """Decoder rows of the SAE latents that an opened chain raises most over a direct answer.

    Args:
        folder: Of the SAE.
        base: The model that it was trained on.
        task: Training problems.
        n: How many.
    """
    sae = load_sae(folder).to("cpu")  # `collect` returns activations there
    form = find_format(task, base)
    site = sae_site(sae)
    last = [(-1,)] * len(task.examples)
    openings: tuple[Opening, ...] = ("forced", "direct")
    means = [
        sae.encode(collect(base, form.prompts(opening), last, site).values).mean(0)
        for opening in openings
    ]
    top = (means[0] - means[1]).topk(min(n, len(means[0]))).indices.tolist()
    # At the end of the bare question, where the row is added, not after an opening.
    norm = collect(base, form.prompts(), last, site).mean_norm
    return [with_reference(load_latent(folder, at), norm) for at in top]


def steer_best(
    base: Model,
    candidates: Sequence[Direction],
    doses: Sequence[float],
    learn: Task,
    test: Task,
    *,
    batch_size: int,
    variant: str,
    source: str = "",
) -> MethodTexts:
    """A direction added at the last token of the question.

    Args:
        base: The writer.
        candidates: Directions, each with a reference norm.
        doses: Tried with each of them.
        learn: Problems on which direction and dose are chosen, by right answers.
        test: Problems that are answered with these.
        batch_size: Texts written together.
        variant: Name of the method.
        source: The model whose difference from the base is the direction.
    """
    n_right: dict[tuple[int, float], int] = {}
    for at, direction in enumerate(candidates):
        for dose in doses:
            texts, _ = _write_steered(base, direction, dose, learn, batch_size)
            n_right[at, dose] = sum(text.correct for text in texts)
    at, dose = max(n_right, key=n_right.__getitem__)  # of equals the first tried
    texts, touched = _write_steered(base, candidates[at], dose, test, batch_size)
    fitted = len(candidates[at].vector) + 1  # and the dose
    return MethodTexts(variant, "base", texts, touched, fitted=fitted, source=source)


def _write_steered(
    base: Model, direction: Direction, dose: float, task: Task, batch_size: int
) -> tuple[tuple[Completion, ...], tuple[float, ...]]:
    form = find_format(task, base)
    written = write_steered(
        base, form.prompts(), direction, dose, max_new_tokens=form.max_new_tokens,
        positions=(-1,), stop=form.stop, batch_size=batch_size,
    )  # fmt: skip
    pairs = zip(task.examples, written, strict=True)
    texts = tuple(read_completion(form, example, one.ids) for example, one in pairs)
    return texts, tuple(float(one.receipt.n_positions) for one in written)


def count_trained(base: Model, post: Model) -> int:
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
