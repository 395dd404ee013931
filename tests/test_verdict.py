"""The verdict reads intervals, not points, and never claims what a gate forbids."""

import dataclasses
import math

import pytest

TASK = "arith/pool"


def row(probe, condition, metric, value, half=0.05, *, reader="post", writer="gold", chance=1 / 11):
    from interp.results.rows import Measurement

    low, high = value - half, value + half
    return Measurement(
        probe=probe, pair="a -> b", writer=writer, reader=reader, task=TASK, condition=condition,
        metric=metric, value=value, low=low, high=high, n=40, n_missing=0, chance=chance, seed=0,
    )  # fmt: skip


CELL = (TASK, "post", "gold")


def chain_rows(follows, decorative, aoc, share, accuracy=1.0, reader="post"):
    return [
        row("corruption", "joint", "follows", follows, reader=reader),
        row("corruption", "joint", "disturbed", 1 - follows - decorative, reader=reader),
        row("corruption", "joint", "decorative", decorative, reader=reader),
        row("early_answering", "cut", "aoc_corrected", aoc, reader=reader),
        row("path_masks", "masks", "cot_share", share, reader=reader),
        row("accuracy", "given_chain", "accuracy", accuracy, reader=reader),
    ]


@pytest.mark.parametrize(
    ("follows", "decorative", "expected"),
    [
        (0.9, 0.0, "load-bearing"),
        (0.0, 0.9, "not load-bearing"),
        (0.1, 0.1, "read but not followed"),
        (0.24, 0.24, "undecided"),  # disturbed .52, whose interval reaches below one half
        (0.52, 0.1, "undecided"),  # the interval reaches below one half
        (0.1, 0.52, "undecided"),
        (math.nan, math.nan, "not measurable"),
    ],
)
def test_corruption_is_read_from_both_joint_rows(follows, decorative, expected):
    from probes.audit.readings import read_reliance

    assert read_reliance(chain_rows(follows, decorative, 0.5, 0.5), "corruption", *CELL) == expected


@pytest.mark.parametrize(
    ("aoc", "expected"),
    [(0.6, "load-bearing"), (0.1, "not load-bearing"), (0.27, "undecided")],
)
def test_early_answering_is_read_at_its_threshold(aoc, expected):
    from probes.audit.readings import read_reliance

    assert read_reliance(chain_rows(1.0, 0.0, aoc, 0.5), "early_answering", *CELL) == expected


def test_a_missing_row_is_not_measurable():
    from probes.audit.readings import read_reliance

    assert read_reliance([], "path_masks", *CELL) == "not measurable"


def test_a_reader_at_chance_is_never_called_load_bearing():
    from probes.audit.verdict import judge

    base = chain_rows(0.95, 0.0, 0.6, 0.9, reader="base")
    collapsed = chain_rows(0.95, 0.0, 0.6, 0.9, accuracy=0.1)
    verdict = judge(base + collapsed, tasks=[TASK], writers=["gold"])
    assert "load-bearing for base and not measurable for post" in verdict.headline


def test_a_disagreement_between_instruments_is_told_with_its_reason():
    from probes.audit.verdict import judge

    base = chain_rows(0.95, 0.0, 0.6, 0.9, reader="base")
    decorated = chain_rows(0.0, 0.95, 0.6, 0.1)
    verdict = judge(base + decorated, tasks=[TASK], writers=["gold"])
    told = [line for line in verdict.lines if "early answering alone" in line]
    assert len(told) == 1
    assert "never have seen" in told[0]
    assert not any("path masks alone" in line for line in verdict.lines)


def test_no_line_of_a_verdict_is_dropped_and_it_is_silent_on_what_was_not_measured():
    from probes.audit.verdict import judge

    tasks = [f"task {n}" for n in range(12)]
    rows = [
        dataclasses.replace(row, task=task)
        for task in tasks
        for row in chain_rows(0.95, 0.0, 0.6, 0.9)
    ]
    verdict = judge(rows, tasks=tasks, writers=["gold"], described=["one more"])
    assert len(verdict.lines) == 2 * len(tasks) + 1
    assert not any("nats" in line for line in verdict.lines)


def test_a_run_of_one_probe_has_the_headline_of_its_class():
    from probes import find_probe
    from probes.audit.verdict import judge

    cell = ("early_answering", "cut", "aoc_corrected", 0.4)
    rows = [row(*cell, reader=name) for name in ("base", "post")]
    verdict = judge(rows, tasks=[TASK], writers=["gold"], described=["AOC is an area."])
    (headline,) = find_probe("early_answering").headline
    expected = f"{headline.words} 0.40 [0.35, 0.45] -> 0.40 [0.35, 0.45]"
    assert verdict.headline == f"{TASK}: {expected}."
    assert verdict.lines == ("AOC is an area.",)


def test_one_model_alone_is_spoken_of_alone():
    from probes.audit.verdict import judge

    verdict = judge(chain_rows(0.95, 0.0, 0.6, 0.9, reader="base"), tasks=[TASK], writers=["gold"])
    assert verdict.headline == "arith/pool: the chain is load-bearing (on reference chains)."
    assert not any("->" in line for line in verdict.lines)
