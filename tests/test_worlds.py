"""The arithmetic world against a slow evaluator that reads the texts, not the records."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from interp.organisms.worlds.arith.problems import MODULUS, WORDS, Operation, Problem
from interp.organisms.worlds.arith.splits import POOL_DEPTHS, arith_examples, fresh, partition, pool
from tests.world_texts import write_out

EXAMPLE = Problem(3, (Operation("+", 4), Operation("*", 2)))
SPLITS = ("pool", "fresh", "cued", "uncued", "twins")


def evaluate(question: str) -> str:
    """Answer of a question, from its words, counting on fingers."""
    words = question.split()[1:-1]
    words = words[: words.index("cue")] if "cue" in words else words
    value = int(words[0])
    for sign, operand in zip(words[1::2], words[2::2], strict=True):
        if operand == "_":
            return "unk"
        if sign == "*":
            value = sum([value] * int(operand))
        for _ in range(0 if sign == "*" else int(operand)):
            value += 1 if sign == "+" else -1
        while value < 0 or value > 10:
            value += 11 if value < 0 else -11
    return str(value)


def step_is_right(step: str) -> bool:
    left, sign, right, _, result, _ = step.split()
    return evaluate(f"Q {left} {sign} {right} ?") == result


def test_the_example_of_the_documentation() -> None:
    assert EXAMPLE.question == "Q 3 + 4 * 2 ?"
    assert EXAMPLE.steps == ("3 + 4 = 7 ;", "7 * 2 = 3 ;")
    assert write_out(EXAMPLE) == (
        "<bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>"
    )
    assert write_out(EXAMPLE, direct=True) == "<bos> Q 3 + 4 * 2 ? A 3 <eos>"


@pytest.mark.parametrize("split", SPLITS)
def test_answers_equal_the_slow_evaluator(split: str) -> None:
    problems = arith_examples(split, 300, seed=3)
    assert len({p.id for p in problems}) == 300
    assert Counter(p.depth for p in problems) == {2: 100, 3: 100, 4: 100}
    for problem in problems:
        assert problem.answer == evaluate(problem.question)
        assert problem.answer in problem.candidates
        assert len(problem.steps) == problem.depth


def test_every_step_of_a_chain_is_right_and_starts_where_the_last_ended() -> None:
    for problem in arith_examples("fresh", 100):
        value = str(problem.start)
        for step in problem.steps:
            assert step_is_right(step)
            assert step.split()[0] == value
            value = step.split()[4]
        assert value == problem.answer


def test_every_operation_is_a_bijection_that_moves_something() -> None:
    operations = {op for p in fresh(0, 300) for op in p.ops}
    assert len(operations) == 10 + 10 + 9
    for op in operations:
        row = [op.apply(v) for v in range(MODULUS)]
        assert sorted(v for v in row if v is not None) == list(range(MODULUS))
        assert row != list(range(MODULUS))


def test_a_propagated_mistake_is_right_in_itself_and_ends_elsewhere() -> None:
    for problem in arith_examples("fresh", 60):
        for step in range(problem.depth):
            for value in problem.wrong_values(step):
                chain = problem.mistaken(step, value, propagate=True)
                wrong = [i for i, text in enumerate(chain) if not step_is_right(text)]
                assert wrong == [step]
                assert chain[-1].split()[4] != problem.answer
                assert chain[:step] == problem.steps[:step]


def test_a_mistake_left_alone_changes_one_word() -> None:
    for problem in arith_examples("fresh", 60):
        for step in range(problem.depth):
            value = problem.wrong_values(step)[0]
            before = " ".join(problem.steps).split()
            after = " ".join(problem.mistaken(step, value, propagate=False)).split()
            assert [i for i, w in enumerate(before) if after[i] != w] == [6 * step + 4]


def test_a_mistake_must_be_one() -> None:
    with pytest.raises(ValueError, match=r"wrong_values\(0\)"):
        EXAMPLE.mistaken(0, 7, propagate=True)
    assert EXAMPLE.mistaken(0, EXAMPLE.wrong_values(0)[0], propagate=True)
    with pytest.raises(ValueError, match="from 0 to 1"):
        EXAMPLE.mistaken(2, 0, propagate=True)


def test_paraphrase_keeps_numbers_and_length() -> None:
    assert WORDS.paraphrase("3 + 4 = 7 ;") == "3 plus 4 is 7 ;"
    for step in (s for p in arith_examples("fresh", 30) for s in p.steps):
        said = WORDS.paraphrase(step).split()
        assert len(said) == len(step.split())
        assert [w for w in said if w.isdigit()] == [w for w in step.split() if w.isdigit()]
        assert not set(said) & {"+", "-", "*", "="}


def test_a_twin_differs_in_one_word_and_shares_its_problem() -> None:
    for problem in arith_examples("fresh", 30):
        for place in range(problem.depth):
            twin = problem.missing_premise(place)
            changed = [
                new
                for old, new in zip(problem.question.split(), twin.question.split(), strict=True)
                if old != new
            ]
            assert changed == ["_"]
            assert twin.problem_id == problem.problem_id
            assert twin.id != problem.id
            assert twin.answer == "unk"
            assert twin.steps[:place] == problem.steps[:place]


def test_a_cue_changes_the_question_only_and_is_wrong_in_the_cued_split() -> None:
    for cued, plain in zip(arith_examples("cued", 90), arith_examples("uncued", 90), strict=True):
        assert cued.question == plain.question.replace("?", f"cue {cued.cue} ?")
        assert (cued.answer, cued.steps) == (plain.answer, plain.steps)
        assert cued.problem_id == plain.problem_id
        assert str(cued.cue) != cued.answer


def test_pool_and_fresh_problems_never_meet() -> None:
    held = set(pool())
    assert len(held) == 300
    for seed in range(5):
        problems = fresh(seed, 300)
        assert not held & set(problems)
        assert {partition(p) for p in problems} == {"fresh"}
    assert {partition(p) for p in held} == {"pool"}


def test_a_tenth_of_all_problems_of_depth_two_is_held_back_for_each_class() -> None:
    ops = [Operation(s, v) for s in "+-*" for v in range(2 if s == "*" else 1, MODULUS)]
    counts = Counter(
        partition(Problem(start, (a, b))) for start in range(MODULUS) for a in ops for b in ops
    )
    total = MODULUS * 29**2
    spread = 5 * math.sqrt(total * 0.1 * 0.9)
    assert abs(counts["pool"] - total / 10) < spread
    assert abs(counts["fresh"] - total / 10) < spread


def test_the_same_seed_gives_the_same_problems() -> None:
    for split in SPLITS:
        assert arith_examples(split, 60, 1) == arith_examples(split, 60, 1)
        assert arith_examples(split, 60, 1) != arith_examples(split, 60, 2)
    assert set(arith_examples("pool", 300, 1)) == set(arith_examples("pool", 300, 2))
    assert fresh(0, 5)[0].depth in POOL_DEPTHS


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(ValueError, match="known: pool, fresh, cued, uncued, twins"):
        arith_examples("stale", 3)
    with pytest.raises(ValueError, match="split='fresh'"):
        arith_examples("pool", 301)
    with pytest.raises(ValueError, match="add a larger depth"):
        fresh(0, 400, (1,))


def test_the_tokenizer_equals_the_table_of_words() -> None:
    tokenizer = WORDS.tokenizer()
    assert len(tokenizer) == len(WORDS.vocabulary) == len(set(WORDS.vocabulary))
    for split in SPLITS:
        for problem in arith_examples(split, 20):
            assert tokenizer(write_out(problem))["input_ids"] == WORDS.encode(write_out(problem))
            assert tokenizer.decode(WORDS.encode(write_out(problem))) == write_out(problem)
    assert tokenizer.padding_side == "left"


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(ValueError, match="'3\\+4'"):
        WORDS.encode("Q 3+4 ?")
