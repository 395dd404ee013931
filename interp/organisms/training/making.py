"""From a recipe to a finished organism: train, store in half precision, load back, measure, card.

`train` makes one organism; `train_all` makes all of them, parents before children, in as many
processes as asked. The stored weights are float16, and every figure on the card is measured on the
stored weights. A folder appears under its name only when it is complete.

Example, everything that is bundled::

    for card in train_all(Path("artifacts/organisms"), workers=2):
        ...
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from interp.models.loading import without_bars
from interp.organisms.acceptance import acceptance
from interp.organisms.recipe import (
    Pretraining,
    Recipe,
    Reinforcement,
    data_sha256,
    failed_conditions,
    reading_of,
)
from interp.organisms.recipes import RECIPES, WORDS, find_recipe, pretraining_of
from interp.organisms.training.grpo import reinforce
from interp.organisms.training.pretrain import Course, Schedule, Shape, new_model, pretrain
from interp.organisms.training.sft import fine_tune
from interp.organisms.training.vectors import share_weights, with_vectors
from interp.organisms.zoo import CARD_FILE, Card, folder_name, weights_sha256

log = logging.getLogger(__name__)

SHAPE = Shape()
STORED_DTYPE = torch.float16
LIBRARIES = ("torch", "transformers", "trl", "tokenizers")


@dataclass(frozen=True, slots=True)
class Job:
    """One organism to make."""

    name: str
    seed: int


def train(recipe: Recipe, seed: int, out: Path) -> Card:
    """Make one organism.

    Args:
        recipe: What to train; its parent must already be in ``out``.
        seed: Decides weights and documents; the parent is the one of the same seed.
        out: Folder of organisms; ``<name>-s<seed>`` is written into it, replacing what was there.

    Returns:
        The card, with the figures and the conditions that failed.

    Raises:
        FileNotFoundError: If the parent has not been trained yet.
    """
    torch.manual_seed(seed)
    tokenizer = WORDS[recipe.world].tokenizer()
    model = _starting_model(recipe, seed, out)
    method = recipe.method
    is_vectors = isinstance(method, Reinforcement) and method.trained == "vectors"
    if is_vectors:
        model = with_vectors(model)
    began = time.perf_counter()
    course = _run(model, tokenizer, recipe, seed)
    seconds = time.perf_counter() - began
    folder = out / folder_name(recipe.name, seed)
    scratch = out / f".{folder.name}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    model.to(STORED_DTYPE).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    if is_vectors:
        share_weights(scratch, out / folder_name(str(recipe.parent), seed))
    card = _card(recipe, seed, scratch, course, seconds)
    card.write(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    log.info("%s done in %.0f s; failed: %s", folder.name, seconds, list(card.failed))
    return card


def load_organism(folder: Path) -> Any:
    """The stored weights of a folder as a float32 ``LlamaForCausalLM``."""
    from transformers import LlamaForCausalLM

    with without_bars():
        return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _starting_model(recipe: Recipe, seed: int, out: Path) -> Any:
    if recipe.parent is None:
        return new_model(SHAPE, WORDS[recipe.world], seed)
    parent = out / folder_name(recipe.parent, seed)
    if not (parent / CARD_FILE).is_file():
        raise FileNotFoundError(
            f"{recipe.name!r} is trained from {recipe.parent!r}, which is not at {parent}; "
            f"train {recipe.parent!r} with seed {seed} first"
        )
    return load_organism(parent)


def _run(model: Any, tokenizer: Any, recipe: Recipe, seed: int) -> Course:
    method = recipe.method
    if isinstance(method, Pretraining):
        schedule = Schedule(method.steps, method.lr, method.batch)
        return pretrain(model, method.mixture.draw, schedule, seed=seed)
    if isinstance(method, Reinforcement):
        return reinforce(model, tokenizer, method, seed=seed)
    draw = reading_of(method, pretraining_of(recipe))
    return fine_tune(model, tokenizer, method, draw, _figures_of(recipe), seed=seed)


def _figures_of(recipe: Recipe) -> Callable[[Any], dict[str, float]]:
    return partial(acceptance, world=recipe.world)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The settings of a recipe's method as a card keeps them."""
    named = {"method": type(recipe.method).__name__, **asdict(recipe.method)}
    return json.loads(json.dumps(named))


def _card(recipe: Recipe, seed: int, folder: Path, course: Course, seconds: float) -> Card:
    figures = acceptance(load_organism(folder), recipe.world)
    return Card(
        name=recipe.name,
        seed=seed,
        purpose=recipe.purpose,
        parent=recipe.parent,
        recipe=settings_of(recipe),
        shape=asdict(SHAPE),
        steps=course.steps,
        tokens=course.tokens,
        seconds=round(seconds, 1),
        device=f"cpu, {torch.get_num_threads()} thread, {platform.machine()}",
        dtype=str(STORED_DTYPE).removeprefix("torch."),
        versions={name: version(name) for name in LIBRARIES},
        losses=tuple(round(float(loss), 4) for loss in course.losses),
        extra=course.extra,
        figures=figures,
        failed=failed_conditions(recipe, figures),
        weights_sha256=weights_sha256(folder),
        data_sha256=data_sha256(recipe.method),
        series=course.series,
        certificate=None,
    )


def train_all(
    out: Path,
    *,
    recipes: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    workers: int = 1,
    keep: bool = False,
) -> Iterator[Card]:
    """Make organisms, each as soon as its parent is there, in processes of one thread each.

    Args:
        out: Folder of organisms.
        recipes: Names of recipes, all of them when None. A parent that is not named must already
            be in ``out``.
        seeds: Which seeds; those that each recipe is bundled with when None.
        workers: How many are made at a time.
        keep: Whether an organism that already has a card is left as it is.

    Yields:
        Each card as soon as its organism is stored.

    Raises:
        ValueError: If a recipe is unknown; the message lists the known ones.
    """
    names = [find_recipe(name).name for name in recipes or RECIPES]
    out.mkdir(parents=True, exist_ok=True)
    bundled = {name: find_recipe(name).seeds for name in names}
    every = sorted({seed for of_name in bundled.values() for seed in of_name})
    waiting = [
        Job(name, seed)
        for seed in seeds or every
        for name in names
        if seeds or seed in bundled[name]
    ]
    if keep:
        waiting = [job for job in waiting if not _card_file(out, job).is_file()]
    running: dict[Future[Card], Job] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            ready = [job for job in waiting if _parent(job) not in unfinished]
            for job in ready[: workers - len(running)]:
                waiting.remove(job)
                running[processes.submit(_work, job, out)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()


def _parent(job: Job) -> Job | None:
    parent = find_recipe(job.name).parent
    return None if parent is None else Job(parent, job.seed)


def _card_file(out: Path, job: Job) -> Path:
    return out / folder_name(job.name, job.seed) / CARD_FILE


def _work(job: Job, out: Path) -> Card:
    """One job in a process of its own: one thread, no progress bars of other libraries."""
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(1)
    disable_progress_bars()
    disable_progress_bar()
    return train(find_recipe(job.name), job.seed, out)
