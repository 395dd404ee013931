"""Shapes of items with a known mean, median or ratio, to try intervals on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from interp.stats.kinds import Kind

Rng = np.random.Generator
Values = np.ndarray


class Drawn(NamedTuple):
    """Many samples, added up per problem: [problem, sample]."""

    sums: Values
    counts: Values


@dataclass(frozen=True)
class Shape:
    """A distribution of items, and what is true of it."""

    kind: Kind
    name: str
    draw: Callable[[Rng, tuple[int, int]], Values | Drawn]
    """Generator and (problems, samples) -> one item of each problem, or sums."""
    truth: float
    """The mean; of the kind 'skewed', the median."""
    mean: float | None = None
    """Where the truth is a median: the mean, which the plain bootstrap is about."""

    def sample(self, rng: Rng, n: int, n_samples: int) -> Drawn:
        """Samples of n problems."""
        drawn = self.draw(rng, (n, n_samples))
        return drawn if isinstance(drawn, Drawn) else Drawn(drawn, np.ones_like(drawn))


def clusters(rate: float, size: int, alike: float) -> Callable[[Rng, tuple[int, int]], Drawn]:
    """0/1 items, `size` to a problem, with this correlation within a problem."""

    def draw(rng: Rng, shape: tuple[int, int]) -> Drawn:
        if alike == 1:
            sums = size * (rng.random(shape) < rate)
        else:
            spread = (1 - alike) / alike
            sums = rng.binomial(size, rng.beta(rate * spread, (1 - rate) * spread, shape))
        return Drawn(sums.astype(float), np.full(shape, float(size)))

    return draw


def uneven(rng: Rng, shape: tuple[int, int]) -> Drawn:
    """One to six normal items to a problem, alike within it; larger problems have a larger mean."""
    counts = rng.integers(1, 7, shape).astype(float)
    each = 0.2 * counts + rng.normal(size=shape) + rng.normal(size=shape) / np.sqrt(counts)
    return Drawn(each * counts, counts)


def away(rate: float, far: Callable[[Rng, tuple[int, int]], Values], start: float) -> Callable:
    """Items that are all `start`, but for a share of them that lies `far` away."""

    def draw(rng: Rng, shape: tuple[int, int]) -> Values:
        return start + np.where(rng.random(shape) < rate, far(rng, shape), 0.0)

    return draw


def changes(up: float, down: float) -> Callable[[Rng, tuple[int, int]], Values]:
    """Differences of two 0/1 items."""
    return lambda g, s: g.choice([1.0, -1.0, 0.0], p=[up, down, 1 - up - down], size=s)


def rates(*values: float) -> list[Shape]:
    """Counts at several rates."""

    def at(rate: float) -> Callable[[Rng, tuple[int, int]], Values]:
        return lambda g, s: (g.random(s) < rate).astype(float)

    return [Shape("binary", f"rate {rate:g}", at(rate), rate) for rate in values]


def skewed(sigma: float) -> Shape:
    """Lognormal numbers, told by their median."""
    return Shape(
        "skewed", f"lognormal {sigma:g}", lambda g, s: g.lognormal(0, sigma, s), 1.0,
        float(np.exp(sigma**2 / 2)),
    )  # fmt: skip


SHAPES: tuple[Shape, ...] = (
    *rates(0.5, 0.9, 0.97, 0.99),
    Shape("binary", "rate 0.9, 5 a problem, r 0.3", clusters(0.9, 5, 0.3), 0.9),
    Shape("binary", "rate 0.98, 5 a problem, r 0.3", clusters(0.98, 5, 0.3), 0.98),
    Shape("binary", "rate 0.9, 5 a problem, r 1", clusters(0.9, 5, 1), 0.9),
    Shape("share", "uniform", lambda g, s: g.random(s), 0.5),
    Shape("share", "normal 0.5, 0.02", lambda g, s: g.normal(0.5, 0.02, s), 0.5),
    Shape("share", "two humps (beta .3, .3)", lambda g, s: g.beta(0.3, 0.3, s), 0.5),
    Shape("share", "near 1 (beta 20, 1)", lambda g, s: g.beta(20, 1, s), 20 / 21),
    Shape("share", "near 0, skewed (beta .2, 4)", lambda g, s: g.beta(0.2, 4, s), 0.2 / 4.2),
    Shape(
        "share", "near 0.0001, lognormal .5", lambda g, s: 1e-4 * g.lognormal(0, 0.5, s),
        1e-4 * np.exp(0.125),
    ),
    Shape(
        "share", "near 0.0001, lognormal 1", lambda g, s: 1e-4 * g.lognormal(0, 1, s),
        1e-4 * np.exp(0.5),
    ),
    Shape("share", "ties (quarters)", lambda g, s: g.binomial(4, 0.9, s) / 4, 0.9),
    Shape("share", "1 but for 2 % anywhere", away(0.02, lambda g, s: -g.random(s), 1.0), 0.99),
    Shape("share", "1 but for 20 % anywhere", away(0.2, lambda g, s: -g.random(s), 1.0), 0.9),
    Shape("difference", "rises .5, falls .5", changes(0.5, 0.5), 0.0),
    Shape("difference", "rises .1, falls .1", changes(0.1, 0.1), 0.0),
    Shape("difference", "rises .02, falls .02", changes(0.02, 0.02), 0.0),
    Shape("difference", "rises .3, falls .05", changes(0.3, 0.05), 0.25),
    Shape("difference", "rises .05", changes(0.05, 0.0), 0.05),
    Shape("difference", "normal 0, 0.1", lambda g, s: g.normal(0, 0.1, s), 0.0),
    Shape(
        "difference", "of skewed shares", lambda g, s: g.beta(0.2, 4, s) - g.beta(0.2, 4, s), 0.0
    ),
    Shape("difference", "skewed", lambda g, s: g.beta(1, 8, s) - 1 / 9, 0.0),
    Shape(
        "difference", "2 % of 1, else .001, signs by chance",
        lambda g, s: np.where(g.random(s) < 0.02, 1.0, 0.001) * g.choice((-1, 1), s), 0.0,
    ),
    Shape("real", "normal", lambda g, s: g.normal(size=s), 0.0),
    Shape("real", "Student, 3 degrees", lambda g, s: g.standard_t(3, s), 0.0),
    Shape("real", "exponential - 1", lambda g, s: g.exponential(size=s) - 1, 0.0),
    Shape(
        "real", "lognormal 1 - mean", lambda g, s: g.lognormal(0, 1, s) - np.exp(0.5), 0.0
    ),
    Shape(
        "real", "difference of lognormals 1.5",
        lambda g, s: g.lognormal(0, 1.5, s) - g.lognormal(0, 1.5, s), 0.0,
    ),
    Shape("real", "near 0.011", lambda g, s: g.normal(0.011, 0.0003, s), 0.011),
    # Larger problems count more, so the mean of all items is 0.2 sum c^2 / sum c.
    Shape("real", "1 to 6 items, alike", uneven, 0.2 * 91 / 21),
    skewed(1), skewed(1.5), skewed(2),
    Shape(
        "skewed", "lognormal 2 less its median", lambda g, s: g.lognormal(0, 2, s) - 1, 0.0,
        float(np.exp(2)) - 1,
    ),
    Shape(
        "skewed", "exchanged lognormals 2",
        lambda g, s: g.lognormal(0, 2, s) - g.lognormal(0, 2, s), 0.0, 0.0,
    ),
    Shape(
        "skewed", "exchanged, half of them 0",
        lambda g, s: (g.random(s) < 0.5) * (g.lognormal(0, 1, s) - g.lognormal(0, 1, s)), 0.0, 0.0,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class RatioShape:
    """Numerators and denominators with a known ratio of their means."""

    name: str
    kinds: tuple[Kind, Kind]
    draw: Callable[[Rng, tuple[int, int]], tuple[Values, Values]]
    truth: float


def _parts(over: Callable, rest: Callable) -> Callable[[Rng, tuple[int, int]], tuple]:
    """A part and its sum with the rest."""

    def draw(rng: Rng, shape: tuple[int, int]) -> tuple[Values, Values]:
        first = over(rng, shape)
        return first, first + rest(rng, shape)

    return draw


def _gains(rng: Rng, shape: tuple[int, int]) -> tuple[Values, Values]:
    """A gain of 0 or 1, now and then -1, and the seven of ten that another has of it."""
    gain = (rng.random(shape) < 0.6).astype(float) - (rng.random(shape) < 0.05)
    return np.where(rng.random(shape) < 0.7, gain, 0.0), gain


def _moved(rng: Rng, shape: tuple[int, int]) -> tuple[Values, Values]:
    """A skewed gap, and a noisy part of it."""
    gap = rng.lognormal(0, 1, shape)
    return 0.6 * gap + rng.normal(0, 0.3, shape), gap


def _by_chance(rate: float) -> Callable[[Rng, tuple[int, int]], tuple[Values, Values]]:
    return lambda g, s: ((g.random(s) < rate).astype(float), g.uniform(0.03, 0.12, s))


RATIOS: tuple[RatioShape, ...] = (
    *(
        RatioShape(f"rate {u:g} over chance", ("binary", "share"), _by_chance(u), u / 0.075)
        for u in (0.02, 0.1, 0.3)
    ),
    RatioShape(
        "share of two divergences, both spread", ("share", "real"),
        _parts(lambda g, s: g.beta(0.5, 0.5, s), lambda g, s: g.beta(0.3, 2, s)),
        0.5 / (0.5 + 0.3 / 2.3),
    ),
    RatioShape(
        "share of two divergences, near 1", ("share", "real"),
        _parts(lambda g, s: g.beta(5, 2, s), lambda g, s: g.lognormal(-7, 1, s)),
        (5 / 7) / (5 / 7 + np.exp(-6.5)),
    ),
    RatioShape(
        "share of two divergences, near 0", ("share", "real"),
        _parts(lambda g, s: g.lognormal(-6, 1, s), lambda g, s: g.beta(2, 3, s)),
        np.exp(-5.5) / (np.exp(-5.5) + 0.4),
    ),
    RatioShape("part of a skewed gap", ("real", "real"), _moved, 0.6),
    RatioShape("part of a gain in accuracy", ("difference", "difference"), _gains, 0.7),
)  # fmt: skip
