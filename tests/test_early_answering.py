"""The summaries of an early-answering curve, against values worked out by hand."""

import math

import pytest


def test_area_over_the_curve_of_the_docstring():
    from probes.early_answering import area_over_curve

    # (0, 0, 1) at x = 0, 1/2, 1: trapezoids 0 and 1/4.
    assert area_over_curve([0.0, 0.0, 1.0]) == pytest.approx(0.75)
    assert area_over_curve([1.0, 1.0, 1.0]) == 0.0
    # (1, 0, 1): 1/4 + 1/4.
    assert area_over_curve([1.0, 0.0, 1.0]) == pytest.approx(0.5)
    assert math.isnan(area_over_curve([math.nan, 1.0]))


def test_settling_point_is_the_share_of_the_chain_after_which_the_answer_stays():
    from probes.early_answering import settling_point

    assert settling_point([1.0, 1.0, 1.0]) == 0.0
    assert settling_point([0.0, 0.0, 1.0]) == 1.0
    # Right by luck at first, lost, back for good after two of four steps.
    assert settling_point([1.0, 0.0, 1.0, 1.0, 1.0]) == pytest.approx(0.5)
    assert math.isnan(settling_point([math.nan, 1.0]))


def test_settling_point_by_probability():
    from probes.early_answering import settling_point_by_probability

    # t = 2, p = (.1, .4, .8): 1 - (1/8 + 1/2) / 2.
    assert settling_point_by_probability([0.1, 0.4, 0.8]) == pytest.approx(1 - (0.125 + 0.5) / 2)
    # A cut chain that is surer than the full one counts as 1, not more.
    assert settling_point_by_probability([0.9, 0.8]) == 0.0


def test_mean_of_areas_equals_the_published_weighting_by_chain_length():
    from probes.early_answering import area_over_curve

    short = [[0.0, 1.0], [1.0, 1.0]]
    long = [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    by_sample = [area_over_curve(curve) for curve in short + long]

    def of_length(curves: list[list[float]]) -> float:
        mean = [sum(point) / len(curves) for point in zip(*curves, strict=True)]
        return area_over_curve(mean)

    published = 2 / 5 * of_length(short) + 3 / 5 * of_length(long)
    assert sum(by_sample) / 5 == pytest.approx(published)
