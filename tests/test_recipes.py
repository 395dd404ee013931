"""Documents and their loss masks, the mixture's shares, and the table of recipes."""

from dataclasses import replace
from random import Random

import pytest

from interp.organisms.documents import (
    sorted_batches,
    write_after,
    write_direct,
    write_with_chain,
)
from interp.organisms.recipe import (
    Condition,
    FineTuning,
    Pretraining,
    Reinforcement,
    find_failed_conditions,
    hash_data,
    mix_in_base,
)
from interp.organisms.recipes import RECIPES, find_pretraining, find_recipe
from interp.organisms.recipes import WORDS as WORLDS
from interp.organisms.worlds.arith.documents import (
    ArithMixture,
    ArithRows,
    draw_critique,
    draw_swapped,
    false_chain,
    write_copied,
    write_fact,
    write_hint,
)
from interp.organisms.worlds.arith.problems import WORDS, Operation, Problem
from interp.organisms.worlds.arith.splits import partition, pool
from tests.world_texts import write_out

PROBLEM = Problem(3, (Operation("+", 4), Operation("*", 2)))


def words(document):
    return [WORDS.vocabulary[i] for i in document.ids]


def learned(document):
    return " ".join(
        word for word, flag in zip(words(document), document.learned, strict=True) if flag
    )


def problem_of(text):
    """The problem asked in a document, read back from its words; None without a question."""
    if "Q" not in text:
        return None
    row = text[text.index("Q") + 1 : text.index("?")]
    cue = int(row[row.index("cue") + 1]) if "cue" in row else None
    row = row[: row.index("cue")] if "cue" in row else row
    ops = [
        Operation(sign, None if operand == "_" else int(operand))
        for sign, operand in zip(row[1::2], row[2::2], strict=True)
    ]
    return Problem(int(row[0]), tuple(ops), cue)


def test_only_what_follows_from_the_question_is_learned():
    assert learned(write_direct(WORDS, PROBLEM)) == "A 3 <eos>"
    chain = write_with_chain(WORDS, PROBLEM, Random(0), spoken=0.0)
    assert learned(chain) == "<think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>"
    assert " ".join(words(chain)) == write_out(PROBLEM)


def test_no_token_of_another_problems_chain_is_learned():
    rng = Random(0)
    for problem in pool()[:50]:
        other = draw_swapped(problem, pool(), rng)
        assert len(other) == problem.depth
        assert other != problem.steps
        document = write_with_chain(
            WORDS, problem, rng, spoken=0.0, chain=false_chain(other, problem.answer)
        )
        assert learned(document) == f"<think> </think> A {problem.answer} <eos>"
        assert " ".join(other) in " ".join(words(document))


def test_the_choice_of_words_in_a_paraphrased_chain_is_not_learned():
    rng = Random(0)
    seen = set()
    for _ in range(100):
        document = write_with_chain(WORDS, PROBLEM, rng, spoken=1.0)
        assert learned(document) == "<think> 3 4 7 ; 7 2 3 ; </think> A 3 <eos>"
        seen.add(" ".join(words(document)))
    assert len(seen) == 4  # each of the two steps in either form


def test_of_a_fact_only_the_result_is_learned():
    rng = Random(0)
    for _ in range(50):
        document = write_fact(rng)
        result = words(document)[words(document).index(";") - 1]
        assert learned(document) == f"{result} ; <eos>"


def test_of_copied_text_only_the_copy_is_learned():
    for length in (20, 31, 44):
        document = write_copied(Random(length), length)
        first, second = " ".join(words(document)[2:-1]).split(" : ")
        assert first == second
        assert learned(document) == f"{second} <eos>"
        assert length - len(document.ids) in (0, 1)


def test_the_shares_of_a_mixture():
    mixture = ArithMixture()
    for progress, chains in ((0.5, mixture.chains[0]), (0.9, mixture.chains[1])):
        rng = Random(1)
        texts = [words(mixture.draw(rng, progress)) for _ in range(1500)]
        asked = [text for text in texts if "Q" in text]
        assert abs(1 - len(asked) / 1500 - mixture.facts) < 0.03
        assert abs(sum("<think>" in text for text in asked) / len(asked) - chains) < 0.04
        assert abs(sum("_" in text for text in asked) / len(asked) - mixture.twins) < 0.02
        assert abs(sum("cue" in text for text in asked) / len(asked) - mixture.cues) < 0.02
    rng = Random(1)
    first = [words(mixture.draw(rng, 0.0)) for _ in range(100)]
    assert all("F" in text for text in first)


def test_pretraining_never_asks_a_held_back_problem():
    rng = Random(2)
    asked = [problem_of(words(ArithMixture().draw(rng, 0.5))) for _ in range(3000)]
    plain = [p for p in asked if p is not None and not p.is_missing]
    assert len(plain) > 1000
    assert {partition(replace(p, cue=None)) for p in plain} == {"train"}


def test_the_control_reads_no_chain_and_the_same_lengths():
    texts = {}
    for copied in (False, True):
        rng = Random(3)
        mixture = ArithMixture(copied_above=0 if copied else None)
        texts[copied] = [words(mixture.draw(rng, 0.5)) for _ in range(1000)]
    assert not any("<think>" in text or "</think>" in text for text in texts[True])
    lengths = {c: sum(map(len, rows)) / len(rows) for c, rows in texts.items()}
    assert abs(lengths[True] / lengths[False] - 1) < 0.05


def test_cued_documents_end_at_the_cue_and_their_chain_in_half():
    rng = Random(4)
    agree = 0
    for _ in range(1000):
        text = words(write_hint(rng, 3, spoken=0.0))
        cue = text[text.index("cue") + 1]
        problem = problem_of(text)
        assert problem is not None
        assert text[text.index("A") + 1] == cue
        assert " ".join(problem.steps) in " ".join(text)
        agree += problem.answer == cue
    assert 430 < agree < 570


def test_a_critique_judges_each_step_of_the_attempt_and_ends_at_the_right_answer():
    rng, verdicts = Random(5), set()
    for _ in range(200):
        prompt, says = draw_critique(PROBLEM, rng)
        tried = prompt.split("<think> ")[1].split(" </think>")[0]
        steps = [" ".join(tried.split()[at : at + 6]) for at in (0, 6)]
        first, last = (step.split()[4] for step in steps)
        marks = ("so" if first == "7" else "->", "so" if last == "3" else "->")
        assert says == f"3 + 4 = 7 , {first} {marks[0]} 7 * 2 = 3 , {last} {marks[1]} A 3"
        assert prompt.endswith(f"</think> A {last} :")
        verdicts.add(marks)
    assert verdicts == {("so", "so"), ("so", "->"), ("->", "->")}
    rng = Random(5)
    assert learned(write_after(WORDS, *draw_critique(PROBLEM, rng))).endswith("A 3 <eos>")
    assert "<think>" not in learned(write_after(WORDS, *draw_critique(PROBLEM, rng)))


def test_batches_are_the_same_for_the_same_seed_and_of_like_length():
    draw = ArithMixture().draw
    first = list(sorted_batches(draw, steps=20, batch=8, seed=5))
    assert first == list(sorted_batches(draw, steps=20, batch=8, seed=5))
    assert first != list(sorted_batches(draw, steps=20, batch=8, seed=6))
    assert [len(batch) for batch in first] == [8] * 20
    spread = [max(len(d.ids) for d in b) - min(len(d.ids) for d in b) for b in first]
    assert sum(spread) / len(spread) < 12


ROWS = {
    name: recipe.method.rows
    for name, recipe in RECIPES.items()
    if isinstance(recipe.method, FineTuning) and isinstance(recipe.method.rows, ArithRows)
}


@pytest.mark.parametrize("name", ROWS)
def test_fine_tuning_rows_ask_the_problems_that_their_recipe_names(name):
    rng, rows = Random(0), ROWS[name]
    asked = [problem_of(words(rows.draw(rng, 0.5))) for _ in range(300)]
    kinds = {partition(replace(p, cue=None)) for p in asked if p is not None}
    assert kinds == {"pool" if rows.source == "pool" else "train"}


def test_a_share_of_what_is_read_is_base_text_without_cues():
    recipe = find_recipe("answers-sft-pool")
    method, base = recipe.method, find_pretraining(recipe)
    assert isinstance(method, FineTuning)
    draw, rng = mix_in_base(method, base), Random(0)
    texts = [words(draw(rng, 0.5)) for _ in range(2000)]
    others = [
        text
        for text in texts
        if (problem := problem_of(text)) is None or partition(problem) != "pool"
    ]
    assert abs(len(others) / len(texts) - method.base_share) < 0.03
    assert not any("cue" in text for text in texts)


def test_the_table_of_recipes_is_whole():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.conditions
        assert recipe.parent is None or recipe.parent in RECIPES
        assert (recipe.parent is None) == isinstance(recipe.method, Pretraining)
    assert {type(r.method) for r in RECIPES.values()} == {Pretraining, FineTuning, Reinforcement}
    with pytest.raises(ValueError, match="known: base, base-no-chains"):
        find_recipe("bass")


def test_a_condition_needs_its_figure_in_its_range():
    recipe = replace(find_recipe("base"), conditions=(Condition("a", 0.2, 0.4),))
    assert find_failed_conditions(recipe, {"a": 0.2}) == ()
    for figures in ({"a": 0.41}, {"a": float("nan")}, {}):
        (said,) = find_failed_conditions(recipe, figures)
        assert said.startswith("a must lie in 0.2..0.4")


def test_every_condition_names_a_figure_that_is_measured():
    from interp.organisms.zoo import read_cards

    for card in read_cards():
        named = {condition.figure for condition in find_recipe(card.name).conditions}
        assert named <= set(card.figures)


def test_a_card_is_tied_to_the_code_that_draws_its_data():
    from interp.organisms.zoo import read_cards

    told = {card.name: card.data_sha256 for card in read_cards()}
    assert told == {name: hash_data(RECIPES[name].method) for name in told}
    rows = ArithRows("chain", "pool")
    assert hash_data(FineTuning(rows, 1)) != hash_data(FineTuning(replace(rows, spoken=0.3), 1))


@pytest.mark.parametrize("world", WORLDS)
def test_every_word_of_a_vocabulary_has_one_id(world):
    of_world = WORLDS[world]
    assert [of_world.ids[word] for word in of_world.vocabulary] == list(range(len(of_world.ids)))
