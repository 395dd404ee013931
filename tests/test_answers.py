"""Answers read through branches equal answers read by one plain forward pass per edited chain."""

import math

import pytest
import torch


@pytest.fixture(scope="module")
def setting(tiny):
    from interp.chains.chain import encode_answer, encode_layout
    from interp.chains.trace_writing import gold_traces
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=3, seed=0)
    traces = gold_traces(tiny.tokenizer, task)
    layout = encode_layout(tiny.tokenizer, task.layout)
    candidates = tuple(
        encode_answer(tiny.tokenizer, task.layout, answer) for answer in task.examples[0].candidates
    )
    return task, traces, layout, candidates


def plain_logprobs(model, ids):
    """Log-probability rows of a text, by one forward pass without cache or mask."""
    with torch.no_grad():
        logits = model.hf(torch.tensor([list(ids)])).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


def test_readings_equal_plain_forward_passes(tiny, setting):
    from interp.chains.answer_scoring import read_answers
    from interp.chains.rendering import render

    _, traces, layout, candidates = setting
    edits, expected = [], []
    for trace in traces:
        chains = [None, (), trace.steps[:1], trace.steps, traces[0].steps]
        edits.append([(chain, trace.answer_ids) for chain in chains])
        for chain in chains:
            text = render(trace.prompt_ids, chain, layout)
            full = text + trace.answer_ids + layout.answer_end
            rows = plain_logprobs(tiny, full)
            answer = rows[len(text) - 1]
            end = rows[len(text)]
            greedy = int(answer.argmax()) == full[len(text)] and int(end.argmax()) == full[-1]
            both = float(answer[full[len(text)]] + end[full[-1]])
            expected.append((answer, greedy, both))
    prompts, own = [t.prompt_ids for t in traces], [t.steps for t in traces]
    scores = read_answers(tiny, layout, prompts, own, edits, candidates=[candidates] * len(traces))
    readings = [reading for of_example in scores for reading in of_example]
    for reading, (row, greedy, both) in zip(readings, expected, strict=True):
        assert reading.logprob == pytest.approx(both, abs=1e-4)
        assert reading.n_tokens == 2
        assert reading.greedy == greedy
        found = [float(row[ids[0]]) for ids in candidates]
        assert reading.candidates == pytest.approx(found, abs=1e-4)
        assert reading.choice == max(range(len(found)), key=found.__getitem__)
        total = sum(math.exp(value) for value in found)
        share = math.exp(found[2]) / total
        assert reading.posterior(2) == pytest.approx(share, abs=1e-5)


def test_candidates_of_several_tokens_are_scored_whole(tiny, setting):
    from interp.chains.answer_scoring import read_answers
    from interp.chains.rendering import render

    _, traces, layout, candidates = setting
    trace = traces[0]
    pairs = ((candidates[1][0], candidates[2][0]), (candidates[3][0],))
    edits = [(trace.steps, pairs[0])]
    ((reading,),) = read_answers(
        tiny, layout, [trace.prompt_ids], [trace.steps], [edits], candidates=[pairs]
    )
    text = render(trace.prompt_ids, trace.steps, layout)

    def whole(ids):
        rows = plain_logprobs(tiny, text + ids + layout.answer_end)
        tokens = ids + layout.answer_end[:1]
        return sum(float(rows[len(text) - 1 + at][token]) for at, token in enumerate(tokens))

    assert reading.candidates == pytest.approx([whole(pairs[0]), whole(pairs[1])], abs=1e-4)
    assert reading.logprob == pytest.approx(whole(pairs[0]), abs=1e-4)
    assert reading.n_tokens == 3


def test_an_answer_without_tokens_is_refused(tiny, setting):
    from interp.chains.answer_scoring import read_answers

    _, traces, layout, _ = setting
    trace = traces[0]
    with pytest.raises(ValueError, match="at least one token"):
        read_answers(tiny, layout, [trace.prompt_ids], [trace.steps], [[(trace.steps, ())]])
