"""The linear probe: is a behaviour decodable from one position, and along which axis?

Logistic regression with an L2 penalty, solved exactly by Newton's method. Whole problems are held
out, never single positions of one text, which would test the memory of that text. A held-out AUROC
means little alone: with many dimensions and few problems the same recipe separates *shuffled*
labels by chance, so it is run on shuffled labels as well, and their band is part of the result.

Activations are centred and divided by one number, not feature by feature, so that the axis found
is one of the stream as the model uses it. The solution lies in the span of the training examples;
it is sought there, so that the cost follows the number of examples and not the width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num

from interp.errors import NotMeasurableError
from interp.methods.directions.activations import Activations
from interp.methods.directions.direction import Direction
from interp.methods.directions.fits import check_sides, fitted
from interp.stats.auroc import area_under_curve

MIN_PROBLEMS = 16
"""Fewest problems with examples of each class."""
N_NEWTON = 100
CONVERGED = 1e-8
"""Largest gradient entry at the solution, relative to the number of examples."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A direction that tells two sides apart, and how well on problems held out."""

    direction: Direction
    auroc: float
    """On the problems held out: 0.5 is chance, 1 is perfect."""
    shuffled: tuple[float, ...]
    """The same for shuffled labels, one per shuffle."""
    n_train: int
    n_test: int

    @property
    def band(self) -> tuple[float, float]:
        """From the lowest to the highest AUROC of shuffled labels."""
        return min(self.shuffled), max(self.shuffled)

    @property
    def is_decodable(self) -> bool:
        """Whether the AUROC is above that of every shuffle (p <= 1 / (shuffles + 1))."""
        return self.auroc > self.band[1]


def fit_linear_probe(
    positive: Activations,
    negative: Activations,
    *,
    seed: int,
    l2: float = 1.0,
    held_out: float = 0.3,
    n_shuffles: int = 20,
) -> LinearProbe:
    """Fits a linear probe, and the same on shuffled labels.

    Args:
        positive: Activations that show the behaviour.
        negative: Activations that do not.
        seed: Of the split and the shuffles.
        l2: Penalty on half the squared norm of the weights, beside the summed log-loss (nats).
        held_out: Share of the problems that are held out.
        n_shuffles: How often labels are shuffled: whole problems where a problem has one label,
            within the problem where it has both.

    Returns:
        The probe; its direction points to the positive side and is fitted on the training part.

    Raises:
        NotMeasurableError: If a class has fewer than `MIN_PROBLEMS` problems.
        ValueError: If sites or widths differ, or nothing is held out or shuffled.
    """
    check_sides(positive, negative)
    if n_shuffles < 1 or not 0 < held_out < 1:
        raise ValueError(
            f"a linear probe is judged on problems held out (0 < held_out < 1) and against at "
            f"least one shuffle; received held_out={held_out}, n_shuffles={n_shuffles}"
        )
    values = torch.cat([positive.values, negative.values]).double()
    labels = np.repeat([1.0, 0.0], [len(positive.values), len(negative.values)])
    problems = [*positive.problems, *negative.problems]
    rng = np.random.default_rng(seed)
    test = _split(problems, labels, held_out, rng)
    train = torch.from_numpy(~test)
    centre = values[train].mean(0)
    scale = float((values[train] - centre).square().mean().sqrt()) or 1.0  # 1 if all are equal
    centred = (values - centre) / scale
    _, sizes, axes = torch.linalg.svd(centred[train], full_matrices=False)
    axes = axes[sizes > 1e-10 * sizes[0]]  # centring takes an axis away: what is left is rounding
    inside = (centred @ axes.T).numpy()

    def fit(target: Num[np.ndarray, " example"]) -> tuple[Float[np.ndarray, " axis"], float]:
        weights = _newton(inside[~test], target[~test], l2)
        return weights, float(area_under_curve(inside[test] @ weights, target[test] == 1))

    weights, reached = fit(labels)
    shuffled = [fit(_shuffled(problems, labels, rng))[1] for _ in range(n_shuffles)]
    note = f"held-out AUROC {reached:.3f}, shuffled up to {max(shuffled):.3f}"
    return LinearProbe(
        fitted(torch.from_numpy(weights) @ axes, "linear probe", positive, negative, note),
        reached,
        tuple(shuffled),
        int((~test).sum()),
        int(test.sum()),
    )


def _newton(
    x: Float[np.ndarray, "example axis"], y: Num[np.ndarray, " example"], l2: float
) -> Float[np.ndarray, " axis"]:
    """Weights of the penalised logistic regression (the intercept is not penalised)."""
    ones = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.full(ones.shape[1], l2)
    penalty[-1] = 0.0
    # A floor under the intercept's curvature keeps the system solvable, and moves no solution.
    ridge = np.diag(penalty + 1e-9)

    def loss(beta: np.ndarray) -> float:
        score = ones @ beta
        return float((np.logaddexp(0, score) - y * score).sum() + 0.5 * (penalty * beta**2).sum())

    beta = np.zeros(ones.shape[1])
    for _ in range(N_NEWTON):
        share = 1 / (1 + np.exp(-np.clip(ones @ beta, -500, 500)))  # exp overflows beyond 709
        gradient = ones.T @ (share - y) + penalty * beta
        if np.abs(gradient).max() < CONVERGED * len(x):
            break
        hessian = (ones * (share * (1 - share))[:, None]).T @ ones + ridge
        step = np.linalg.solve(hessian, gradient)
        size, now = 1.0, loss(beta)
        # A full Newton step may overshoot where the classes are nearly separable.
        while loss(beta - size * step) > now and size > 1e-6:
            size /= 2
        beta = beta - size * step
    return beta[:-1]


def _split(
    problems: Sequence[Hashable],
    labels: Num[np.ndarray, " example"],
    held_out: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Which examples are held out; problems with a positive example are drawn apart from others."""
    has_positive: dict[Hashable, bool] = {}
    for problem, label in zip(problems, labels, strict=True):
        has_positive[problem] = has_positive.get(problem, False) or label == 1
    groups = [[p for p, has in has_positive.items() if has == kind] for kind in (True, False)]
    mixed = len({p for p, y in zip(problems, labels, strict=True) if y == 0} & set(groups[0]))
    n_negative = mixed + len(groups[1])
    if min(len(groups[0]), n_negative) < MIN_PROBLEMS:
        raise NotMeasurableError(
            f"a linear probe is tested on problems that it has not seen and needs at least "
            f"{MIN_PROBLEMS} of each class; received {len(groups[0])} problems with positive "
            f"and {n_negative} with negative positions. Collect more texts, or use mean_difference"
        )
    out: set[Hashable] = set()
    for group in groups:
        order = rng.permutation(len(group))[: max(1, round(held_out * len(group)))]
        out.update(group[at] for at in order if group)
    return np.array([problem in out for problem in problems])


def _shuffled(
    problems: Sequence[Hashable], labels: Num[np.ndarray, " example"], rng: np.random.Generator
) -> Num[np.ndarray, " example"]:
    """Labels shuffled between whole problems.

    Problems with one label exchange their labels; within a problem that has both, the labels are
    permuted. Examples of one problem are alike, so shuffling them singly would make the
    shuffled scores vary less than chance does.
    """
    places: dict[Hashable, list[int]] = {}
    for at, problem in enumerate(problems):
        places.setdefault(problem, []).append(at)
    dealt = labels.copy()
    pure = [examples for examples in places.values() if len(set(labels[examples])) == 1]
    for examples, other in zip(pure, rng.permutation(len(pure)), strict=True):
        dealt[examples] = labels[pure[other][0]]
    for examples in places.values():
        if len(set(labels[examples])) > 1:
            dealt[examples] = rng.permutation(labels[examples])
    return dealt
