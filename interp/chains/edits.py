"""Edits of a chain: what faithfulness tests change in it.

Every edit is a pure function from a chain to a chain, so that the unchanged steps keep their very
tokens:

- `truncate`: the first k steps (early answering);
- `add_mistake`: one step states a wrong value, and the later ones follow it or do not;
- `paraphrase`: the first k steps in other words;
- `fill`: the last part of the chain as filler, token for token;
- `shuffle`: the same steps in another order;
- `choose_donors`: which other chain, of about the same length, can take its place.

Where an edit is impossible (nothing to corrupt, nothing to shuffle) the result is None, never the
unchanged chain: an unchanged chain would read as a chain that does not matter. A chain is unchanged
if its token ids are (`is_unchanged`), whatever the texts and borders of its steps: filling the
chain ". . ." with the filler "." changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from random import Random
from typing import Any

from interp.chains.chain import Chain, Step, chain_ids, step_texts
from interp.chains.texts import encode
from interp.tasks import Example, Rewriter

FILLER_MARK = "\N{HORIZONTAL ELLIPSIS}"
"""Text of a step that was replaced by filler tokens."""


def is_unchanged(chain: Chain, edited: Chain) -> bool:
    """Whether a reader sees the same tokens in both."""
    return chain_ids(chain) == chain_ids(edited)


def truncate(chain: Chain, k: int) -> Chain:
    """The first `k` steps.

    Raises:
        ValueError: If there are fewer than `k` steps.
    """
    if not 0 <= k <= len(chain):
        raise ValueError(f"a chain of {len(chain)} steps keeps 0 to {len(chain)}; k={k} was asked")
    return chain[:k]


def rewrite(tokenizer: Any, chain: Chain, texts: Sequence[str]) -> Chain:
    """The chain with these step texts; a step whose text stays the same keeps its tokens."""
    return tuple(
        old if old.text == text else Step(text, encode(tokenizer, text), is_placed=False)
        for old, text in zip(chain, texts, strict=True)
    )


def add_mistake(
    tokenizer: Any,
    rewriter: Rewriter,
    example: Example,
    chain: Chain,
    at: int,
    *,
    propagate: bool,
    rng: Random,
) -> Chain | None:
    """The chain with a wrong value at step `at` (Lanham et al. 2023, without regeneration).

    Args:
        tokenizer: Encodes the changed steps.
        rewriter: The task's.
        example: The example that the chain is about.
        chain: A gold chain, or a model's own.
        at: Which step goes wrong, zero-based.
        propagate: Whether later steps are worked on from the wrong value.
        rng: Chooses the wrong value.

    Returns:
        As many steps; None if step `at` states nothing that could be wrong.
    """
    texts = rewriter.mistake(example, step_texts(chain), at, propagate=propagate, rng=rng)
    if texts is None or texts[at] == chain[at].text:
        return None
    edited = rewrite(tokenizer, chain, texts)
    return None if is_unchanged(chain, edited) else edited


def paraphrase(
    tokenizer: Any, rewriter: Rewriter, example: Example, chain: Chain, k: int, rng: Random
) -> Chain | None:
    """The chain with its first `k` steps in other words; None if none of them can be reworded."""
    texts = list(step_texts(chain))
    for at, step in enumerate(truncate(chain, k)):
        texts[at] = rewriter.paraphrase(example, step.text, rng) or step.text
    edited = rewrite(tokenizer, chain, texts)
    return None if is_unchanged(chain, edited) else edited


def fill(chain: Chain, filler: Sequence[int], *, last: int | None = None) -> Chain | None:
    """The chain with its last steps replaced by as many filler tokens.

    Args:
        chain: Any chain.
        filler: ``LayoutIds.filler``, repeated as often as needed.
        last: How many steps, from the end; all of them by default.

    Returns:
        Steps of the same lengths in tokens (their text only marks the place); None if the chain
        is empty, or if these steps are filler already.

    Raises:
        ValueError: If the chain has fewer steps, `last` is below 1, or there is no filler.
    """
    if not chain:
        return None
    n_filled = len(chain) if last is None else last
    if not 1 <= n_filled <= len(chain) or not filler:
        raise ValueError(
            f"filling replaces 1 to {len(chain)} steps of this chain by filler tokens; received "
            f"last={last} and {len(filler)} filler tokens. Leave last out to fill the whole chain."
        )
    kept = len(chain) - n_filled
    # One supply for all steps, so that a filler of several tokens goes on from step to step.
    supply = cycle(filler)
    filled = (Step(FILLER_MARK, tuple(islice(supply, len(step.ids)))) for step in chain[kept:])
    edited = (*chain[:kept], *filled)
    return None if is_unchanged(chain, edited) else edited


def shuffle(chain: Chain, rng: Random) -> Chain | None:
    """The steps in another order, no step where it was (a random derangement).

    Returns:
        The same steps reordered; None if there are fewer than two, or if the tokens stay the
        same (all steps alike).
    """
    if len(chain) < 2:
        return None
    order = list(range(len(chain)))
    # Rejection keeps all derangements equally likely; about e shuffles are needed.
    while any(at == old for at, old in enumerate(order)):
        rng.shuffle(order)
    edited = tuple(chain[old] for old in order)
    return None if is_unchanged(chain, edited) else edited


def choose_donors(
    chains: Sequence[Chain],
    problems: Sequence[str],
    values: Sequence[frozenset[str]],
    rng: Random,
) -> list[int | None]:
    """For each item, another item whose chain can stand in its place.

    A donor belongs to another problem and shares no value with the item (so that reading the same
    answer again is no coincidence), its chain is not empty and has other tokens, and its number of
    steps is as near as possible; ties are drawn at random.

    Args:
        chains: One per item.
        problems: The problem that each item belongs to.
        values: The answers that each item leads to or is judged by: the writer's, the gold one, the
            result of the last step.
        rng: Decides ties.

    Returns:
        Per item the index of its donor; None where there is none.
    """
    donors: list[int | None] = []
    for item, chain in enumerate(chains):
        distance = {
            other: abs(len(chain_of_other) - len(chain))
            for other, chain_of_other in enumerate(chains)
            if chain_of_other
            and not is_unchanged(chain, chain_of_other)
            and problems[other] != problems[item]
            and values[other].isdisjoint(values[item])
        }
        least = min(distance.values(), default=0)
        nearest = [other for other, steps in distance.items() if steps == least]
        donors.append(rng.choice(nearest) if nearest and chain else None)
    return donors
