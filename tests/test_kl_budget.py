"""Doses by a budget of KL, on curves whose dose is known and on a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from interp.engine import run
from interp.errors import NotMeasurableError
from interp.interventions import Intervention, add
from interp.methods.steering import find_dose
from interp.sites import Site
from interp.stats.divergences import kullback_leibler
from probes.model_names import find_model
from probes.pre_existence.examination import examine
from probes.pre_existence.settings import PreExistenceSettings


@pytest.mark.parametrize(
    ("curve", "dose"),
    [
        (lambda d: 2.5 * d**2, 0.2),
        (lambda d: d, 0.1),
        (lambda d: 400 * d**4, (0.1 / 400) ** 0.25),
        (lambda d: 1e6 * d**2, 10**-3.5),
        (lambda d: 0.09 * d, 1.0),  # never spends the budget
    ],
)
def test_the_dose_of_a_known_curve(curve: Any, dose: float):
    found = find_dose(curve, budget=0.1, largest=1.0)
    assert found.dose == pytest.approx(dose, rel=0.03) and found.kl <= 0.1
    assert found.kl == pytest.approx(curve(found.dose))


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (lambda _: 1.0, "even a dose of .* more than the budget of 0.1"),
        (lambda _: float("nan"), "KL at dose 1 is nan"),
    ],
)
def test_what_has_no_dose_is_refused(curve: Any, message: str):
    with pytest.raises(NotMeasurableError, match=message):
        find_dose(curve, budget=0.1, largest=1.0)


@pytest.mark.parametrize(("budget", "largest"), [(0.0, 1.0), (0.1, 0.0), (-1.0, 1.0)])
def test_budgets_are_above_zero(budget: float, largest: float):
    with pytest.raises(ValueError, match="above 0 and finite"):
        find_dose(lambda d: d, budget=budget, largest=largest)


def test_a_model_is_pushed_as_far_as_the_budget(tiny: Any):
    """At the last position; measured anew at the dose that was found."""
    rows, site = [[1, 5, 9], [1, 20, 30, 8]], Site(1, "resid_post")
    torch.manual_seed(0)
    vector = torch.randn(tiny.d_model)
    plain = run(tiny, rows, logits_at="last").last.log_softmax(-1)

    def cost(dose: float) -> float:
        edit = Intervention(site, add, 50 * vector, dose=dose, positions=(-1,))
        edited = run(tiny, rows, logits_at="last", interventions=[edit]).last.log_softmax(-1)
        return float(kullback_leibler(plain, edited).mean())

    found = find_dose(cost, budget=0.05, largest=1.0)
    assert cost(1.0) > 0.05 and cost(found.dose) == pytest.approx(found.kl)
    assert 0.045 < found.kl <= 0.05


def test_the_organisms_doses_stay_in_residual_norms():
    """Random pushes of one norm stay within the budget there, so that no verdict moves."""
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=12, seed=0)
    settings = PreExistenceSettings(doses=(1.0,), layers=(2,), alpha=0.25, n_random=3)
    found = examine(find_model("base:1"), find_model("chain-sft-fresh:1"), task, settings, seed=0)
    assert found.record()["declared"]["dose_scales"] == {"base": 1.0, "post": 1.0}
