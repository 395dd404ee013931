"""CoT-decoding: Delta by hand, from plain calls of the model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from interp.chains.completions import Completion
from interp.methods.decoding.cot_decoding import (
    DecodedPath,
    choose_by_sum,
    choose_by_vote,
    choose_likeliest,
    choose_path,
    decode_paths,
    mean_margin,
)
from interp.methods.decoding.pass_at_k import Samples
from interp.models import load_model
from interp.organisms.zoo import organism_path
from interp.tasks.registry import make_task

K = 4


@pytest.fixture(scope="module")
def base():
    return load_model(organism_path("base", 0))


@pytest.fixture(scope="module")
def task():
    return make_task("arith/fresh", n=12, seed=3)


def plain_logits(model, ids):
    with torch.no_grad():
        return model.hf(input_ids=torch.tensor([list(ids)])).logits[0].double()


def test_margin_by_hand():
    assert mean_margin([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]) == pytest.approx((0.2 + 0.7) / 2)
    assert math.isnan(mean_margin([]))


def test_paths_and_delta_equal_plain_calls(base, task):
    found = decode_paths(base, task, k=K)
    stop = base.tokenizer.convert_tokens_to_ids("<eos>")
    cue = base.tokenizer.convert_tokens_to_ids("A")
    for example, paths in zip(task.examples[:4], found.paths, strict=False):
        prompt = base.tokenizer(example.question, add_special_tokens=False)["input_ids"]
        firsts = plain_logits(base, prompt)[-1].topk(K).indices.tolist()
        assert [p.text.ids[0] for p in paths] == firsts
        for path in paths[:2]:
            ids = [path.text.ids[0]]
            while ids[-1] != stop and len(ids) < len(path.text.ids):
                ids.append(int(plain_logits(base, [*prompt, *ids])[-1].argmax()))
            assert tuple(ids) == path.text.ids
            p = plain_logits(base, [*prompt, *ids]).softmax(-1)[len(prompt) - 1 : -1]
            top = p.topk(2, dim=-1).values
            assert cue in ids
            at = len(ids) - 1 - ids[::-1].index(cue) + 1
            assert path.text.answer_span == (at, at + 1)
            assert path.delta == pytest.approx(float(top[at, 0] - top[at, 1]), abs=1e-4)
            chosen = torch.stack([p[n, token] for n, token in enumerate(ids)])
            assert path.mean_logprob == pytest.approx(float(chosen.log().mean()), abs=1e-4)
            whole = float((top[:, 0] - top[:, 1]).mean())
            assert abs(path.delta - whole) > 1e-3, "the margin of the whole text is another number"


def test_an_organism_that_can_think_is_more_certain_after_a_chain(base, task):
    found = decode_paths(base, task, k=K)
    chains = [p.delta for of in found.paths for p in of if p.text.has_chain]
    direct = [p.delta for of in found.paths for p in of if p.text.answer and not p.text.opens]
    assert len(chains) >= len(task.examples) and min(chains) > 0.9 > sum(direct) / len(direct)
    best = [choose_path(of) for of in found.paths]
    greedy = [of[0].text for of in found.paths]
    assert sum(t is not None and t.is_chain_valid is True for t in best) > len(best) / 2
    assert not any(t.is_chain_valid for t in greedy)
    assert all(rank is not None and rank > 0 for rank in found.first_chain_ranks())


def test_the_first_path_is_the_greedy_text(base, task):
    from interp.chains.completion_format import find_format
    from interp.engine import generate

    form = find_format(task, base)
    greedy = generate(base, form.prompts(), max_new_tokens=form.max_new_tokens, stop=form.stop)
    found = decode_paths(base, task, k=2)
    assert [of[0].text.ids for of in found.paths] == [one.ids for one in greedy]


def text(answer, correct=False):
    return Completion(
        ids=(1,), opens=False, steps=(), status="valid" if answer else "no answer",
        answer_span=(0, 1 if answer else 0), answer=answer, correct=correct, is_chain_valid=False,
    )  # fmt: skip


def test_best_and_summed_can_disagree_and_paths_without_answer_are_left_out():
    nan = float("nan")
    paths = [
        DecodedPath(0, text("3"), 0.5, -1.0), DecodedPath(1, text("7"), 0.8, -2.0),
        DecodedPath(2, text("3"), 0.4, -0.5), DecodedPath(3, text(""), nan, -0.1),
    ]  # fmt: skip
    best, total = choose_path(paths), choose_by_sum(paths)
    assert best is not None and best.answer == "7"
    assert total is not None and total.answer == "3"
    assert choose_likeliest(paths).answer == ""
    assert choose_path(paths[3:]) is None and choose_by_sum(paths[3:]) is None


def test_votes_take_the_commonest_answer_of_the_first_k():
    texts = tuple(text(a) for a in ("1", "2", "2", "", "1", "1"))
    samples = Samples(("e",), ("p",), (texts,))
    assert [getattr(choose_by_vote(samples, k)[0], "answer", None) for k in (3, 6)] == ["2", "1"]
    assert choose_by_vote(replace(samples, texts=((text(""),),)), 1) == [None]
    with pytest.raises(ValueError, match="1 to 6"):
        choose_by_vote(samples, 7)


def test_too_many_paths_are_refused(base, task):
    with pytest.raises(ValueError, match="first tokens"):
        decode_paths(base, task, k=base.d_vocab + 1)
