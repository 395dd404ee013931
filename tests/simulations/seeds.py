"""How often intervals over seeds cover, and how often contrasts of one recipe with itself reject.

`python -m tests.simulations.seeds` writes the table `artifacts/statistics/seeds.md`;
`tests/test_seeds.py` checks a part of it with fewer runs.

A simulated seed draws its own true rate from the distribution over trainings, then problems of its
own, and gets the interval that an audit gives it. The truth is the mean over trainings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from interp.stats.proportion_intervals import Interval, compare_paired_shares, wilson
from interp.stats.seeds import estimate_over_seeds

OUT = Path("artifacts/statistics/seeds.md")
PROBLEMS = 60
ALPHA = 0.05
Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Trainings -> the true rate (or mean) of each, given how many."""


def _share(mean: float, sd: float) -> Draw:
    """A beta distribution of rates with this mean and standard deviation."""
    if not sd:
        return lambda _, n: np.full(n, mean)
    size = mean * (1 - mean) / sd**2 - 1
    return lambda rng, n: rng.beta(mean * size, (1 - mean) * size, n)


def _all_or_nothing(share: float) -> Draw:
    return lambda rng, n: np.where(rng.random(n) < share, 0.98, 0.05)


RATES: dict[str, tuple[Draw, float]] = {
    "rate .50, no spread between trainings": (_share(0.5, 0), 0.5),
    "rate .50, sd .05": (_share(0.5, 0.05), 0.5),
    "rate .50, sd .20": (_share(0.5, 0.2), 0.5),
    "rate .90, sd .05": (_share(0.9, 0.05), 0.9),
    "rate .98, no spread": (_share(0.98, 0), 0.98),
    "rate .98, sd .02": (_share(0.98, 0.02), 0.98),
    "nine of ten trainings succeed": (_all_or_nothing(0.9), 0.9 * 0.98 + 0.1 * 0.05),
    "half of the trainings succeed": (_all_or_nothing(0.5), 0.5 * 0.98 + 0.5 * 0.05),
}
"""What is drawn -> how rates are distributed over trainings, and their mean."""


class Level(NamedTuple):
    """Share of contrasts with p < .05 where two recipes are the same."""

    one_pair: float
    """One checkpoint on each side, problems as the unit: what a single audit says."""
    over_seeds: float


def coverage(rates: Draw, truth: float, n_seeds: int, *, runs: int, seed: int = 0) -> float:
    """Share of the intervals over seeds that contain the mean over trainings."""
    rng = np.random.default_rng(seed)
    right = rng.binomial(PROBLEMS, rates(rng, runs * n_seeds)).reshape(runs, n_seeds)
    over = [
        estimate_over_seeds(
            [count / PROBLEMS for count in study],
            [wilson(count, PROBLEMS) for count in study],
            bounds=Interval(0.0, 1.0),
        )
        for study in right.tolist()
    ]
    return float(np.mean([e.low <= truth <= e.high for e in over]))


def level(rates: Draw, n_seeds: int, *, runs: int, seed: int = 0) -> Level:
    """How often two sides of the same recipe differ, in one pair and over seeds."""
    rng = np.random.default_rng(seed)
    one_pair: list[bool] = []
    over: list[bool] = []
    for _ in range(runs):
        values: list[float] = []
        intervals: list[Interval] = []
        for _ in range(n_seeds):
            base, post = rng.random((2, PROBLEMS)) < rates(rng, 2)[:, None]
            plus, minus = float((post & ~base).mean()), float((base & ~post).mean())
            limits, p = compare_paired_shares(plus, minus, PROBLEMS)
            values.append(plus - minus)
            intervals.append(limits)
            one_pair.append(p < ALPHA)
        found = estimate_over_seeds(values, intervals, bounds=Interval(-1.0, 1.0))
        over.append(found.p < ALPHA)
    return Level(float(np.mean(one_pair)), float(np.mean(over)))


def format_tables(*, runs: int) -> str:
    """Both tables as Markdown."""
    sizes = (3, 5, 10)
    lines = [
        "# Seeds as the unit",
        "",
        "Written by `python -m tests.simulations.seeds`.",
        "",
        f"Intervals over seeds, {runs} simulated studies, {PROBLEMS} problems for each seed.",
        "",
    ]
    lines += ["| trainings | " + " | ".join(f"{n} seeds cover" for n in sizes) + " |"]
    lines += ["| --- " * (1 + len(sizes)) + "|"]
    for name, (rates, truth) in RATES.items():
        shares = [coverage(rates, truth, n, runs=runs) for n in sizes]
        lines.append(f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")
    lines += ["", "Two sides of one recipe: share of contrasts with p < .05.", ""]
    lines += ["| trainings | one pair | " + " | ".join(f"{n} seeds" for n in sizes) + " |"]
    lines += ["| --- " * (2 + len(sizes)) + "|"]
    for name, (rates, _) in RATES.items():
        found = [level(rates, n, runs=runs) for n in sizes]
        numbers = [found[0].one_pair, *(each.over_seeds for each in found)]
        lines.append(f"| {name} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    OUT.write_text(format_tables(runs=2000) + "\n", encoding="utf-8")
