"""What a report may say of the training, and what of single checkpoints."""

from __future__ import annotations

from interp.stats.seeds import MIN_SEEDS


def say_sides(n_pairs: int, *, is_one_base: bool) -> str:
    """Over what a headline speaks: 'over 3 seeds of each side'.

    Args:
        n_pairs: Number of pairs.
        is_one_base: Whether all posts were made from one base checkpoint.
    """
    if is_one_base:
        return f"over {n_pairs} seeds of post-training from one base checkpoint"
    return f"over {n_pairs} seeds of each side"


def say_scope(n_pairs: int, *, is_one_base: bool) -> str:
    """The sentences under the headline that say what the intervals hold for."""
    if n_pairs < MIN_SEEDS:
        return (
            f"{n_pairs} seeds give no interval over seeds ({MIN_SEEDS} or more are needed): the "
            "numbers below are means, and each pair's own report speaks of its two checkpoints "
            "only."
        )
    of_what = "this post-training of this one base checkpoint" if is_one_base else "the training"
    return (
        f"The unit is the seed: intervals and p hold for {of_what}, not only for these "
        "checkpoints. Each pair was measured on problems of its own. What happens in one training "
        f"of ten is absent from {n_pairs} in {0.9**n_pairs:.0%} of studies."
    )
