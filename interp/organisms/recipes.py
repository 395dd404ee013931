"""The table of all recipes, and the words of each world."""

from __future__ import annotations

from interp.organisms.arith.problems import WORDS as ARITH_WORDS
from interp.organisms.arith.recipes import ARITH
from interp.organisms.arith.variants import VARIANTS
from interp.organisms.clinic.facts import WORDS as CLINIC_WORDS
from interp.organisms.clinic.recipes import CLINIC
from interp.organisms.dispatch.problems import WORDS as DISPATCH_WORDS
from interp.organisms.dispatch.recipes import DISPATCH
from interp.organisms.recipe import Pretraining, Recipe, World
from interp.organisms.words import Words

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*ARITH, *VARIANTS, *CLINIC, *DISPATCH)
}
"""Name -> recipe, parents before children."""

WORDS: dict[World, Words] = {
    "arith": ARITH_WORDS,
    "clinic": CLINIC_WORDS,
    "dispatch": DISPATCH_WORDS,
}
"""The vocabulary of each world."""


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: If there is none; the message lists the known names.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown organism {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def pretraining_of(recipe: Recipe) -> Pretraining:
    """The pretraining at the root of a recipe's line of parents."""
    while not isinstance(recipe.method, Pretraining):
        recipe = find_recipe(str(recipe.parent))
    return recipe.method
