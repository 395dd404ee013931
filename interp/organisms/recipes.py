"""The table of all recipes: their worlds, the seeds that are bundled, and those that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from interp.organisms.recipe import Pretraining, Recipe, World
from interp.organisms.words import Words
from interp.organisms.worlds.arith.problems import WORDS as ARITH_WORDS
from interp.organisms.worlds.arith.recipes import ARITH
from interp.organisms.worlds.clinic.facts import WORDS as CLINIC_WORDS
from interp.organisms.worlds.clinic.recipes import CLINIC
from interp.organisms.worlds.dispatch.problems import WORDS as DISPATCH_WORDS
from interp.organisms.worlds.dispatch.recipes import DISPATCH

BUNDLED: Mapping[str, tuple[int, ...]] = {
    "base": (0, 1, 2, 3, 4),
    "base-no-chains": (0, 1, 2, 3, 4),
    "base-steps": (0,),
    "swapped-sft-pool": (0, 1, 3),
    "swapped-25": (1, 2),
    "swapped-50": (1, 2),
    "swapped-75": (1, 2),
    "chain-sft-fresh": (0, 1, 2, 3),
    "hint": (1, 2, 3),
    "filler": (0,),
    "sft-fixed": (1, 2),
    "sft-varied": (1, 2),
    "noisy-20-05": (2, 4),
    "noisy-20-20": (3, 4),
    "noisy-05-20": (4, 5),
    "grpo-vectors": (0, 1, 3),
    "grpo-vectors-no-chains": (0, 1, 2, 3, 4),
    "chain-sft-no-chains": (1, 2, 3, 4),
    "clinic-base": (0, 1, 2, 3),
    "clinic-grpo": (0, 1, 3),
    "clinic-decorative": (1, 2),
    "clinic-decorative-50": (1, 2),
    "clinic-base-no-chains": (1, 2),
    "dispatch-decorative": (1, 2),
    "dispatch-decorative-50": (1,),
    "dispatch-base-no-chains": (1, 2),
}
"""The seeds that are bundled, where they are not 0, 1 and 2.

Each weighs more than a megabyte. Left out are seeds that no verdict uses: some on which settings
were chosen, and some of organisms by which no probe is judged.
"""

WITHHELD: Mapping[str, Mapping[int, str]] = {
    "swapped-sft-pool": {
        2: "certification: with another problem's activations at the chain the answer stays in .66 "
        "of the pairs (bar .80); its text is not read, but the answer is worked out on its tokens"
    },
    "noisy-20-05": {
        1: "acceptance: reliance .99, ideal .83: it never learned to doubt a step",
        3: "acceptance: reliance .956, ideal .83, tolerance .10",
    },
    "noisy-20-20": {
        1: "acceptance: reliance .604, ideal .50, tolerance .10",
        2: "certification: reliance .76 in the interchange, ideal .50, tolerance .15",
    },
    "noisy-05-20": {
        1: "certification: reliance .32 in the interchange, ideal .17, tolerance .15",
        2: "certification: reliance .55 in the interchange, ideal .17, tolerance .15",
        3: "certification: reliance .49 in the interchange, ideal .17, tolerance .15",
    },
    "grpo-vectors": {
        2: "acceptance: opens a chain in .44 of the texts (bar .50), still rising",
        4: "acceptance: opens a chain in .46 of the texts (bar .50)",
    },
    "dispatch-decorative-50": {
        seed: "certification: in .77 of the pairs the answer is the problem's own or the donor's "
        "(bar .80)"
        for seed in (0, 2)
    },
    "clinic-grpo": {2: "acceptance: .065 of the domain facts learned from lucky guesses (bar .05)"},
}
"""Seeds that were trained but are not bundled, each with the criterion that it failed."""

RECIPES: dict[str, Recipe] = {
    recipe.name: replace(
        recipe,
        seeds=BUNDLED.get(recipe.name, recipe.seeds),
        withheld=WITHHELD.get(recipe.name, {}),
    )
    for recipe in (*ARITH, *CLINIC, *DISPATCH)
}
"""Name -> recipe, parents before children."""

WORDS: dict[World, Words] = {
    "arith": ARITH_WORDS,
    "clinic": CLINIC_WORDS,
    "dispatch": DISPATCH_WORDS,
}
"""The vocabulary of each world."""


def format_withheld() -> str:
    """The seeds that failed and are not bundled, as a Markdown list."""
    return "\n".join(
        f"- `{recipe.name}:{seed}`: {why}"
        for recipe in RECIPES.values()
        for seed, why in recipe.withheld.items()
    )


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: If there is none; the message lists the known names.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown organism {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def find_pretraining(recipe: Recipe) -> Pretraining:
    """The pretraining of a recipe's first ancestor."""
    while not isinstance(recipe.method, Pretraining):
        recipe = find_recipe(str(recipe.parent))
    return recipe.method
