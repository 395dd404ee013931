"""Divergences between distributions of the next token, against values worked out by hand."""

import math

import pytest
import torch

from interp.stats.divergences import jensen_shannon, kullback_leibler


def test_divergences_by_hand_at_each_position():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log()
    q = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    kl = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kullback_leibler(p, q).tolist() == pytest.approx([kl, math.log(2)], abs=1e-6)
    m = (0.375, 0.625)
    left = 0.5 * math.log(0.5 / m[0]) + 0.5 * math.log(0.5 / m[1])
    right = 0.25 * math.log(0.25 / m[0]) + 0.75 * math.log(0.75 / m[1])
    second = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
    assert jensen_shannon(p, q).tolist() == pytest.approx([(left + right) / 2, second], abs=1e-6)


def test_divergence_of_disjoint_certainties_is_ln_2_and_no_nan():
    p = torch.tensor([[0.0, -math.inf]])
    q = torch.tensor([[-math.inf, 0.0]])
    assert jensen_shannon(p, q).item() == pytest.approx(math.log(2), abs=1e-6)
    assert jensen_shannon(p, p).item() == 0.0
