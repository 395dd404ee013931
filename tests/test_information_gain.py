"""The summaries of an information-gain curve, against values worked out by hand."""

import math

import pytest

POINTS = [-2.0, -2.5, -0.5, -0.25]  # no chain, then after one, two, three steps
"""Gains -0.5, 2.0, 0.25; total 1.75."""


def test_gains_and_their_summaries():
    from probes.information_gain import concentration, gains, negative_share

    assert gains(POINTS) == [-0.5, 2.0, 0.25]
    assert sum(gains(POINTS)) == pytest.approx(1.75)
    assert concentration(gains(POINTS)) == pytest.approx(2.0 / 2.25)
    assert negative_share(gains(POINTS)) == pytest.approx(0.5 / 2.75)


def test_summaries_of_nothing_are_not_numbers():
    from probes.information_gain import concentration, negative_share

    assert math.isnan(concentration([-1.0, 0.0]))
    assert math.isnan(negative_share([0.0, 0.0]))


def test_published_formula_by_hand_and_its_telescoping():
    from probes.information_gain import infogain_ppl

    # Two steps: PPL_0 = 11, PPL_1 = 11, PPL_2 = 1: mean drop (0 + 10) / 2.
    assert infogain_ppl([-math.log(11), -math.log(11), 0.0]) == pytest.approx(5.0)
    ppl = [math.exp(-lp) for lp in POINTS]
    assert infogain_ppl(POINTS) == pytest.approx((ppl[0] - ppl[-1]) / 3)


def test_published_formula_divides_by_steps_and_scores_only_the_answer():
    """The released code divides by steps + 1 and takes perplexity over the whole text."""
    from probes.information_gain import infogain_ppl

    one_step = infogain_ppl([-math.log(3), 0.0])
    assert one_step == pytest.approx(2.0)  # not 1.0, which steps + 1 would give
