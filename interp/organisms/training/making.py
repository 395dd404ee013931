"""From a recipe to a finished organism: train, store in half precision, measure, write a card.

`train` makes one organism; `train_all` makes many, parents before children, in several processes.
The stored weights are float16, and every figure on the card is measured on the stored weights. A
folder appears under its name only when it is complete.

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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from interp.organisms.acceptance import measure_figures
from interp.organisms.recipe import (
    Pretraining,
    Recipe,
    Reinforcement,
    find_failed_conditions,
    hash_data,
    mix_in_base,
)
from interp.organisms.recipes import RECIPES, WORDS, find_pretraining, find_recipe
from interp.organisms.training.grpo import reinforce
from interp.organisms.training.pretrain import Course, Shape, new_model, pretrain
from interp.organisms.training.sft import fine_tune
from interp.organisms.training.vectors import share_weights, with_vectors
from interp.organisms.zoo import (
    CARD_FILE,
    Card,
    folder_name,
    hash_weights,
    load_organism,
    read_card,
)
from interp.workers import run_jobs

log = logging.getLogger(__name__)

SHAPE = Shape()
STORED_DTYPE = torch.float16
PARENT = "parent_weights_sha256"
"""In `Card.extra`: checksum of the weights from which the training began."""
LIBRARIES = ("torch", "transformers", "trl", "tokenizers")

Job = tuple[str, int]
"""Name and seed of an organism to make."""


def train(recipe: Recipe, seed: int, out: Path) -> Card:
    """Makes one organism.

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
    shutil.rmtree(scratch, ignore_errors=True)  # of a training that was stopped
    model.to(STORED_DTYPE).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    if is_vectors:
        share_weights(scratch, out / folder_name(str(recipe.parent), seed))
    if recipe.parent is not None:
        parent = hash_weights(out / folder_name(recipe.parent, seed))
        course = replace(course, extra={**course.extra, PARENT: parent})
    card = _card(recipe, seed, scratch, course, seconds)
    card.write(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    log.info("%s done in %.0f s; failed: %s", folder.name, seconds, list(card.failed))
    return card


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
        return pretrain(model, method, seed=seed)
    if isinstance(method, Reinforcement):
        return reinforce(model, tokenizer, method, seed=seed)
    draw = mix_in_base(method, find_pretraining(recipe))
    measure = partial(measure_figures, world=recipe.world)
    return fine_tune(model, tokenizer, method, draw, measure, seed=seed)


def describe_method(recipe: Recipe) -> dict[str, Any]:
    """The settings of a recipe's method as a card keeps them."""
    named = {"method": type(recipe.method).__name__, **asdict(recipe.method)}
    return json.loads(json.dumps(named))  # as a card gives it back: tuples are lists


def _card(recipe: Recipe, seed: int, folder: Path, course: Course, seconds: float) -> Card:
    figures = measure_figures(load_organism(folder), recipe.world)
    return Card(
        name=recipe.name,
        seed=seed,
        purpose=recipe.purpose,
        parent=recipe.parent,
        recipe=describe_method(recipe),
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
        failed=find_failed_conditions(recipe, figures),
        weights_sha256=hash_weights(folder),
        data_sha256=hash_data(recipe.method),
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
    """Makes organisms, each as soon as its parent is there, in processes of one thread each.

    Args:
        out: Folder of organisms.
        recipes: Names of recipes, all of them when None. A parent that is not named must already
            be in ``out``.
        seeds: Which seeds; the bundled ones of each recipe when None.
        workers: How many are made at a time.
        keep: Whether a finished organism is left as it is. One that was made of other settings,
            data or a parent with other weights, or whose files are not those of its card, is made
            again, and so are those that are trained from it.

    Yields:
        Each card as soon as its organism is stored.

    Raises:
        ValueError: If a recipe is unknown; the message lists the known ones.
        RuntimeError: If a training fails; the message names its recipe and seed.
    """
    names = [find_recipe(name).name for name in recipes or RECIPES]
    out.mkdir(parents=True, exist_ok=True)
    bundled = {name: find_recipe(name).seeds for name in names}
    every = sorted({seed for of_name in bundled.values() for seed in of_name})
    jobs = [
        (name, seed) for seed in seeds or every for name in names if seeds or seed in bundled[name]
    ]
    if keep:
        jobs = _unfinished(out, jobs)
    for _, card in run_jobs(partial(_work, out), jobs, ["cpu"] * workers, needs=_parent):
        yield card


def _unfinished(out: Path, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are not done, and those whose parent is made again."""
    todo = {job for job in jobs if not is_current(out / folder_name(*job))}
    while more := {job for job in jobs if job not in todo and _parent(job) in todo}:
        todo |= more
    return [job for job in jobs if job in todo]


def is_current(folder: Path) -> bool:
    """Whether an organism is finished and made of what its recipe asks for today."""
    if not (folder / CARD_FILE).is_file():
        return False
    card = read_card(folder)
    recipe = find_recipe(card.name)
    parent = folder.parent / folder_name(str(recipe.parent), card.seed)
    made_from = card.extra.get(PARENT)  # cards from before it was kept have none
    return (
        card.recipe == describe_method(recipe)
        and card.shape == asdict(SHAPE)
        and card.data_sha256 == hash_data(recipe.method)
        and card.weights_sha256 == hash_weights(folder)
        and (made_from is None or not parent.is_dir() or made_from == hash_weights(parent))
    )


def _parent(job: Job) -> Job | None:
    name, seed = job
    parent = find_recipe(name).parent
    return None if parent is None else (parent, seed)


def _work(out: Path, device: str, job: Job) -> Card:
    """One job in a process of its own, without progress bars of other libraries."""
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    del device
    disable_progress_bars()
    disable_progress_bar()
    name, seed = job
    return train(find_recipe(name), seed, out)
