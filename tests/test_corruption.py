"""The edits of the corruption probe and their joint reading, on readers built by hand."""

import math

import pytest


@pytest.fixture(scope="module")
def setting(tiny):
    from interp.chains.trace_writing import gold_traces
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=12, seed=0)
    return tiny, task, {"gold": gold_traces(tiny.tokenizer, task)}


def planted(monkeypatch, answer_of):
    """Replaces the reader by a function: question, candidates, chain -> an answer's index."""
    from interp.chains.answer_scoring import AnswerScore
    from probes import cases

    def read(model, layout, prompts, chains, edits, *, candidates, progress=None):
        del model, layout, chains, progress
        found = []
        for prompt, edited, choices in zip(prompts, edits, candidates, strict=True):
            readings = []
            for chain, target in edited:
                choice = answer_of(prompt, choices, chain)
                logprobs = tuple(0.0 if at == choice else -9.0 for at in range(len(choices)))
                right = choices[choice] == target
                readings.append(AnswerScore(0.0 if right else -9.0, 1, right, logprobs))
            found.append(readings)
        return found

    monkeypatch.setattr(cases, "read_answers", read)


def last_result(prompt, candidates, chain):
    """A reader that copies the last number of the chain that it is shown (0 without any)."""
    del prompt
    numbers = {ids[0]: at for at, ids in enumerate(candidates)}
    tokens = [t for step in chain or () for t in step.ids if t in numbers]
    return numbers[tokens[-1]] if tokens else 0


def memorised(prompt, candidates, chain):
    """A reader that answers by the question alone."""
    del chain
    return sum(prompt) % len(candidates)


def means(items):
    found = {}
    for item in items:
        found.setdefault((item.condition, item.metric), []).append(item.value)
    known = {key: [v for v in values if not math.isnan(v)] for key, values in found.items()}
    assert all(known.values())
    return {key: sum(values) / len(values) for key, values in known.items()}


def test_a_reader_that_copies_the_last_result_reads_as_reliant(monkeypatch, setting):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    planted(monkeypatch, last_result)
    found = means(Corruption().run({"base": tiny}, task, traces, seed=0))
    assert found["mistake_last", "same_answer"] == 0.0
    assert found["mistake_last", "follows_mistake"] == 1.0
    assert found["mistake_propagated", "follows_mistake"] == 1.0
    assert found["paraphrase", "same_answer"] == 1.0
    assert found["swapped", "same_answer"] == 0.0
    assert found["joint", "reliant"] == 1.0
    assert found["joint", "decorative"] == 0.0


def test_a_reader_that_ignores_the_chain_reads_as_decorative(monkeypatch, setting):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    planted(monkeypatch, memorised)
    found = means(Corruption().run({"base": tiny}, task, traces, seed=0))
    assert {found[c, "same_answer"] for c in ("mistake_last", "filler_100", "shuffled")} == {1.0}
    assert found["joint", "decorative"] == 1.0
    assert found["joint", "reliant"] == 0.0


def test_mistakes_are_planted_at_every_step_and_filler_covers_its_share(setting, monkeypatch):
    from probes.corruption import Corruption

    tiny, task, traces = setting
    seen = []
    whole_chain = {trace.prompt_ids: trace.steps for trace in traces["gold"]}

    def answer_of(prompt, candidates, chain):
        del candidates
        seen.append((whole_chain[prompt], chain))
        return 0

    planted(monkeypatch, answer_of)
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


def test_early_answering_of_the_two_planted_readers(monkeypatch, setting):
    from probes.early_answering import EarlyAnswering

    tiny, task, traces = setting
    planted(monkeypatch, memorised)
    found = means(EarlyAnswering().run({"base": tiny}, task, traces, seed=0))
    assert found["cut", "aoc"] == 0.0
    assert found["cut", "et"] == 0.0
    assert found["chain_free", "same_answer"] == 1.0
    planted(monkeypatch, last_result)
    reliant = means(EarlyAnswering().run({"base": tiny}, task, traces, seed=0))
    assert reliant["cut", "aoc"] > 0.4
    assert reliant["cut", "et"] > 0.8


def test_without_candidates_only_a_repeated_answer_can_be_compared():
    from interp.chains.answer_scoring import AnswerScore
    from probes.cases import same_answer

    def score(greedy):
        return AnswerScore(-1.0, 1, greedy, ())

    assert same_answer(score(True), score(True)) == 1.0
    assert same_answer(score(True), score(False)) == 0.0
    assert math.isnan(same_answer(score(False), score(True)))
