"""Answers that begin alike: each is scored with what ends it, so that they exclude each other."""

import math

import pytest
import torch
from conftest import make_hf, save_tiny

from interp.chains.answer_scoring import read_answers
from interp.chains.chain import encode_layout, find_answer_ends
from interp.chains.texts import encode
from interp.chains.trace_writing import gold_traces
from interp.engine import Branch, score_branches
from interp.models import load_model
from interp.tasks import make_task

CHAIN = {"A": "1", "1": "8", "8": "<eos>"}
"""The reader below writes after each of these words this one, whatever came before."""


@pytest.fixture(scope="module")
def certain(tmp_path_factory):
    """A reader that is certain to answer "1 8": what follows depends on the last word alone."""
    from interp.organisms.worlds.arith.problems import WORDS

    vocabulary = list(WORDS.vocabulary)
    size = -(-len(vocabulary) // 8) * 8
    folder = save_tiny(tmp_path_factory.mktemp("certain"), hidden_size=size)
    model = make_hf(hidden_size=size, tie_word_embeddings=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size)[: len(vocabulary)])
        for word, after in CHAIN.items():
            model.lm_head.weight[vocabulary.index(after), vocabulary.index(word)] = 3.0
    model.save_pretrained(folder)
    return load_model(folder)


def read(model, answers, candidates=()):
    task = make_task("arith/fresh", n=1, seed=0)
    layout = encode_layout(model.tokenizer, task.layout)
    (trace,) = gold_traces(model.tokenizer, task)
    ids = [encode(model.tokenizer, answer) for answer in answers]
    choices = tuple(encode(model.tokenizer, one) for one in candidates)
    edits = [[(chain, one) for one in ids] for chain in (None,)]
    (scores,) = read_answers(
        model, layout, [trace.prompt_ids], [trace.steps], edits,
        candidates=[choices] if choices else (),
    )  # fmt: skip
    return scores


@pytest.mark.parametrize(
    ("answers", "best"),
    [(("1", "1 8"), 1), (("1 8", "1 8 8"), 0), (("8", "1 8", "1"), 1), (("1 8 1", "1", "1 8"), 2)],
)
def test_the_beginning_of_the_right_answer_does_not_beat_it(certain, answers, best):
    scores = read(certain, answers, candidates=answers)
    logprobs = [score.logprob for score in scores]
    assert logprobs[best] == pytest.approx(0.0, abs=0.01)
    assert all(value < -10 for at, value in enumerate(logprobs) if at != best)
    assert {score.choice for score in scores} == {best}
    assert [score.greedy for score in scores] == [at == best for at in range(len(answers))]
    # The same numbers, whether they are read as targets or as candidates.
    assert scores[0].candidates == pytest.approx(logprobs, abs=1e-4)


def test_answers_exclude_each_other(tiny):
    """P(1 and its end) and P(1 x and its end) for all x add up to less than P(1)."""
    words = [word for word in tiny.tokenizer.get_vocab() if word != "<eos>"]
    alone, *longer = read(tiny, ["1", *(f"1 {word}" for word in words)])
    total = math.exp(alone.logprob) + sum(math.exp(score.logprob) for score in longer)
    task = make_task("arith/fresh", n=1, seed=0)
    (trace,) = gold_traces(tiny.tokenizer, task)
    text = trace.prompt_ids + encode(tiny.tokenizer, "A")
    ids = torch.tensor([text])
    with torch.no_grad():
        first = tiny.hf(ids).logits[0, -1].softmax(-1)[encode(tiny.tokenizer, "1")[0]]
    assert math.exp(alone.logprob) < total < float(first)


def test_single_tokens_are_told_apart_by_themselves(certain):
    """No word is the beginning of another, so candidates of one word need no end."""
    (score,) = read(certain, ["1"], candidates=("1", "8", "3"))
    assert score.choice == 0 and score.posterior(0) > 0.99
    assert score.logprob < -10  # as an answer of its own "1" is wrong all the same


@pytest.mark.parametrize("name", ["qwen3", "deepseek_v3"])
def test_the_ends_of_an_answer_in_a_real_tokenizer(data_folder, name):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(data_folder / "tokenizers" / name)
    ends = find_answer_ends(tokenizer, encode(tokenizer, ".\n"))
    texts = [tokenizer.decode([token]) for token in ends]
    assert texts[0] == ".\n" and len(set(ends)) == len(ends)
    assert tokenizer.eos_token_id in ends
    assert all(text.startswith(".\n") for text in texts if text != tokenizer.eos_token)
    # After worked examples that are set apart by a blank line the mark is another token.
    (joined,) = encode(tokenizer, ".\n\n")
    assert joined in ends and joined != ends[0]
    # ".5" goes on with a digit: 18 does not end there. Neither does a stop that "\n" may follow.
    assert not any(text.startswith(".") and text[1:2].isdigit() for text in texts)
    assert encode(tokenizer, ".")[0] not in ends
    numbers = find_answer_ends(tokenizer, encode(tokenizer, "."))
    assert not any(tokenizer.decode([t])[1:2].isalnum() for t in numbers[:-1])


def test_any_end_counts_and_alone_it_is_that_token(tiny):
    prefix, suffix = [1, 5, 6, 7], (8, 9)
    branches = [Branch(3, suffix), Branch(3, suffix, ends=(9, 4)), Branch(3, suffix, ends=(4, 10))]
    plain, both, others = score_branches(tiny, [prefix], [branches])[0]
    with torch.no_grad():
        p = tiny.hf(torch.tensor([[1, 5, 6, 8]])).logits[0, -1].softmax(-1)
    assert float(plain.logprobs[1].exp()) == pytest.approx(float(p[9]), rel=1e-4)
    assert float(both.logprobs[1].exp()) == pytest.approx(float(p[9] + p[4]), rel=1e-4)
    assert float(others.logprobs[1].exp()) == pytest.approx(float(p[4] + p[10]), rel=1e-4)
    assert float(both.logprobs[0]) == pytest.approx(float(plain.logprobs[0]), abs=1e-5)
    likeliest = int(p.argmax())
    likely = Branch(3, suffix, ends=(likeliest, 4))
    assert bool(score_branches(tiny, [prefix], [[likely]])[0][0].greedy[1])
    with pytest.raises(ValueError, match="the ends of branch 0"):
        score_branches(tiny, [prefix], [[Branch(3, suffix, ends=(tiny.d_vocab,))]])
