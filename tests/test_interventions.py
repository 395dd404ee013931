"""Operators against their definitions, and interventions that make no sense are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from interp.interventions import (
    Intervention,
    add,
    interpolate,
    project_out,
    replace,
    zero_ablate,
)
from interp.sites import Site

SITE = Site(0, "resid_post")
ACTIVATION = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
VECTOR = torch.tensor([[0.0, 2.0], [5.0, 5.0]])


@pytest.mark.parametrize(
    ("operator", "dose", "expected"),
    [
        (add, [2.0, 0.0], [[3.0, 8.0], [1.0, 0.0]]),
        (project_out, [1.0, 1.0], [[3.0, 0.0], [0.5, -0.5]]),
        (project_out, [2.0, 0.0], [[3.0, -4.0], [1.0, 0.0]]),
        (interpolate, [0.5, 0.0], [[1.5, 3.0], [1.0, 0.0]]),
        (interpolate, [1.0, 1.0], [[0.0, 2.0], [5.0, 5.0]]),
        (replace, [1.0, 1.0], [[0.0, 2.0], [5.0, 5.0]]),
        (zero_ablate, [1.0, 1.0], [[0.0, 0.0], [0.0, 0.0]]),
    ],
)
def test_operators_by_hand(operator: Any, dose: list[float], expected: list[list[float]]):
    before = ACTIVATION.clone()
    result = operator(ACTIVATION, VECTOR, torch.tensor(dose)[:, None])
    assert torch.allclose(result, torch.tensor(expected), atol=1e-6)
    assert torch.equal(ACTIVATION, before) and result is not ACTIVATION


def test_arriving_and_staying_are_exact():
    activation, vector = torch.randn(5, 7), torch.randn(5, 7) * 1e4
    one, zero = torch.ones(5, 1), torch.zeros(5, 1)
    assert torch.equal(interpolate(activation, vector, one), vector)
    assert torch.equal(interpolate(activation, vector, zero), activation)
    assert torch.equal(interpolate(activation, activation, torch.rand(5, 1)), activation)
    assert torch.equal(add(activation, vector, zero), activation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SITE, add), "needs a vector"),
        ((SITE, zero_ablate, VECTOR[0]), "takes no vector"),
        ((SITE, add, torch.tensor([1.0, float("nan")])), "NaN or infinite.*mean over no examples"),
        ((SITE, project_out, torch.zeros(2)), "has no direction"),
        ((SITE, replace, VECTOR[0], 0.5), "Use `interpolate`"),
        ((SITE, project_out, VECTOR[0], 1.0, "norms"), "the operator `add`"),
        ((SITE, add, VECTOR[0], 1.0, "raw", ()), "at least one index"),
        ((SITE, add, VECTOR[0], 1.0, "raw", (1, 1)), "none twice"),
        ((SITE, add, VECTOR[0], 1.0, "raw", "all", ()), "rows must list"),
        ((SITE, add, VECTOR[0], 1.0, "raw", "all", None, 0), "has no heads"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ValueError, match=message):
        Intervention(*arguments)


def test_the_remedies_work():
    assert Intervention(SITE, interpolate, VECTOR[0], 0.5).dose == 0.5
    assert Intervention(SITE, add, VECTOR[0], 1.0, "norms").unit == "norms"
