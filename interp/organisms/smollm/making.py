"""From a recipe to a finished adapter: train, store, measure what is stored, write the card.

A folder appears under its name only when it is complete.

Example::

    for name, seed in (("smollm2-chains", 0), ("smollm2-answers", 0)):
        make_adapter(RECIPES[name], seed, Path("artifacts/smollm"))
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp.models import Model, load_model
from interp.models.smollm2 import FOLDER, GGUF_SHA256, smollm2_path
from interp.organisms.smollm.cards import AdapterCard, Figures, hash_adapter
from interp.organisms.smollm.measuring import Asking, measure_answers, measure_interchange
from interp.organisms.smollm.recipes import LORA_LAYERS, LORA_TARGETS, AdapterRecipe
from interp.organisms.smollm.training import AdapterCourse, train_adapter
from interp.organisms.zoo import folder_name
from interp.tasks import make_task
from interp.tasks.sums import Part

LIBRARIES = ("torch", "transformers", "trl", "peft")
ASKED: tuple[tuple[Part, Asking, int], ...] = (
    ("pool", "bare", 48),
    ("fresh", "bare", 60),
    ("fresh", "task", 60),
)
"""Part, prompt format and number of problems of the accuracies on a card."""
SWAPPED: tuple[tuple[Part, int], ...] = (("pool", 24), ("fresh", 24))
"""Part and number of problems of the interchange."""


def make_adapter(recipe: AdapterRecipe, seed: int, out: Path) -> AdapterCard:
    """Makes one adapter.

    Args:
        recipe: What to train.
        seed: Of the first weights and the order of the problems.
        out: ``<name>-s<seed>`` is written into it, replacing what was there.

    Returns:
        The card.
    """
    base = smollm2_path()
    folder = out / folder_name(recipe.name, seed)
    scratch = out / f".{folder.name}.part"
    shutil.rmtree(scratch, ignore_errors=True)  # of a training that was stopped
    course = train_adapter(recipe, base, scratch, seed=seed)
    card = finish_adapter(recipe, seed, course, scratch, before=measure(load_model(base)))
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return card


def finish_adapter(
    recipe: AdapterRecipe, seed: int, course: AdapterCourse, folder: Path, *, before: Figures
) -> AdapterCard:
    """Measures the adapter in a folder and writes its card.

    Args:
        recipe: What it was trained on.
        seed: Of its training.
        course: Of its training.
        folder: Holds the adapter.
        before: The figures of its base.

    Returns:
        The card.
    """
    base = smollm2_path()
    model = load_model(folder, base=load_model(base))
    card = AdapterCard(
        name=recipe.name,
        seed=seed,
        purpose=recipe.purpose,
        base=FOLDER,
        base_sha256=GGUF_SHA256,
        licence="Apache-2.0",
        recipe=describe_recipe(recipe),
        steps=course.steps,
        tokens=course.tokens,
        seconds=course.seconds,
        device="2 CPU cores, 1 thread",
        dtype="float16",
        versions={name: version(name) for name in LIBRARIES},
        losses=tuple(round(loss, 4) for loss in course.losses),
        before=before,
        after=measure(model),
        interchange={
            f"{part}: {name}": figure
            for part, n in SWAPPED
            for name, figure in measure_interchange(
                model, make_task(f"sums/{part}", n=n, seed=0), "bare"
            ).items()
        },
        weights_sha256=hash_adapter(folder),
    )
    if (base / "LICENSE").is_file():
        shutil.copyfile(base / "LICENSE", folder / "LICENSE")
    card.write(folder)
    return card


def measure(model: Model) -> Figures:
    """The accuracies of a model on the problems of a card."""
    return {
        f"{part}/{asking}: {name}": dict(figure)
        for part, asking, n in ASKED
        for name, figure in measure_answers(
            model, make_task(f"sums/{part}", n=n, seed=0), asking
        ).items()
    }


def describe_recipe(recipe: AdapterRecipe) -> dict[str, Any]:
    """The settings of a recipe as a card keeps them."""
    kept = {"targets": LORA_TARGETS, "layers": f"{LORA_LAYERS[0]} to {LORA_LAYERS[-1]}"}
    settings = {k: v for k, v in asdict(recipe).items() if k not in ("name", "purpose", "seeds")}
    return json.loads(json.dumps({**settings, **kept}))  # as a card gives it back
