"""The 2 x 2 test by hand: answers, what they add up to, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from interp.sites import Site
from interp.tasks import make_task
from probes.pre_existence import PreExistenceSettings
from probes.pre_existence.arms import ArmOutcome
from probes.pre_existence.decodability import answer_auroc
from probes.pre_existence.steering_cells import SteeringCell, split_halves
from probes.pre_existence.verdict import (
    Quantity,
    QuestionResult,
    answer_question,
    decide,
    estimate_difference,
    judge_cell,
)

SITE = Site(1, "resid_post")


def between(low, high, *, upper=None, lower=None):
    ends = (high if upper is None else upper, low if lower is None else lower)
    return Quantity((low + high) / 2, low, high, *ends, 50)


def finding(found, *, is_null=False):
    return QuestionResult("x", found, between(0.0, 1.0), None, "", "", is_null)


# --- the four answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "excess", "expected"),
    [
        (between(0.3, 0.5), between(0.1, 0.3), "yes"),
        (between(0.3, 0.5), None, "yes"),
        (between(0.3, 0.5), between(-0.1, 0.3), "undecided"),  # not beyond the best control
        (between(0.3, 0.5), between(-0.2, 0.05), "no"),  # no more than the controls
        (between(0.05, 0.3), between(0.02, 0.3), "undecided"),  # perhaps below the bound
        (between(-0.02, 0.09), between(-0.1, 0.3), "no"),  # below the bound
        (between(-0.02, 0.11, upper=0.09), None, "no"),  # equivalence is read at 1 - 2 alpha
        (between(math.nan, math.nan), None, "undecided"),
    ],
)
def test_an_answer_has_three_values(effect, excess, expected):
    assert answer_question(effect, excess, 0.1) == expected


def test_nothing_that_changes_still_has_an_interval():
    zeros = np.zeros(50)
    found = estimate_difference(zeros, zeros, [str(n) for n in range(50)], PreExistenceSettings())
    assert found.value == 0 and -0.08 < found.low < -0.03 and 0.03 < found.upper < found.high < 0.1


def test_a_difference_is_the_mean_over_items_with_problems_resampled():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 0.5, 60), rng.uniform(0.3, 1, 60)
    alone = estimate_difference(first, second, [str(n) for n in range(60)], PreExistenceSettings())
    twins = estimate_difference(
        np.repeat(first, 2), np.repeat(second, 2), [str(n // 2) for n in range(120)],
        PreExistenceSettings(),
    )  # fmt: skip
    assert alone.value == pytest.approx((second - first).mean())
    spread = (second - first).std(ddof=1) / math.sqrt(60)
    assert alone.high - alone.low == pytest.approx(2 * 2.0 * spread, rel=0.1)
    assert (twins.low, twins.high, twins.n) == pytest.approx((alone.low, alone.high, 60))
    assert alone.low < alone.lower < alone.upper < alone.high


def cell(before, after, controls, want="up", source="base"):
    def outcome(values):
        return ArmOutcome(
            np.array(values), np.array(values), np.zeros(len(values)), np.ones(len(values))
        )

    rivals = {name: np.array(values) for name, values in controls.items()}
    return SteeringCell(
        source, "base", want, SITE, 1.0, (0.0, 0.0), outcome(before), outcome(after), rivals, {}, {}
    )


def judged(found, controls=("random",), settings=PreExistenceSettings()):  # noqa: B008
    problems = [str(n) for n in range(len(found.unsteered.opens))]
    return judge_cell("usable", found, controls, problems, settings)


def test_a_cell_is_judged_against_its_strongest_control():
    wobble = 0.1 * np.sin(np.arange(40))
    low, high, middle = 0.2 + wobble, 0.8 - wobble, 0.5 + wobble
    plain = cell(low, high, {"random 0": low, "random 1": middle, "token": high})
    found = judged(plain)
    assert (found.answer, found.control) == ("yes", "random 1")
    assert found.effect.value == pytest.approx((high - low).mean())
    assert found.excess is not None
    assert found.excess.value == pytest.approx((high - middle).mean())
    assert judged(plain, ("random", "token")).answer == "no"  # the token's direction does as much
    assert judged(cell(low, low, {"random 0": low})).is_null
    assert not judged(cell(low, high, {"random 0": high})).is_null
    assert judged(cell(low, high, {"random 0": high})).answer == "no"
    down = cell(high, low, {"random 0": high, "random 1": middle}, want="down")
    assert (judged(down).answer, judged(down).control) == ("yes", "random 1")
    assert judged(replace(down, want="up")).answer == "no"  # it moved the other way


# --- the verdict --------------------------------------------------------------------------------

OFF, ON = between(-0.01, 0.05), between(0.6, 0.8)


@pytest.mark.parametrize(
    ("decodable", "transferable", "usable", "is_null", "base", "lead", "expected"),
    [
        ("no", "no", "yes", False, ON, between(0.1, 0.3), "expressed"),
        ("no", "no", "yes", False, OFF, between(0.01, 0.02), "latent-usable"),
        ("no", "no", "yes", False, ON, between(-0.1, 0.3), "latent-usable"),
        ("yes", "yes", "no", True, OFF, OFF, "represented"),
        ("no", "yes", "no", True, OFF, OFF, "undecided"),
        ("yes", "no", "no", True, OFF, OFF, "absent"),
        ("no", "no", "no", True, OFF, OFF, "absent"),
        ("yes", "undecided", "no", True, OFF, OFF, "undecided"),
        ("yes", "no", "no", False, OFF, OFF, "undecided"),  # any push of that size does it
        ("yes", "no", "no", True, between(0.05, 0.2), OFF, "undecided"),  # the base's own rate
        ("yes", "yes", "undecided", False, OFF, OFF, "undecided"),
    ],
)
def test_the_verdict_follows_the_answers(
    decodable, transferable, usable, is_null, base, lead, expected
):
    said = {
        "decodable": finding(decodable),
        "transferable": finding(transferable),
        "usable": finding(usable, is_null=is_null),
    }
    assert decide(said, base, lead, 0.1)[0] == expected


def test_what_a_run_of_this_size_can_find_is_declared():
    found = PreExistenceSettings().declared(50)
    assert found["minimal_detectable_effect"] == pytest.approx(
        (1.959964 + 0.841621) * 0.5 / math.sqrt(50), rel=1e-5
    )
    assert (found["bound"], found["n_random"], found["n_test"]) == (0.1, 19, 50)


@pytest.mark.parametrize(
    "wrong", [{"n_random": 18}, {"doses": (-1.0,)}, {"bound": 0.0}, {"contrast": "pca"}]
)
def test_settings_that_cannot_be_judged_by_are_refused(wrong, monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="received"):
        PreExistenceSettings(**wrong)


def test_halves_share_no_problem():
    task = make_task("arith/twins", n=10, seed=0)
    first, second = split_halves(task)
    assert len(first.examples) + len(second.examples) == len(task.examples)
    assert not {e.problem for e in first.examples} & {e.problem for e in second.examples}
    with pytest.raises(ValueError, match="at least 4"):
        split_halves(replace(task, examples=task.examples[:1]))


def test_an_auroc_is_answered_against_the_shuffled_band():
    assert answer_auroc(between(0.8, 0.9), 0.7, 0.1) == "yes"
    assert answer_auroc(between(0.65, 0.9), 0.7, 0.1) == "undecided"
    assert answer_auroc(between(0.4, 0.58), 0.7, 0.1) == "no"
