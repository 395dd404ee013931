"""The texts on which bundled SAEs are trained and measured.

They are drawn from the recipe of the organism's pretraining, at all stages of it, since chains are
rare at its end. Held-out texts must not share a question with the training texts of the SAE, so one
that does is replaced by a text of the same kind with another question. Texts without a question
(facts, words to copy) are not replaced: a world has few of them, and no result rests on them.

Example: "Q 3 + 4 ? <think> 3 + 4 = 7 ; </think> A 7" is replaced if "Q 3 + 4 ? A 7" was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.organisms.documents import Document
from interp.organisms.recipe import Mixture, Pretraining
from interp.organisms.recipes import RECIPES, WORDS
from interp.organisms.words import ANSWER, QUESTION, THINK

MAX_TRIES = 20_000
"""Draws, at most, to replace one text."""


def draw_documents(name: str, n: int, *, seed: int) -> list[Document]:
    """Texts of the pretraining of an organism, from all its stages.

    Raises:
        ValueError: If the recipe is unknown or has no pretraining.
    """
    rng, mixture = Random(f"texts of an SAE {seed}"), _mixture(name)
    return [mixture.draw(rng, rng.random()) for _ in range(n)]


def draw_unseen(name: str, n: int, *, seed: int, trained: Sequence[Document]) -> list[Document]:
    """As `draw_documents`, but none asks a question of the trained texts.

    Args:
        name: Recipe of the organism.
        n: How many.
        seed: Of the draw.
        trained: Texts whose questions are left out.

    Raises:
        ValueError: If the trained texts ask all questions of some kind.
    """
    ids, mixture = WORDS[RECIPES[name].world].ids, _mixture(name)
    seen = {cut_question(document.ids, ids) for document in trained}
    rng = Random(f"replaced texts of an SAE {seed}")

    def unseen(document: Document) -> Document:
        kind = _kind(document, ids)
        for _ in range(MAX_TRIES):
            if _kind(document, ids) == kind and not _is_among(document, seen, ids):
                return document
            document = mixture.draw(rng, rng.random())
        raise ValueError(
            f"held-out texts ask other questions than the training texts, and {MAX_TRIES} draws "
            f"from {name!r} gave only questions of its {len(trained)} training texts. Train on "
            f"fewer documents"
        )

    return [unseen(document) for document in draw_documents(name, n, seed=seed)]


def cut_question(row: Sequence[int], ids: Mapping[str, int]) -> tuple[int, ...]:
    """A text up to where its chain or its answer starts; all of it if it has neither."""
    ends = {ids[THINK], ids[ANSWER]}
    return tuple(row[: next((at for at, t in enumerate(row) if t in ends), len(row))])


def split_in_half(rows: Sequence[Sequence[int]], ids: Mapping[str, int]) -> Bool[Tensor, " pos"]:
    """Positions of one half of the problems; texts with the same question are on one side."""
    # Seeded by the question alone, so that a question is on the same side in every set.
    sides = [Random(str([*cut_question(row, ids)])).random() < 0.5 for row in rows]
    return torch.cat([torch.full((len(row),), side) for row, side in zip(rows, sides, strict=True)])


def _is_among(
    document: Document, seen: Collection[tuple[int, ...]], ids: Mapping[str, int]
) -> bool:
    return ids[QUESTION] in document.ids and cut_question(document.ids, ids) in seen


def _kind(document: Document, ids: Mapping[str, int]) -> tuple[bool, bool]:
    """Whether it asks, and whether it has a chain."""
    return ids[QUESTION] in document.ids, ids[THINK] in document.ids


def _mixture(name: str) -> Mixture:
    recipe = RECIPES.get(name)
    if recipe is None or not isinstance(recipe.method, Pretraining):
        known = [r.name for r in RECIPES.values() if isinstance(r.method, Pretraining)]
        raise ValueError(
            f"texts are drawn from the pretraining of an organism, and {name!r} has none. Known: "
            f"{', '.join(known)}"
        )
    return recipe.method.mixture
