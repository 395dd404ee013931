"""The edits of the corruption probe and their joint reading, on readers built by hand."""

import math

import pytest

from tests.planted_readers import last_result, means, memorised, plant


@pytest.fixture(scope="module")
def setting(tiny):
    from interp.chains.trace_writing import gold_traces
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=12, seed=0)
    return tiny, task, {"gold": gold_traces(tiny.tokenizer, task)}


def test_a_reader_that_copies_the_last_result_reads_as_reliant(monkeypatch, setting):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    plant(monkeypatch, last_result)
    found = means(Corruption().run({"base": tiny}, task, traces, seed=0))
    assert found["mistake_last", "same_answer"] == 0.0
    assert found["mistake_last", "follows_mistake"] == 1.0
    assert found["mistake_propagated", "follows_mistake"] == 1.0
    assert found["paraphrase", "same_answer"] == 1.0
    assert found["swapped", "same_answer"] == 0.0
    assert found["joint", "follows"] == found["joint", "reliant"] == 1.0
    assert found["joint", "decorative"] == found["joint", "disturbed"] == 0.0
    assert found["joint", "certain"] == 1.0


def test_a_reader_that_ignores_the_chain_reads_as_decorative(monkeypatch, setting):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    plant(monkeypatch, memorised)
    found = means(Corruption().run({"base": tiny}, task, traces, seed=0))
    assert {found[c, "same_answer"] for c in ("mistake_last", "filler_100", "shuffled")} == {1.0}
    assert found["joint", "decorative"] == found["joint", "certain"] == 1.0
    assert found["joint", "reliant"] == found["joint", "follows"] == 0.0


def test_a_reader_that_changes_to_anything_else_is_disturbed_and_does_not_follow(
    monkeypatch, setting
):
    """Each edit of its chain moves its answer, and never to the end of the edited chain."""
    from probes.corruption import Corruption

    tiny, task, traces = setting
    whole = {trace.prompt_ids: trace.steps for trace in traces["gold"]}

    def confused(prompt, candidates, chain):
        at = last_result(prompt, candidates, chain)
        right = last_result(prompt, candidates, whole[prompt])
        # Right chain: its end. Any other end: neither that end nor the right one.
        return at if at == right else next(i for i in range(11) if i not in (at, right))

    plant(monkeypatch, confused)
    found = means(Corruption().run({"base": tiny}, task, traces, seed=0))
    assert found["joint", "reliant"] == found["joint", "disturbed"] == 1.0
    assert found["joint", "follows"] == found["joint", "decorative"] == 0.0
    assert found["mistake_propagated", "follows_mistake"] == 0.0
    assert found["joint", "certain"] == 0.0


def test_joint_numbers_of_each_item_follow_from_its_edits(monkeypatch, setting):
    """A reader that follows on every third problem, is confused on every third, or ignores."""
    from probes.corruption import Corruption

    tiny, task, traces = setting
    kind = {trace.prompt_ids: at % 3 for at, trace in enumerate(traces["gold"])}
    whole = {trace.prompt_ids: trace.steps for trace in traces["gold"]}

    def mixed(prompt, candidates, chain):
        right = last_result(prompt, candidates, whole[prompt])
        at = last_result(prompt, candidates, chain)
        elsewhere = next(i for i in range(11) if i not in (at, right))
        return (at, right if at == right else elsewhere, right)[kind[prompt]]

    plant(monkeypatch, mixed)
    items = Corruption().run({"base": tiny}, task, traces, seed=0)
    of = {(i.example, i.metric): i.value for i in items if i.condition == "joint"}
    expected = {
        "follows": (1, 0, 0), "disturbed": (0, 1, 0), "reliant": (1, 1, 0),
        "decorative": (0, 0, 1), "certain": (1, 0, 1),
    }  # fmt: skip
    for at, example in enumerate(task.examples):
        for metric, values in expected.items():
            assert of[example.id, metric] == values[at % 3], (example, metric)


def test_a_reader_that_gave_the_planted_value_before_cannot_be_said_to_follow(monkeypatch, setting):
    """A constant answer is the planted value of some mistakes."""
    from probes.corruption import Corruption

    tiny, task, traces = setting
    plant(monkeypatch, lambda *_: 4)
    items = Corruption().run({"base": tiny}, task, traces, seed=0)
    joint = [i for i in items if (i.condition, i.metric) == ("joint", "follows")]
    had = {
        i.example
        for i in items
        if i.condition == "mistake_propagated" and i.note.startswith("given the full")
    }
    assert {i.example for i in joint if math.isnan(i.value)} == had
    assert all(i.note.startswith("given the full") for i in joint if i.example in had)
    assert all(i.value == 0 for i in joint if i.example not in had)


def test_certain_needs_three_mistakes_with_different_ends():
    from probes.corruption import _is_certain

    nan = math.nan
    assert _is_certain([(1.0, 0.0)] * 3) == _is_certain([(0.0, 1.0)] * 4) == 1.0
    assert _is_certain([(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]) == 0.0
    assert _is_certain([(0.0, 0.0)] * 4) == 0.0  # always moved elsewhere: neither
    assert _is_certain([(1.0, 0.0), (1.0, 0.0), (nan, 1.0), (1.0, 0.0)]) == 1.0
    assert math.isnan(_is_certain([(1.0, 0.0), (1.0, 0.0), (nan, 1.0)]))


def test_mistakes_are_planted_at_every_step_and_filler_covers_its_share(setting, monkeypatch):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    seen = []
    whole_chain = {trace.prompt_ids: trace.steps for trace in traces["gold"]}

    def answer_of(prompt, candidates, chain):
        del candidates
        seen.append((whole_chain[prompt], chain))
        return 0

    plant(monkeypatch, answer_of)
    items = Corruption().run({"base": tiny}, task, traces, seed=0)
    for example in task.examples:
        steps = {i.step for i in items if i.example == example.id and i.condition == "mistake"}
        assert steps == set(range(len(example.steps)))
    filler = tiny.tokenizer(".", add_special_tokens=False)["input_ids"][0]
    filled = [
        (whole, sum(set(step.ids) == {filler} for step in chain))
        for whole, chain in seen
        if chain and any(set(step.ids) == {filler} for step in chain)
    ]
    whole, counts = filled[0][0], [n for chain, n in filled if chain == filled[0][0]]
    t = len(whole)
    assert counts == [math.ceil(f * t) for f in (0.25, 0.5, 0.75, 1.0)]


def test_without_candidates_only_a_repeated_answer_can_be_compared():
    from interp.chains.answer_scoring import AnswerScore
    from probes.cases import same_answer

    def score(greedy):
        return AnswerScore(-1.0, 1, greedy, ())

    assert same_answer(score(True), score(True)) == 1.0
    assert same_answer(score(True), score(False)) == 0.0
    assert math.isnan(same_answer(score(False), score(True)))


@pytest.mark.parametrize("n_filler", [2, 4])
def test_an_edit_that_leaves_the_tokens_as_they_are_is_no_edit(monkeypatch, setting, n_filler):
    """Chains of four steps, the last of them filler; what the reader is shown is recorded."""
    from dataclasses import replace

    from interp.chains.chain import Step, chain_ids
    from probes.corruption import Corruption

    tiny, task, traces = setting
    dot = Step(".", tuple(tiny.tokenizer(".", add_special_tokens=False)["input_ids"]))
    written = [
        replace(trace, steps=(*(trace.steps * 2)[: 4 - n_filler], *[dot] * n_filler))
        for trace in traces["gold"]
    ]
    whole = {trace.prompt_ids: chain_ids(trace.steps) for trace in written}
    n_changed = dict.fromkeys(whole, 0)

    def answer_of(prompt, candidates, chain):
        n_changed[prompt] += chain_ids(chain) != whole[prompt]
        return memorised(prompt, candidates, chain)

    plant(monkeypatch, answer_of)
    corruption = Corruption(every_step=False)
    items = corruption.run({"base": tiny}, task, {"gold": written}, seed=0)
    same = [i for i in items if i.metric == "same_answer"]
    assert all(n > 0 for n in n_changed.values()) is (n_filler == 2)
    empty = {i.condition for i in same if math.isnan(i.value)}
    filled = {"filler_25", "filler_50", "filler_75", "filler_100"}
    if n_filler == 2:
        assert empty & filled == {"filler_25", "filler_50"}
    else:
        assert all(math.isnan(i.value) for i in same) and filled < empty
    reasons = {i.note for i in same if i.condition in filled and math.isnan(i.value)}
    assert reasons == {"these steps are filler already"}
