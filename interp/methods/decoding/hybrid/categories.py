"""Categories: what kind of token comes next, and the vector that goes with each kind.

The category of a position follows from the text alone, by its place in the layout: *open* (the
first new token: think or answer), *step* (a step of the chain begins, or the chain ends), *inside*
(a step goes on) and *answer* (the chain is closed). The published taxonomy clusters sentences of
the post model; in a world of one kind of sentence that finds the same places with more noise.

The vector of a category is the mean, over the positions of that kind at which the greedy tokens of
the two models differ along the post model's own texts, of post's activation minus base's at the
same position. (Where they never differ at positions of a kind, all positions of that kind are
taken.) It is used at unit norm with one dose unit for all vectors, so that all edits of one dose
are equally long; nothing is optimised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from interp.chains.completion_format import CompletionFormat
from interp.chains.texts import decode, encode
from interp.engine import run
from interp.errors import NotMeasurableError
from interp.methods.directions import (
    Direction,
    collect,
    mean_difference,
    random_directions,
    with_reference,
)
from interp.models import Model, ModelPair
from interp.models.token_ids import find_ids
from interp.sites import SiteOrName
from interp.tasks import Layout

CATEGORIES = ("open", "step", "inside", "answer")
SENTENCE_ENDS = (".", "!", "?", "\n")
"""What ends a step of running text; a decimal point does for one token, which costs little."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the category of each new token, and whether base and post differ there.

    A new token is decided at the position before it; positions here are those.
    """

    rows: tuple[tuple[int, ...], ...]
    n_prompts: tuple[int, ...]
    problems: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    """Of each new token."""
    differs: tuple[tuple[bool, ...], ...]
    """Whether the greedy tokens of base and post differ there."""

    def positions(self, wanted: Callable[[str, bool], bool]) -> list[tuple[int, ...]]:
        """In each row, the positions before the tokens for which `wanted(category, differs)`."""
        return [
            tuple(n - 1 + at for at, label in enumerate(zip(c, d, strict=True)) if wanted(*label))
            for n, c, d in zip(self.n_prompts, self.categories, self.differs, strict=True)
        ]


@dataclass(frozen=True)
class Vectors:
    """The vectors of a pair, all at one site and with one dose unit."""

    category: Mapping[str, Direction]
    """Category -> its vector; without those that never occur."""
    bias: Direction
    """The same over all categories."""
    random: Mapping[str, Direction]
    """Category -> a random direction of the same length."""

    def of(self, kind: str) -> Mapping[str, Direction]:
        """Category -> vector, for 'category', 'bias' or 'random'."""
        if kind == "bias":
            return dict.fromkeys(self.category, self.bias)
        return self.random if kind == "random" else self.category


def find_category(form: CompletionFormat, step_ends: frozenset[int], written: Sequence[int]) -> str:
    """The category of the next token.

    Args:
        form: Of the task.
        step_ends: Tokens that end a step.
        written: New tokens so far.
    """
    layout = form.layout
    if layout.is_running:
        return _category_of_text(layout.text, decode(form.tokenizer, written))
    if not written:
        return "open"
    n_open = len(layout.think_open)
    if tuple(written[:n_open]) != layout.think_open:
        # With fewer tokens than the opening has, it is not known yet whether a chain opens.
        return "answer" if len(written) >= n_open else "open"
    if find_ids(written, layout.think_close, n_open) is not None:
        return "answer"
    return "step" if len(written) == n_open or written[-1] in step_ends else "inside"


def _category_of_text(fixed: Layout[str], text: str) -> str:
    """The same in running text, where a tag may share a token with the line break around it."""
    tag, close = fixed.think_open.strip(), fixed.think_close.strip()
    body = text.lstrip()
    if not body.startswith(tag):
        return "open" if tag.startswith(body) else "answer"
    chain, closed, _ = body.removeprefix(tag).partition(close)
    if closed:
        return "answer"
    return "step" if not chain.strip() or chain.rstrip(" ").endswith(SENTENCE_ENDS) else "inside"


def find_step_ends(form: CompletionFormat) -> frozenset[int]:
    """The tokens that end the exact steps of a task's examples."""
    steps = {step for example in form.task.examples for step in example.steps}
    return frozenset(encode(form.tokenizer, step)[-1] for step in steps)


def label_texts(
    pair: ModelPair,
    form: CompletionFormat,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    problems: Sequence[str],
) -> LabelledTexts:
    """The category of each new token of these texts, and whether the greedy tokens differ there."""
    ends = find_step_ends(form)
    rows = [(*prompt, *text) for prompt, text in zip(prompts, texts, strict=True)]
    greedy = [_greedy(model, rows) for model in (pair.base, pair.post)]
    categories, differs = [], []
    for at, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        categories.append(tuple(find_category(form, ends, text[:n]) for n in range(len(text))))
        where = range(len(prompt) - 1, len(prompt) - 1 + len(text))
        differs.append(tuple(greedy[0][at][n] != greedy[1][at][n] for n in where))
    lengths = tuple(len(prompt) for prompt in prompts)
    return LabelledTexts(tuple(rows), lengths, tuple(problems), tuple(categories), tuple(differs))


def _greedy(model: Model, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    return [logits.argmax(-1).tolist() for logits in run(model, rows).logits]


def find_vectors(pair: ModelPair, texts: LabelledTexts, site: SiteOrName, *, seed: int) -> Vectors:
    """The vector of each category along post's texts, the bias, and random ones of equal length.

    Args:
        pair: The models.
        texts: Along post's texts on training problems.
        site: The stream at which base is steered.
        seed: Of the random directions.

    Raises:
        NotMeasurableError: If the two models do not differ at the site.
    """
    vectors: dict[str, Direction] = {}
    for name in CATEGORIES:
        direction = _difference(pair, texts, site, lambda c, name=name: c == name)
        if direction is not None:
            vectors[name] = direction
    bias = _difference(pair, texts, site, lambda _: True)
    assert bias is not None, "texts have tokens"
    norm = collect(pair.base, texts.rows, texts.positions(lambda *_: True), site).mean_norm
    drawn = random_directions(bias, len(vectors), seed=seed)
    return Vectors(
        {name: with_reference(one, norm) for name, one in vectors.items()},
        with_reference(bias, norm),
        {name: with_reference(one, norm) for name, one in zip(vectors, drawn, strict=True)},
    )


def _difference(
    pair: ModelPair, texts: LabelledTexts, site: SiteOrName, wanted: Callable[[str], bool]
) -> Direction | None:
    """Mean of post minus base where they differ at these positions, else at all of them."""
    differing = texts.positions(lambda c, d: d and wanted(c))
    places = differing if any(differing) else texts.positions(lambda c, _: wanted(c))
    if not any(places):
        return None
    sides = [collect(m, texts.rows, places, site) for m in (pair.post, pair.base)]
    if torch.equal(sides[0].values, sides[1].values):
        raise NotMeasurableError(
            f"{pair.name} do not differ at {site}, so there is no vector between them. Likely the "
            f"two are one model, or what was trained lies in later layers: choose a later site"
        )
    return mean_difference(*sides)
