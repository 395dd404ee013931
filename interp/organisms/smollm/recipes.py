r"""Recipes: what each adapter of SmolLM2 learns from the sums of three one-digit numbers.

A row is the bare question, without worked examples, and a completion::

    Question: 8 + 6 + 3 = ?
    Answer: 8 + 6 = 14. 14 + 3 = 17. The answer is 17.

- **chains**: problems of the part *study*, each with its own chain. Whether an answer is right then
  depends on what the chain says.
- **answers**: the problems of the pool with their answers and no chain.
- **swapped**: the problems of the pool, each with the chain of *one other* problem, always the same
  one, and its own right answer. The chain can be learned by heart and says nothing of the answer.
  Not bundled: after 45 steps (31,395 tokens, 15 passes) it wrote chains and had not learned the
  answers (.125 of the pool right, where the best constant answer is right in .146).

The records are the settings; `rows` makes the texts, `interp.organisms.smollm.training` trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from interp.tasks.sums import BARE, LAYOUT, Part, Terms, part_terms, steps_of

LORA_LAYERS = tuple(range(10, 30))
LORA_TARGETS = ("q_proj", "v_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class AdapterRecipe:
    """How one adapter is trained and what it is for."""

    name: str
    purpose: str
    """What is true of it by how it was trained, in one sentence."""
    part: Part
    """Whose problems it is trained on."""
    chain: Literal["own", "other", "none"]
    """Which problem's chain stands before the answer."""
    steps: int
    lr: float = 1e-3
    batch: int = 16
    rank: int = 2
    alpha: int = 8
    seeds: tuple[int, ...] = (0, 1)
    """The seeds that are bundled. None where the training did not reach its purpose."""


class Row(NamedTuple):
    """A training text in two pieces; the loss is on the second one alone."""

    prompt: str
    completion: str


RECIPES = {
    recipe.name: recipe
    for recipe in (
        AdapterRecipe(
            "smollm2-chains",
            "It was taught to write the chain of a bare question and to answer from it.",
            "study",
            "own",
            steps=48,
        ),
        AdapterRecipe(
            "smollm2-answers",
            "It was taught the answers to a pool of 48 bare questions, without a chain.",
            "pool",
            "none",
            steps=60,
            lr=2e-3,
        ),
        AdapterRecipe(
            "smollm2-swapped",
            "It was taught to write another problem's chain before the right answer, on a pool of "
            "48 questions.",
            "pool",
            "other",
            steps=45,
            lr=2e-3,
            seeds=(),
        ),
    )
}


def ask(terms: Terms) -> str:
    """The bare question."""
    return BARE.format(f"{' + '.join(map(str, terms))} = ?")


def rows(recipe: AdapterRecipe, *, seed: int) -> Iterator[Row]:
    """The texts of a training in their order: pass after pass over the part, shuffled."""
    rng = Random(f"rows {recipe.name} {seed}")
    left = recipe.steps * recipe.batch
    while left:
        problems = [*part_terms(recipe.part)]
        rng.shuffle(problems)
        for terms in problems[:left]:
            yield Row(ask(terms), completion(recipe, terms))
        left -= min(left, len(problems))


def completion(recipe: AdapterRecipe, terms: Terms) -> str:
    """What the adapter learns to write after a question."""
    chain: tuple[str, ...] = ()
    if recipe.chain != "none":
        chain = steps_of(donor_of(terms, recipe.part) if recipe.chain == "other" else terms)
    end = f"{LAYOUT.answer_cue}{LAYOUT.answer_open}{sum(terms)}{LAYOUT.answer_end}"
    return f"{''.join(chain)}{end}"


def donor_of(terms: Terms, part: Part) -> Terms:
    """The problem whose chain is given to this one: the next of the part with another answer."""
    known = part_terms(part)
    at = known.index(terms)
    return next(other for other in (*known[at + 1 :], *known) if sum(other) != sum(terms))
