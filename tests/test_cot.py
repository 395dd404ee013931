"""Chains and their edits, against cases worked out by hand."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from interp.chains.chain import (
    Chain,
    Step,
    count_tokens,
    cut_ids,
    encode_answer,
    encode_layout,
    encode_steps,
    step_texts,
)
from interp.chains.edits import (
    add_mistake,
    choose_donors,
    fill,
    paraphrase,
    rewrite,
    shuffle,
    truncate,
)
from interp.chains.texts import decode, encode, token_starts
from interp.organisms.worlds.arith.problems import WORDS
from interp.tasks import make_task, split_at_semicolons, split_sentences

FOUR = tuple(Step(str(k), (k,)) for k in range(4))
CHAIN_TEXTS = ("3 + 4 = 7 ;", "7 * 2 = 3 ;", "3 - 1 = 2 ;")


@pytest.fixture(scope="module")
def words() -> Any:
    return WORDS.tokenizer()


@pytest.fixture(scope="module")
def chain(words: Any) -> Chain:
    return encode_steps(words, CHAIN_TEXTS)


@pytest.fixture(scope="module")
def bytes_() -> Any:
    """A byte-level tokenizer: one token is one byte, so letters may need several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["Ġt", "he", "Ġthe", ".Ċ"]
    vocabulary = {letter: index for index, letter in enumerate([*alphabet, *merged])}
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), (".", "Ċ")]
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    built.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=built)


def test_encoding_adds_nothing(words: Any):
    assert encode(words, "<bos> Q 3 ?") == tuple(WORDS.encode("<bos> Q 3 ?"))
    assert encode(words, "") == () and decode(words, ()) == ""
    assert decode(words, encode(words, "A 3 <eos>")) == "A 3 <eos>"


def test_a_tokenizer_that_adds_bos_adds_none_here():
    from tokenizers import processors

    adding = WORDS.tokenizer()
    adding.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    assert adding("3").input_ids == [1, WORDS.ids["3"]]
    assert encode(adding, "3") == (WORDS.ids["3"],)


def test_layout_in_ids(words: Any):
    task = make_task("arith/fresh", n=1, seed=0)
    ids = encode_layout(words, task.layout)
    assert [decode(words, part) for part in (ids.think_open, ids.think_close)] == [
        "<think>",
        "</think>",
    ]
    assert (ids.answer_cue, ids.answer_end, ids.filler) == tuple(
        (WORDS.ids[word],) for word in ("A", "<eos>", ".")
    )
    with pytest.raises(ValueError, match="text for answer_cue"):
        encode_layout(words, replace(task.layout, answer_cue=""))
    assert encode_answer(words, task.layout, "7") == (WORDS.ids["7"],)
    assert encode_answer(words, task.layout, "") == ()


def test_truncate(chain: Chain):
    assert [step_texts(truncate(chain, k)) for k in range(4)] == [CHAIN_TEXTS[:k] for k in range(4)]
    for k in (-1, 4):
        with pytest.raises(ValueError, match="keeps 0 to 3"):
            truncate(chain, k)
    assert count_tokens(chain) == 18


def test_unchanged_steps_keep_their_very_tokens(words: Any):
    odd = (Step("3 + 4 = 7 ;", (9, 9)), Step("7 * 2 = 3 ;", (8,)))
    edited = rewrite(words, odd, ["3 + 4 = 7 ;", "7 * 2 = 4 ;"])
    assert edited == (odd[0], Step("7 * 2 = 4 ;", encode(words, "7 * 2 = 4 ;")))


def test_mistake_and_paraphrase(words: Any, chain: Chain):
    task = make_task("arith/fresh", n=1, seed=0)
    (e,) = task.examples
    alone = add_mistake(words, task.rewriter, e, chain, 1, propagate=False, rng=Random(0))
    carried = add_mistake(words, task.rewriter, e, chain, 1, propagate=True, rng=Random(0))
    assert alone is not None and carried is not None
    value = int(alone[1].text.split()[4])
    assert value != 3
    assert alone == (chain[0], alone[1], chain[2])
    assert step_texts(carried)[1:] == (
        f"7 * 2 = {value} ;",
        f"{value} - 1 = {(value - 1) % 11} ;",
    )
    broken = encode_steps(words, ["so ;"])
    assert add_mistake(words, task.rewriter, e, broken, 0, propagate=True, rng=Random(0)) is None
    reworded = paraphrase(words, task.rewriter, e, chain, 2, Random(0))
    assert reworded is not None
    assert step_texts(reworded) == ("3 plus 4 is 7 ;", "7 times 2 is 3 ;", CHAIN_TEXTS[2])
    assert [len(s.ids) for s in reworded] == [6, 6, 6]
    assert paraphrase(words, task.rewriter, e, chain, 0, Random(0)) is None
    assert paraphrase(words, task.rewriter, e, broken, 1, Random(0)) is None


def test_filler_has_as_many_tokens(chain: Chain):
    filled = fill(chain, (7, 8), last=2)
    assert filled is not None and filled[0] == chain[0]
    assert [step.ids for step in filled[1:]] == [(7, 8) * 3, (7, 8) * 3]
    whole = fill((Step("a", (1, 2, 3)), Step("b", (4,))), (7, 8))
    assert whole is not None and [step.ids for step in whole] == [(7, 8, 7), (8,)]
    assert fill((), (7,)) is None
    assert fill((Step(". .", (7, 7)), Step(".", (7,))), (7,)) is None
    assert fill((Step("a", (1,)), Step(".", (7,))), (7,), last=1) is None
    assert fill((Step("a", (1,)), Step(".", (7,))), (7,), last=2) is not None
    for last, filler in ((0, (7,)), (4, (7,)), (1, ())):
        with pytest.raises(ValueError, match="replaces 1 to 3 steps"):
            fill(chain, filler, last=last)


def test_shuffle_leaves_no_step_in_place():
    orders = set()
    for seed in range(300):
        shuffled = shuffle(FOUR, Random(seed))
        assert shuffled is not None and sorted(s.ids for s in shuffled) == [s.ids for s in FOUR]
        assert all(a != b for a, b in zip(shuffled, FOUR, strict=True))
        orders.add(step_texts(shuffled))
    assert len(orders) == 9  # the derangements of four
    assert shuffle(FOUR, Random(5)) == shuffle(FOUR, Random(5))
    assert shuffle(FOUR[:1], Random(0)) is None
    assert shuffle((FOUR[0], FOUR[0]), Random(0)) is None
    assert shuffle((Step(". .", (7, 7)), Step(".", (7,))), Random(0)) is None


def test_donors():
    lengths = (2, 3, 2, 3, 0, 5)
    chains = [tuple(Step(str(k), (at, k)) for k in range(n)) for at, n in enumerate(lengths)]
    problems = ["a", "b", "c", "d", "e", "a"]
    values = [frozenset({value}) for value in ("1", "2", "3", "2", "4", "5")]
    donors = choose_donors(chains, problems, values, Random(0))
    # 3 has the answer of 1 and 4 has no chain; 5 is of the problem of 0.
    assert donors[0] == 2 and donors[2] == 0
    assert donors[1] in (0, 2, 5) and abs(len(chains[donors[1]]) - 3) == 1
    assert donors[4] is None and donors[5] in (1, 3)
    assert choose_donors(chains[:1], ["a"], values[:1], Random(0)) == [None]


def test_a_donor_shares_no_value_at_all():
    chains = [(Step(str(at), (at,)), *FOUR[1:n]) for at, n in enumerate((2, 2, 2, 4))]
    # Written, gold and last result: 0 and 1 share the gold answer, 0 and 2 only the last result.
    values = [frozenset(v) for v in (("1", "7"), ("2", "7"), ("3", "1"), ("4",))]
    assert choose_donors(chains, list("abcd"), values, Random(0))[:3] == [3, 2, 1]
    same = [frozenset({"1", str(k)}) for k in range(2, 6)]
    assert choose_donors(chains, list("abcd"), same, Random(0)) == [None] * 4


def test_a_donor_has_other_tokens():
    chains = [FOUR[:2], FOUR[:2], FOUR[:3]]
    none = [frozenset[str]()] * 3
    assert choose_donors(chains, list("abc"), none, Random(0))[:2] == [2, 2]
    assert choose_donors(chains[:2], list("ab"), none[:2], Random(0)) == [None, None]


def test_cut_ids_by_words(words: Any):
    ids = encode(words, " ".join(CHAIN_TEXTS))
    assert cut_ids(words, ids, split_at_semicolons, " ") == encode_steps(words, CHAIN_TEXTS)
    unfinished = cut_ids(words, ids[:8], split_at_semicolons, " ")
    assert step_texts(unfinished) == ("3 + 4 = 7 ;", "7 *")
    assert cut_ids(words, (), split_at_semicolons, " ") == ()


def test_cut_ids_of_running_text(bytes_: Any):
    text = "First, add the two numbers.\nThen take the half of it: 3.5 is left. Fin."
    ids = encode(bytes_, text)
    assert encode(bytes_, ".\n") == (len(bytes_) - 1,)  # this token spans two steps
    steps = cut_ids(bytes_, ids, split_sentences, "")
    assert step_texts(steps) == (
        "First, add the two numbers.",
        "\nThen take the half of it: 3.5 is left. Fin.",
    )
    assert steps[0].ids[-1] == len(bytes_) - 1, "the token that spans the border stays here"
    assert tuple(token for step in steps for token in step.ids) == ids


def test_cut_ids_never_changes_what_was_generated(bytes_: Any):
    rng = Random(0)
    pieces = ["Add it up, so. ", "é ü — 北京.", " the end\n", "ok.", "\n\n", " 3.5 and more "]
    for trial in range(100):
        ids = encode(bytes_, "".join(rng.choices(pieces, k=6)))
        if trial % 2:  # not how the tokenizer itself would write it, and cut inside a letter
            ids = tuple(rng.choices(range(len(bytes_)), k=12)) + ids[: rng.randrange(len(ids))]
        steps = cut_ids(bytes_, ids, split_sentences, "")
        assert tuple(token for step in steps for token in step.ids) == ids
        assert "".join(step_texts(steps)) == decode(bytes_, ids)


def test_tokens_of_one_letter_begin_together(bytes_: Any):
    assert token_starts(bytes_, encode(bytes_, "aé the")) == [0, 1, 1, 2]
