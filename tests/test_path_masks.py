"""Divergences between answer distributions, against values worked out by hand."""

import math

import pytest
import torch


def test_divergences_by_hand():
    from probes.path_masks import jensen_shannon, kullback_leibler

    p = torch.tensor([[0.5, 0.5]]).log()
    q = torch.tensor([[0.25, 0.75]]).log()
    kl = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kullback_leibler(p, q) == pytest.approx(kl, abs=1e-6)
    m = (0.375, 0.625)
    left = 0.5 * math.log(0.5 / m[0]) + 0.5 * math.log(0.5 / m[1])
    right = 0.25 * math.log(0.25 / m[0]) + 0.75 * math.log(0.75 / m[1])
    assert jensen_shannon(p, q) == pytest.approx((left + right) / 2, abs=1e-6)


def test_divergence_of_disjoint_certainties_is_ln_2_and_no_nan():
    from probes.path_masks import jensen_shannon

    p = torch.tensor([[0.0, -math.inf]])
    q = torch.tensor([[-math.inf, 0.0]])
    assert jensen_shannon(p, q) == pytest.approx(math.log(2), abs=1e-6)
    assert jensen_shannon(p, p) == 0.0
