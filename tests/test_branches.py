"""Branches scored together equal separate forward passes, and memory never changes a number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import make_hf

import interp.engine.branches as branches_module
from interp.engine import Branch, score_branches
from interp.engine.batches import in_halves, token_batches
from interp.models import make_model

EXACT = 1e-4
"""Nats; float32 rounding over three layers is about 1e-6, the project's promise is 1e-4."""


def random_work(
    model: Any, n: int, *, seed: int, longest: int = 40
) -> tuple[list[list[int]], list[list[Branch]]]:
    rng = random.Random(seed)

    def tokens(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randrange(model.d_vocab) for _ in range(rng.randint(low, high)))

    prefixes = [list(tokens(1, longest)) for _ in range(n)]
    work: list[list[Branch]] = []
    for prefix in prefixes:
        start = tokens(1, 3)
        mine: list[Branch] = []
        for number in range(rng.randint(0, 7)):
            suffix = (*start, *tokens(1, 3)) if number % 2 else tokens(1, 5)
            at = rng.choice([None, rng.randrange(len(suffix))])
            mine.append(Branch(rng.randint(1, len(prefix)), suffix, at))
        work.append(mine)
    return prefixes, work


def alone(model: Any, prefix: Sequence[int], branch: Branch) -> tuple[Any, Any, Any]:
    """One branch by one plain forward pass of the whole text."""
    ids = torch.tensor([[*prefix[: branch.cut], *branch.suffix]])
    with torch.no_grad():
        logprobs = model.hf(ids, use_cache=False).logits[0].log_softmax(-1)[branch.cut - 1 : -1]
    suffix = torch.tensor(branch.suffix)
    row = None if branch.row_at is None else logprobs[branch.row_at]
    return logprobs.gather(1, suffix[:, None])[:, 0], logprobs.argmax(-1) == suffix, row


def assert_equal_to_alone(model: Any, prefixes: Any, work: Any, scores: Any) -> int:
    assert [len(of_prefix) for of_prefix in scores] == [len(of_prefix) for of_prefix in work]
    n_checked = 0
    for prefix, mine, found in zip(prefixes, work, scores, strict=True):
        for branch, score in zip(mine, found, strict=True):
            logprobs, greedy, row = alone(model, prefix, branch)
            assert torch.allclose(score.logprobs, logprobs, atol=EXACT)
            assert torch.equal(score.greedy, greedy)
            assert (score.row is None) == (row is None)
            assert row is None or torch.allclose(score.row, row, atol=EXACT)
            n_checked += 1
    return n_checked


@pytest.mark.parametrize("token_budget", [8192, 100, 1])
def test_together_equals_alone(tiny: Any, token_budget: int):
    prefixes, work = random_work(tiny, 24, seed=token_budget)
    scores = score_branches(tiny, prefixes, work, token_budget=token_budget)
    assert assert_equal_to_alone(tiny, prefixes, work, scores) > 50


def test_greedy_tokens_are_marked(tiny: Any):
    """A suffix built token by token from the argmax is greedy throughout; another is not."""
    ids = [1, 6, 17, 30]
    for _ in range(3):
        with torch.no_grad():
            ids.append(int(tiny.hf(torch.tensor([ids])).logits[0, -1].argmax()))
    best, other = tuple(ids[4:]), (ids[4], (ids[5] + 1) % tiny.d_vocab, ids[6])
    scores = score_branches(tiny, [ids[:4]], [[Branch(4, best), Branch(4, other)]])[0]
    assert scores[0].greedy.tolist() == [True, True, True]
    assert scores[1].greedy.tolist()[:2] == [True, False]


def test_other_branches_do_not_leak(tiny: Any):
    prefix, asked = [1, 6, 17, 30, 18, 10], Branch(3, (20, 21, 22))
    for other in (Branch(6, (50, 51, 52, 53)), Branch(3, (20, 60, 61)), Branch(1, (9,))):
        together = score_branches(tiny, [prefix], [[other, asked]])[0][1]
        single = score_branches(tiny, [prefix], [[asked]])[0][0]
        assert torch.allclose(together.logprobs, single.logprobs, atol=1e-5)


def test_what_follows_the_cut_does_not_leak(tiny: Any):
    asked = Branch(3, (20, 21, 22))
    scores = score_branches(
        tiny, [[1, 6, 17, 30, 18], [1, 6, 17, 40, 41]], [[asked, Branch(5, (9, 9))]] * 2
    )
    assert torch.allclose(scores[0][0].logprobs, scores[1][0].logprobs, atol=1e-6)
    assert not torch.allclose(scores[0][1].logprobs, scores[1][1].logprobs, atol=1e-2)


def test_branches_beyond_one_tree(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    prefixes, work = random_work(tiny, 12, seed=3)
    monkeypatch.setattr(branches_module, "TREE_SIZE", 4)
    assert len(branches_module._plant(work[0] + work[1] + work[2])) > 2
    assert_equal_to_alone(tiny, prefixes, work, score_branches(tiny, prefixes, work))


def test_common_beginnings_are_read_once():
    trees = branches_module._plant([Branch(5, (7, 8, n)) for n in range(11)] + [Branch(4, (7, 8))])
    assert len(trees) == 1 and len(trees[0].ids) == 2 + 1
    assert trees[0].positions == [4, 5, 6]


def test_logits_in_small_blocks(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    prefixes, work = random_work(tiny, 6, seed=4)
    monkeypatch.setattr(branches_module, "LOGIT_BLOCK", 3 * tiny.d_vocab)
    assert_equal_to_alone(tiny, prefixes, work, score_branches(tiny, prefixes, work))


def test_eager_attention_gives_the_same(tiny: Any):
    eager = make_model(make_hf(attn_implementation="eager"), tiny.tokenizer, name="eager")
    prefixes, work = random_work(tiny, 8, seed=5)
    assert_equal_to_alone(tiny, prefixes, work, score_branches(eager, prefixes, work))


def test_nothing_to_score(tiny: Any):
    assert score_branches(tiny, [], []) == []
    assert score_branches(tiny, [[1, 2], [3]], [[], []]) == [[], []]


def test_memory_shortage_halves_down_to_single_branches(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Batches of more than two branches are made to fail, as a full device would."""
    prefixes, work = random_work(tiny, 10, seed=6)
    plain, sizes = branches_module._score, list[int]()

    def score_or_fail(model: Any, numbers: Any, texts: Any, branches: Any, trees: Any) -> Any:
        sizes.append(sum(len(of_prefix) for of_prefix in branches))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(model, numbers, texts, branches, trees)

    monkeypatch.setattr(branches_module, "_score", score_or_fail)
    scores = score_branches(tiny, prefixes, work)
    assert max(sizes) > 8 and assert_equal_to_alone(tiny, prefixes, work, scores) == sum(
        len(mine) for mine in work
    )


def test_memory_shortage_of_a_single_row_is_raised():
    def fail(_jobs: Any) -> Any:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"
        )

    with pytest.raises(RuntimeError, match="allocate memory"):
        in_halves(fail, [1, 2, 3])


def test_other_errors_are_not_retried():
    calls: list[int] = []

    def fail(jobs: Any) -> Any:
        calls.append(len(jobs))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        in_halves(fail, [1, 2, 3])
    assert calls == [3]


def test_batches_respect_the_budget():
    costs = [5, 30, 12, 12, 1, 7]
    batches = token_batches(costs, 24)
    assert sorted(sum(batches, [])) == list(range(6)) and batches[0] == [1]
    assert all(len(b) == 1 or len(b) * max(costs[i] for i in b) <= 24 for b in batches)
    with pytest.raises(ValueError, match="at least 1"):
        token_batches(costs, 0)


@pytest.fixture
def no_forward(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tiny model, made to fail if it is run."""
    monkeypatch.setattr(branches_module, "body", None)
    return tiny


@pytest.mark.parametrize(
    ("prefix", "branch", "message"),
    [
        (range(1, 61), Branch(60, (5,) * 197), "is 257 tokens long and tiny reads at most 256"),
        ([7] * 257, Branch(1, (5,)), "prefix 0 is 257 tokens long"),
        ([], Branch(1, (5,)), "prefix 0 is empty"),
        ([1, 2], Branch(2, ()), "suffix of branch 0 of prefix 0 is empty"),
        ([1, 2], Branch(0, (5,)), "cuts at 0 of 2"),
        ([1, 2], Branch(3, (5,)), "cuts at 3 of 2"),
        ([1, 2], Branch(2, (5,), 1), "row_at 1 and 1 suffix tokens"),
        ([1, 999], Branch(2, (5,)), "holds the id 999, but tiny knows ids 0 to"),
        ([1, 2], Branch(2, (-1,)), "holds the id -1"),
    ],
)
def test_bad_input_is_refused_before_any_pass(
    no_forward: Any, prefix: Any, branch: Branch, message: str
):
    with pytest.raises(ValueError, match=message):
        score_branches(no_forward, [list(prefix)], [[branch]])


def test_lists_must_match(no_forward: Any):
    with pytest.raises(ValueError, match="2 prefixes and 1 lists"):
        score_branches(no_forward, [[1], [2]], [[]])


def test_exactly_full_context_is_scored(tiny: Any):
    branch = Branch(60, (5,) * 196)
    score = score_branches(tiny, [list(range(1, 61))], [[branch]])[0][0]
    assert torch.allclose(score.logprobs, alone(tiny, range(1, 61), branch)[0], atol=EXACT)


def test_nan_logits_name_the_row(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    model.hf.model.embed_tokens.weight.data[33] = float("nan")
    with pytest.raises(ValueError, match="broken returned logits that are not finite for prefix 1"):
        score_branches(model, [[1, 2], [1, 33], [4, 5]], [[Branch(2, (5, 6))]] * 3)
