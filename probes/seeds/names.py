"""Which models form the pairs: lists of names, as they are typed.

`base:0,base:1,base:2` is a list of three seeds; so is `runs/a,runs/b,runs/c`. A folder whose own
name holds a comma is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class PairNames(NamedTuple):
    """Names of a base model and of one that was made from it."""

    base: str
    post: str

    def __str__(self) -> str:
        return f"{self.base} -> {self.post}"


def pair_up(base: str, post: str) -> tuple[PairNames, ...]:
    """The pairs that two lists of names form: each post with its base, in the order given.

    Args:
        base: One name or several, joined by commas; one base stands for all posts.
        post: One name or several.

    Returns:
        A pair for each post; a single pair where both are single names.

    Raises:
        ValueError: The lists cannot be paired, or a name stands in a list twice.

    Example:
        >>> [str(pair) for pair in pair_up("base:0,base:1", "grpo:0,grpo:1")]
        ['base:0 -> grpo:0', 'base:1 -> grpo:1']
        >>> [str(pair) for pair in pair_up("base", "grpo:0,grpo:1")]
        ['base -> grpo:0', 'base -> grpo:1']
    """
    bases, posts = _split(base), _split(post)
    if len(bases) not in (1, len(posts)):
        raise ValueError(
            f"seeds are compared in pairs: give as many post models as base models, each at the "
            f"place of the base that it was made from, or one base for all; received "
            f"{len(bases)} and {len(posts)} ({base} and {post}). For example: "
            "posthoc audit base:0,base:1,base:2 grpo:0,grpo:1,grpo:2"
        )
    if len(bases) == 1:
        bases *= len(posts)
    return tuple(map(PairNames, bases, posts))


def name_sides(pairs: Sequence[PairNames]) -> str:
    """All base models and all post models, each once: 'a, b -> c, d'."""
    bases, posts = (", ".join(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
    return f"{bases} -> {posts}"


def _split(names: str) -> list[str]:
    if Path(names).is_dir() or "," not in names:
        return [names]
    parts = [name.strip() for name in names.split(",")]
    if not all(parts):
        raise ValueError(f"a list of models has a name at each place, received {names!r}")
    twice = sorted({name for name in parts if parts.count(name) > 1})
    if twice:
        raise ValueError(
            f"each seed counts once, received {twice[0]!r} twice in {names!r}: the same weights "
            "give the same numbers and no new information. Name another seed"
        )
    return parts
