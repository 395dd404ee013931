"""What a headline claims: on whose chains, with which explanation, and how often wrongly."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from interp.results.rows import CONTRAST, Item, Measurement
from interp.results.summaries import summarise
from probes import statistics_of
from probes.audit.changes import Change, _hold_family, find_changes
from probes.audit.readings import read_chain, reliance_probes
from probes.audit.verdict import judge

TASK = "arith/pool"
DECIDES, RELIANCE = next(iter(reliance_probes().items()))
ALL = ("gold", "base", "post")


def row(probe, condition, metric, value, half=0.04, **more):
    columns = {"reader": "post", "writer": "post", "task": TASK, "chance": 0.1, "note": ""} | more
    return Measurement(
        probe=probe, pair="a -> b", condition=condition, metric=metric, value=value,
        low=value - half, high=value + half, n=60, n_missing=0, seed=0, **columns,
    )  # fmt: skip


def reads(reader, writer, follows, against=0.0, note=""):
    """A reader on a writer's chains: by the probe that decides."""
    where = {"reader": reader, "writer": writer, "note": note}
    return [
        row(DECIDES, RELIANCE.condition, RELIANCE.metric, follows, **where),
        row(DECIDES, RELIANCE.condition, RELIANCE.against, against, **where),
        row(DECIDES, RELIANCE.condition, RELIANCE.sensitive, 1 - follows - against, **where),
        row("accuracy", "given_chain", "accuracy", 0.9, **where),
    ]


def moved(condition, value, half=0.04, p=1e-6, metric="accuracy"):
    return row(
        "accuracy", condition, metric, value, half,
        reader=CONTRAST, writer=CONTRAST, contrast="writer+reader", p=p,
    )  # fmt: skip


def writes(base, post):
    """Shares of free texts in which each model writes a chain."""
    return [
        row("accuracy", "free", "valid_trace", share, reader=name, writer=name)
        for name, share in (("base", base), ("post", post))
    ]


def on_gold():
    return [*reads("base", "gold", 0.95), *reads("post", "gold", 0.95)]


def headline(rows, writers=ALL):
    return judge(rows, tasks=[TASK], writers=writers).headline


def test_the_verdict_is_about_chains_that_a_model_wrote_and_names_reference_chains_beside_it():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.02, 0.9)]
    assert "the answer no longer follows the chain (on reference chains instead: the chain " in (
        headline(rows)
    )
    assert headline(rows, ("gold",)).endswith(
        "the chain stayed load-bearing (on reference chains)."
    )
    same = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.9)]
    assert headline(same).endswith("the chain stayed load-bearing.")


@pytest.mark.parametrize(
    ("own", "gold", "said", "beside"),
    [
        # As (follows, keeps its answer) of post; base depends on every chain.
        ((0.95, 0.0), (0.02, 0.9), "the chain stayed load-bearing", "no longer follows"),
        ((0.02, 0.9), (0.95, 0.0), "no longer follows the chain", "stayed load-bearing"),
        ((math.nan, math.nan), (0.95, 0.0), "not measurable for post", "stayed load-bearing"),
        ((0.02, 0.02), (0.95, 0.0), "read but not followed for post", "stayed load-bearing"),
        ((0.95, 0.0), (0.95, 0.0), "the chain stayed load-bearing", ""),
        ((0.02, 0.9), (0.02, 0.9), "no longer follows the chain", ""),
    ],
)
def test_own_chains_decide_whatever_reference_chains_say(own, gold, said, beside):
    rows = [
        *reads("base", "gold", 0.95), *reads("post", "gold", *gold),
        *reads("base", "base", 0.95), *reads("post", "post", *own),
    ]  # fmt: skip
    decides, _, other = headline(rows).partition("(on reference chains instead: ")
    assert said in decides
    assert beside in other and bool(other) == bool(beside)


def test_chains_that_cannot_be_read_are_named_with_the_reason():
    note = "not measurable: the chain is empty (60)"
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", math.nan, note=note)]
    verdict = judge(rows, tasks=[TASK], writers=ALL)
    assert "not measurable for post (post: the chain is empty)" in verdict.headline
    assert any(note in line for line in verdict.lines)
    beside = "reference chains: load-bearing for base, load-bearing for post"
    assert any(beside in line for line in verdict.lines)


def test_a_model_that_writes_no_chain_is_spoken_of_when_made_to_think():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.95)]
    said = headline([*rows, *writes(0.98, 0.0), moved("free", 0.5), moved("direct", 0.55)])
    assert (
        "up 0.50 in texts without a chain (free texts with a chain: base 0.98, post 0.00)" in said
    )
    assert said.endswith(
        "without a chain up 0.55, when made to think the chain stayed load-bearing."
    )
    said = headline([*rows, *writes(0.98, 0.0), moved("free", 0.5), moved("forced", 0.5)])
    assert "made to think up 0.50, then the chain stayed load-bearing" in said
    assert said.count("made to think") == 1
    said = headline([*rows, *writes(0.98, 0.97), moved("free", 0.5), moved("direct", 0.1)])
    assert "accuracy up 0.50, accuracy without a chain up 0.10, the chain stayed" in said


def test_a_rise_that_comes_with_opened_chains_is_no_rise_of_skill():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.95)]
    rows += [*writes(0.0, 1.0), moved("free", 0.9), moved("forced", 0.0, p=1.0)]
    opened = moved("free", 1.0, metric="valid_trace")
    shares = "(free texts with a chain: base 0.00, post 1.00)"
    said = headline([*rows, opened])
    assert f"accuracy up 0.90 as post opens more chains unasked {shares}, no clear change" in said
    assert "no clear change in accuracy when made to think (95 % limit 0.04), then the" in said
    assert said.count("free texts") == 1
    # Without a clear change in how often chains are opened, the shares stand alone.
    assert "unasked" not in headline(rows) and shares in headline(rows)


def test_a_model_that_closes_its_chain_empty_is_not_said_to_think():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", math.nan)]
    forced = [
        dataclasses.replace(one, condition="forced", value=share, low=share, high=share)
        for one, share in zip(writes(0.0, 0.0), (1.0, 0.0), strict=True)
    ]
    said = headline([*rows, *writes(0.0, 0.0), *forced, moved("free", 0.9), moved("forced", 0.6)])
    assert "post closes the chain empty or not at all when made to think" in said
    assert "accuracy when made to think" not in said


def test_two_like_readings_that_differ_clearly_are_not_said_to_have_stayed():
    rows = [*on_gold(), *reads("base", "base", 0.99), *reads("post", "post", 0.7)]
    change = dataclasses.replace(
        moved("free", -0.29), probe=DECIDES, condition=RELIANCE.condition, metric=RELIANCE.metric
    )
    assert headline([*rows, change]).endswith(
        "the chain is load-bearing for both, but post's answers follow it less often (by 0.29)."
    )
    assert headline(rows).endswith("the chain stayed load-bearing.")


def test_a_reader_at_chance_is_read_by_no_second_probe():
    others = {name: one for name, one in reliance_probes().items() if name != DECIDES}
    rows = [one for one in reads("post", "post", math.nan) if one.probe != "accuracy"]
    rows += [row(name, one.condition, one.metric, 0.0) for name, one in others.items()]
    assert read_chain(rows, TASK, "post", "post").said == "not load-bearing"
    poor = row("accuracy", "given_chain", "accuracy", 0.1)
    assert read_chain([*rows, poor], TASK, "post", "post").is_unmeasurable
    said = headline([*rows, poor], ("post",))
    assert "(post: no better than the best constant answer when it reads the chain)" in said
    # One probe alone is no agreement.
    alone = [one for one in rows if one.probe in (DECIDES, next(iter(others)))]
    assert read_chain(alone, TASK, "post", "post").is_unmeasurable


def test_a_chain_whose_mistakes_confuse_the_reader_is_read_but_not_followed():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.1)]
    assert headline(rows, ("base", "post")).endswith(
        "the chain is load-bearing for base and read but not followed for post."
    )


def test_a_change_that_missing_chains_could_explain_says_so():
    rows = [*on_gold(), *reads("base", "base", 0.95), *reads("post", "post", 0.02, 0.9)]
    change = dataclasses.replace(
        moved("free", -0.93), probe=DECIDES, condition=RELIANCE.condition, metric=RELIANCE.metric
    )
    worst = dataclasses.replace(change, worst_low=-0.95, worst_high=0.1)
    said = "the answer no longer follows the chain"
    may = " (chains that could not be read may explain it: worst case [-0.95, 0.10])"
    assert headline([*rows, worst], ("base", "post")).endswith(f"{said}{may}.")
    sure = dataclasses.replace(change, worst_low=-0.95, worst_high=-0.1)
    for certain in (change, sure):
        assert headline([*rows, certain], ("base", "post")).endswith(f"{said}.")


def test_a_probe_that_cannot_decide_leaves_the_word_to_those_that_agree():
    others = {name: one for name, one in reliance_probes().items() if name != DECIDES}
    rows = reads("post", "post", math.nan)
    rows += [row(name, one.condition, one.metric, 0.0) for name, one in others.items()]
    first, *_, last = others
    said = f"not load-bearing (by {first.replace('_', ' ')})"
    assert str(read_chain(rows, TASK, "post", "post")) == said
    rows[-1] = row(last, others[last].condition, others[last].metric, 0.95)
    assert read_chain(rows, TASK, "post", "post").said == "not measurable"


def test_a_certain_difference_below_the_size_that_matters_is_no_claim():
    assert str(Change("accuracy", moved("free", 0.01, 0.002), True, True)) == (
        "accuracy changed by +0.010 (95 % limit 0.012), too little to matter"
    )
    assert str(Change("accuracy", moved("free", 0.01, 0.05), False, True)) == (
        "no clear change in accuracy (95 % limit 0.06)"
    )
    found = find_changes([moved("free", 0.03, 0.01)], [TASK], "", smallest=0.05)[TASK]["accuracy"]
    assert found.is_clear and found.is_small
    # The point alone is no bound: this one may be as large as .07.
    found = find_changes([moved("free", 0.04, 0.03)], [TASK], "", smallest=0.05)[TASK]["accuracy"]
    assert found.is_claimed and str(found) == "accuracy up 0.040"


def holm_by_adjusted_p(p):
    """The same by adjusted p (max over the smaller ones of their p times how many remain)."""
    known = sorted(value for value in p if not math.isnan(value))
    adjusted = {
        value: max(known[i] * (len(known) - i) for i in range(known.index(value) + 1))
        for value in known
    }
    return [not math.isnan(value) and adjusted[value] <= 0.05 for value in p]


def test_the_family_is_held_as_by_adjusted_p():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 9):
        for _ in range(40):
            p = [float(v) for v in rng.uniform(0, 0.06, size)] + [math.nan]
            assert _hold_family(p) == holm_by_adjusted_p(p)
    assert _hold_family([0.03, 0.03]) == [False, False]
    assert _hold_family([0.01, 0.04]) == [True, True]


def exchanged_items(rng, n=60):
    """Items of two models that do not differ: each problem's pair of results in random order."""
    metrics = (
        *(("accuracy", way, "accuracy", 0.6) for way in ("free", "forced", "direct")),
        (DECIDES, RELIANCE.condition, RELIANCE.metric, 0.5),
    )
    return [
        Item(
            probe=probe, task=task, example=f"e{at}", problem=f"p{at}", condition=condition,
            metric=metric, value=float(rng.random() < rate), writer=reader, reader=reader,
        )
        for task in ("one", "two")
        for probe, condition, metric, rate in metrics
        for at in range(n)
        for reader in ("base", "post")
    ]  # fmt: skip


def test_a_headline_claims_a_change_in_one_of_twenty_pairs_without_any():
    rng = np.random.default_rng(1)
    n_pairs, n_claims, n_single = 200, 0, 0
    for _ in range(n_pairs):
        rows = summarise(
            exchanged_items(rng), pair="a -> a", chance={"one": 0.1, "two": 0.1}, seed=0,
            n_boot=400, **statistics_of(("accuracy", DECIDES)),
        )  # fmt: skip
        found = find_changes(rows, ("one", "two"), "", smallest=0.0)
        changes = [change for by_name in found.values() for change in by_name.values()]
        assert len(changes) == 8
        n_claims += any(change.is_clear for change in changes)
        n_single += any(change.row.p < 0.05 for change in changes)
    # 5 % and what 200 pairs leave open (two standard errors); single tests claim far more often.
    assert n_claims / n_pairs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_pairs)
    assert n_single / n_pairs > 0.15
