"""Kinds of sentences, by hand and against the labels of three published traces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interp.chains.sentence_kinds import KINDS, count_kinds, find_kinds


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("Wait, that is wrong.", {"backtracks"}),
        ("Hmm, let me reconsider.", {"backtracks"}),
        ("Alternatively, use 3 * 6.", {"backtracks"}),
        ("But wait\u2014the sign is off.", {"backtracks"}),
        ("I\u2019ll double-check: 9 * 2 = 18.", {"checks"}),
        ("Let me verify the sum.", {"checks"}),
        ("First, I need to find the price.", {"plans"}),
        ("Next we compute the rest.", {"plans"}),
        ("Wait, let me double-check that.", {"backtracks", "checks"}),
        ("Nora has 3 * 6 = 18 pens.", set()),
        ("The waiter checked in 4 guests.", set()),
        ("No. 5 costs 3 dollars.", set()),
    ],
)
def test_kinds_by_hand(sentence: str, kinds: set[str]):
    assert find_kinds(sentence) == kinds


def test_counts():
    steps = ("Wait, no.", "Hmm.", "So 18.", "First, we need to find x.")
    assert count_kinds(steps) == {"backtracks": 2, "checks": 0, "plans": 1}
    assert count_kinds(()) == dict.fromkeys(KINDS, 0)


def test_agreement_with_published_labels(data_folder: Path):
    """The numbers of the module's docstring."""
    files = sorted((data_folder / "thought_anchors").rglob("chunks_labeled.json"))
    rows = [
        (find_kinds(chunk["chunk"]), set(chunk["function_tags"]))
        for file in files
        for chunk in json.loads(file.read_text())
    ]
    assert len(rows) == 150
    for kind, tag, precision, recall in (
        ("backtracks", "uncertainty_management", 0.43, 0.75),
        ("plans", "plan_generation", 0.50, 0.41),
        ("checks", "self_checking", 0.33, 0.04),
    ):
        n_found = sum(kind in kinds for kinds, _ in rows)
        n_tagged = sum(tag in tags for _, tags in rows)
        n_both = sum(kind in kinds and tag in tags for kinds, tags in rows)
        assert n_both / n_found == pytest.approx(precision, abs=0.005)
        assert n_both / n_tagged == pytest.approx(recall, abs=0.005)
