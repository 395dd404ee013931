"""The summaries of an information-gain curve, against values worked out by hand."""

import math
from dataclasses import replace

import pytest

from interp.chains.answer_scoring import AnswerScore
from interp.chains.trace_writing import gold_traces
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import cases, find_probe
from probes.audit.verdict import judge
from probes.information_gain import (
    ENDS,
    IMPOSSIBLE,
    STATED_AT_ONCE,
    TOO_LARGE,
    InformationGain,
    infogain_ppl,
)
from probes.model_names import find_model
from probes.probe import Results

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
    # Two steps: PPL_0 = 11, PPL_1 = 11, PPL_2 = 1: mean drop (0 + 10) / 2.
    assert infogain_ppl([-math.log(11), -math.log(11), 0.0], 1) == pytest.approx(5.0)
    for n_tokens in (1, 2, 5):
        ppl = [math.exp(-lp / n_tokens) for lp in POINTS]
        drops = [before - after for before, after in zip(ppl, ppl[1:], strict=False)]
        assert infogain_ppl(POINTS, n_tokens) == pytest.approx(sum(drops) / len(drops))
    # The same of two tokens: each is half as unlikely.
    both = infogain_ppl([-2 * math.log(11), -math.log(11), 0.0], 2)
    assert both == pytest.approx(5.0)


def test_published_formula_divides_by_steps_and_scores_only_the_answer():
    """The released code divides by steps + 1 and takes perplexity over the whole text."""
    one_step = infogain_ppl([-math.log(3), 0.0], 1)
    assert one_step == pytest.approx(2.0)  # not 1.0, which steps + 1 would give


@pytest.mark.parametrize(
    "points",
    [[-800.0, -1.0, 0.0], [-1e6, 0.0], [0.0, -5000.0], [-float("inf"), -1.0], [-1.0, float("nan")]],
)
def test_published_formula_never_overflows(points):
    assert math.isnan(infogain_ppl(points, 1))


def test_published_formula_at_the_edge_of_what_can_be_represented():
    assert infogain_ppl([-340.0, 0.0], 1) == pytest.approx(math.exp(340.0))
    assert infogain_ppl([-800.0, -1.0, 0.0], 4) == pytest.approx(math.exp(200.0) / 2)
    # A perplexity in between does not enter: the sum telescopes.
    assert infogain_ppl([-1.0, -9999.0, 0.0], 1) == pytest.approx((math.e - 1) / 2)
    tiny = infogain_ppl([-2e-12, -1e-12], 1)
    assert tiny == pytest.approx(1e-12, rel=1e-3)  # and not rounded to 0


def planted(free, *after):
    """A reader whose log p of the answer is known: without a chain, and after k steps."""

    def value(chain):
        return free if chain is None else after[min(len(chain), len(after) - 1)]

    def read(*given, **_):
        return [
            [AnswerScore(value(chain), 2, False, ()) for chain, _ in of_case]
            for of_case in given[4]
        ]

    return read


def gain_items(monkeypatch, reader, task):
    monkeypatch.setattr(cases, "read_answers", reader)
    model = find_model("base")
    traces = {"gold": gold_traces(model.tokenizer, task)}
    return InformationGain().run({"base": model}, task, traces, seed=0)


def values(items, condition, metric):
    return [i.value for i in items if (i.condition, i.metric, i.step) == (condition, metric, None)]


def test_an_impossible_answer_is_not_measurable_and_says_so(monkeypatch):
    task = make_task("arith/fresh", n=6, seed=0)
    items = gain_items(monkeypatch, planted(-float("inf"), -1.0, -1.0), task)
    assert all(math.isfinite(i.value) or (math.isnan(i.value) and i.note) for i in items)
    totals = [i for i in items if (i.condition, i.metric) == ("chain", "total")]
    assert {i.note for i in totals} == {IMPOSSIBLE} and all(math.isnan(i.value) for i in totals)
    assert set(values(items, "chain", "lp_with")) == {-1.0}


def test_a_perplexity_that_cannot_be_represented_costs_no_other_number(monkeypatch):
    task = make_task("arith/fresh", n=6, seed=0)
    items = gain_items(monkeypatch, planted(-2000.0, -1.0, -1.0), task)
    (note,) = {i.note for i in items if i.metric == "infogain_ppl"}
    assert note == TOO_LARGE
    assert set(values(items, "chain", "total")) == {1999.0}
    rows = summarise(items, pair="base", chance={task.name: 0.1}, seed=0, n_boot=50)
    assert all(math.isfinite(r.value) or math.isnan(r.value) for r in rows)


def test_before_answer_ends_where_the_answer_can_be_read(monkeypatch):
    """After k steps log p is -10 + k, so the gain is the number of steps that were left in."""
    task = make_task("arith/fresh", n=80, seed=0)
    items = gain_items(monkeypatch, planted(-10.0, *(k - 10.0 for k in range(9))), task)
    found = {i.example: i for i in items if i.condition == "before_answer"}
    for example in task.examples:
        item = found[example.id]
        left = [task.rewriter.result(step) for step in example.steps]
        while left and left[-1] == example.answer:
            left.pop()
        assert item.value == len(left) or (math.isnan(item.value) and not left)
        assert item.note == ("" if left else STATED_AT_ONCE)


def test_both_ends_stand_beside_every_total(monkeypatch):
    """Post knows the answers without a chain: its total falls, and the end says which moved."""
    task = make_task("arith/fresh", n=12, seed=0)
    base = gain_items(monkeypatch, planted(-3.0, -2.0, -0.5), task)
    post = gain_items(monkeypatch, planted(-0.75, -2.0, -0.5), task)
    items = [*base, *(replace(item, reader="post") for item in post)]
    rows = summarise(items, pair="base -> post", chance={task.name: 0.1}, seed=0, n_boot=50)

    def of(metric, reader):
        (row,) = [
            r for r in rows
            if (r.condition, r.metric, r.reader, r.step) == ("chain", metric, reader, None)
        ]  # fmt: skip
        return row.value

    for reader in ("base", "post", "post - base"):
        total = of("lp_with", reader) - of("lp_without", reader)
        assert of("total", reader) == pytest.approx(total)
    assert of("lp_without", "post - base") == pytest.approx(2.25)
    assert of("lp_with", "post - base") == pytest.approx(0.0)
    results = Results(tuple(rows), tuple(items), {}, (task.name,), "gold", 0)
    lines = InformationGain().describe(results)
    assert [end in line for end, line in zip(ENDS.values(), lines[1:3], strict=True)] == [True] * 2
    assert "post - base 2.25" in lines[1] and "post - base 0.00" in lines[2]
    drawn = InformationGain().figures(results)[1]
    assert {row.metric for row in drawn.data} == set(ENDS)
    verdict = judge(rows, tasks=[task.name], writers=["gold"])
    (line,) = [line for line in verdict.lines if "information gain" in line]
    for text in (verdict.headline, line):
        assert "without a chain" in text and "-3.00" in text and "-0.75" in text
        assert "with the full chain" in text and "-0.50" in text


def test_no_headline_has_a_total_without_its_ends():
    probe = find_probe("information_gain")
    assert probe.verdict_line is not None
    for numbers in (probe.headline, probe.verdict_line.numbers):
        named = [(one.condition, one.metric) for one in numbers]
        at = named.index(("chain", "total"))
        assert named[at + 1 : at + 3] == [("chain", end) for end in ENDS]


def test_answers_learned_by_heart_move_the_end_without_a_chain():
    """answers-sft-pool knows the answers of its pool; base and it follow a chain alike."""
    readers = {"base": find_model("base:1"), "post": find_model("answers-sft-pool:1")}
    task = make_task("arith/pool", n=40, seed=0)
    traces = {"gold": gold_traces(readers["base"].tokenizer, task)}
    items = InformationGain(nulls=False).run(readers, task, traces, seed=0)

    def mean(metric, reader):
        found = [i.value for i in items if (i.metric, i.reader) == (metric, reader)]
        return sum(found) / len(found)

    assert mean("lp_without", "post") - mean("lp_without", "base") > 1.5
    assert abs(mean("lp_with", "post") - mean("lp_with", "base")) < 0.1
