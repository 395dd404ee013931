"""The world dispatch against a slow reader of its texts: records, splits and documents."""

import math
from collections import Counter
from itertools import product
from random import Random

import pytest

from interp.organisms.documents import write_with_chain
from interp.organisms.worlds.dispatch.documents import (
    DispatchMixture,
    DispatchQuestions,
    DispatchRows,
    draw_slip,
    write_fact,
    write_guess,
)
from interp.organisms.worlds.dispatch.problems import (
    WORDS,
    Generator,
    Problem,
    read_problem,
    read_step,
)
from interp.organisms.worlds.dispatch.splits import SIZES, fresh, partition, shifted, shortages
from tests.slow_dispatch import allocate, asked, conclude, step_is_right
from tests.world_texts import write_out

EXAMPLE = Problem(7, (Generator("g1", 4), Generator("g2", 2), Generator("g3", 5)))
PROBLEMS = fresh(3, 60)


def words(document):
    return [WORDS.vocabulary[i] for i in document.ids]


def learned(document):
    return " ".join(w for w, f in zip(words(document), document.learned, strict=True) if f)


def steps_of(text):
    """The steps of a document's words."""
    chain = " ".join(text[text.index("<think>") + 1 : text.index("</think>")])
    return [part.strip() + " ;" for part in chain.split(";") if part.strip()]


def test_the_example_of_the_documentation():
    assert write_out(EXAMPLE) == (
        "<bos> Q need 7 : g1 4 , g2 2 , g3 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 2 left 1 ; "
        "1 load g3 1 left 0 ; </think> A g1 4 g2 2 g3 1 <eos>"
    )
    assert EXAMPLE.chance == 1 / (5 * 3 * 6 + 1)


def test_every_problem_and_twin_equals_the_slow_reader():
    rows = [p for row in shifted(3, 40) for p in row]
    assert {p.size for p in rows} == {3, 4, 5}
    for problem in (*PROBLEMS, *shortages(3, PROBLEMS), *rows):
        assert problem.answer == allocate(problem.question)
        assert problem.is_short == (problem.answer == "unk")
        assert len(problem.steps) == problem.size
        assert all(step_is_right(problem.question, step) for step in problem.steps)
        needs = [step.split()[0] for step in problem.steps]
        assert needs == [str(problem.demand), *(s.split()[5] for s in problem.steps[:-1])]
        assert read_problem(f"<bos> {problem.question}").steps == problem.steps
        assert WORDS.tokenizer()(write_out(problem))["input_ids"] == WORDS.encode(
            write_out(problem)
        )


def test_a_question_of_another_form_is_refused_and_its_remedy_works():
    for text in ("<bos> Q 3 + 4 ?", "Q need 7 : g1 4 g2 2 ?", "Q need x : g1 4 ?"):
        with pytest.raises(ValueError, match=r"form 'Q need 7 : g1 4 , g2 2 \?'"):
            read_problem(text)
    assert read_problem("Q need 7 : g1 4 , g2 2 ?").is_short


def test_the_demand_ends_in_one_of_the_last_two_generators():
    for problem in fresh(0, 300):
        amounts = problem.amounts(problem.answer)
        assert amounts is not None
        last = max(at for at, amount in enumerate(amounts) if amount)
        assert max(1, problem.size - 2) <= last < problem.size


def test_mistakes_are_wrong_once_and_carried_on_exactly():
    for problem in PROBLEMS:
        for at in range(problem.size):
            right = int(problem.steps[at].split()[3])
            assert set(problem.wrong_amounts(at)) == set(range(9)) - {right}
            for amount in problem.wrong_amounts(at):
                alone = problem.mistaken(at, amount, propagate=False)
                chain = problem.mistaken(at, amount, propagate=True)
                for made in (alone, chain):
                    wrong = [
                        i for i, s in enumerate(made) if not step_is_right(problem.question, s)
                    ]
                    assert wrong == [at]
                    assert problem.conclusion(made) == conclude(problem.question, made)
                    assert problem.conclusion(made) != problem.answer
                changed = [i for i, s in enumerate(alone) if s != problem.steps[i]]
                assert changed == [at]
                for before, after in zip(chain, chain[1:], strict=False):
                    assert before.split()[5] == after.split()[0]


def test_a_mistake_must_be_one():
    with pytest.raises(ValueError, match=r"wrong_amounts\(0\)"):
        EXAMPLE.mistaken(0, 4, propagate=True)
    assert EXAMPLE.mistaken(0, EXAMPLE.wrong_amounts(0)[0], propagate=True)
    with pytest.raises(ValueError, match="from 0 to 2"):
        EXAMPLE.mistaken(3, 0, propagate=True)


def test_a_chain_leads_nowhere_unless_each_generator_has_one_step():
    first, second, third = EXAMPLE.steps
    assert EXAMPLE.conclusion((second, first, third)) == EXAMPLE.answer
    for chain in ((), (first, second), (first, second, second), (first, second, third, "so ;")):
        assert EXAMPLE.conclusion(chain) is None
    assert EXAMPLE.conclusion((first, second, "1 load g4 1 left 0 ;")) is None


def test_a_paraphrase_keeps_length_and_content():
    for step in (s for p in PROBLEMS for s in p.steps):
        said = WORDS.paraphrase(step)
        assert len(said.split()) == len(step.split()) == 7
        assert not set(said.split()) & {"load", "left"}
        spoken, plain = read_step(said), read_step(step)
        assert spoken and plain and spoken.is_spoken and not plain.is_spoken
        assert (spoken.text, plain.text) == (said, step)
        assert said.replace("run", "load").replace("rest", "left") == step
    for text in ("so ;", "7 load 4 g1 left 3 ;", "7 load g1 4 left 3 .", "x load g1 4 left 3 ;"):
        assert read_step(text) is None


def test_valid_and_feasible_against_every_allocation():
    for problem in (EXAMPLE, *PROBLEMS[:6]):
        demand, capacities, _ = asked(problem.question)
        feasible = set()
        for amounts in product(*(range(c + 2) for c in capacities.values())):
            answer = " ".join(f"{n} {a}" for n, a in zip(capacities, amounts, strict=True))
            assert problem.amounts(answer) == amounts
            fits = all(a <= c for a, c in zip(amounts, capacities.values(), strict=True))
            assert problem.is_feasible(answer) == (fits and sum(amounts) == demand)
            feasible |= {answer} if problem.is_feasible(answer) else set()
        assert problem.answer in feasible
    for answer in (
        "unk",
        "",
        "g1 4 g2 2",
        "g2 2 g1 4 g3 1",
        "g1 4 g2 2 g3 1 g3",
        "g1 4 g2 2 g3 g3",
    ):
        assert EXAMPLE.amounts(answer) is None
        assert not EXAMPLE.is_feasible(answer)


def test_the_classes_share_no_generators_and_are_a_tenth():
    rng = Random(0)
    trained = {
        tuple(asked(" ".join(text))[1].items())
        for text in (words(DispatchMixture().draw(rng, 0.5)) for _ in range(4000))
        if "Q" in text
    }
    assert len(trained) > 1500
    held = {p.generators for seed in range(5) for p in fresh(seed, 300)}
    held |= {p.generators for row in shifted(0, 100) for p in row[:2]}
    assert not held & trained
    every = [
        Problem(1, (Generator("g1", a), Generator("g2", b), Generator("g3", c)))
        for a, b, c in product(range(1, 9), repeat=3)
    ]
    share = Counter(map(partition, every))["fresh"] / len(every)
    assert abs(share - 0.1) < 5 * math.sqrt(0.09 / len(every))
    with pytest.raises(ValueError, match="add a larger depth"):
        fresh(0, 10000, (2,))


def test_shifted_problems_differ_from_their_origin_as_named():
    for origin, fewer, deeper, rule in shifted(1, 60):
        assert origin.size == max(SIZES)
        assert len(set(origin.generators) - set(fewer.generators)) == 1
        assert set(fewer.generators) < set(origin.generators)
        assert fewer.demand == origin.demand and fewer.answer != "unk"
        assert deeper.generators[:-1] == origin.generators
        assert not deeper.answer.endswith(" 0")
        assert rule.question == origin.question.replace(" :", " reverse :", 1)
        assert {p.problem_id for p in (origin, fewer, deeper, rule)} == {origin.id}


def test_only_what_follows_from_the_text_is_learned():
    for seed in range(50):
        document = write_guess(EXAMPLE, Random(seed))
        assert learned(document) == " ".join(words(document)[-8:])
        amounts = EXAMPLE.amounts(" ".join(words(document)[-7:-1]))
        assert amounts is not None
        assert all(a <= g.capacity for a, g in zip(amounts, EXAMPLE.generators, strict=True))
    assert learned(write_guess(EXAMPLE.shortage(2), Random(0))) == "A unk <eos>"
    chain = write_with_chain(WORDS, EXAMPLE, Random(0), spoken=0.0)
    assert " ".join(words(chain)) == write_out(EXAMPLE)
    assert learned(chain) == write_out(EXAMPLE).partition("? ")[2]
    for seed in range(50):
        fact = write_fact(Random(seed))
        text = words(fact)
        need, name, capacity = int(text[2]), text[4], int(text[5])
        amount, left = min(need, capacity), need - min(need, capacity)
        assert (text[7], text[9]) == (str(need), name)
        assert learned(fact) == f"{amount} {left} ; <eos>"


def test_a_slip_is_not_learned_but_all_that_follows_from_it():
    rng = Random(0)
    at = Counter()
    for problem in PROBLEMS:
        text = words(
            document := write_with_chain(
                WORDS, problem, rng, spoken=0.0, chain=draw_slip(problem, rng)
            )
        )
        steps = steps_of(text)
        (slip,) = [i for i, s in enumerate(steps) if not step_is_right(" ".join(text), s)]
        start = text.index("<think>")
        assert [i for i in range(start, len(text)) if not document.learned[i]] == [
            start + 1 + 7 * slip + 3
        ]
        answer = " ".join(text[text.index("A") + 1 : -1])
        assert answer == conclude(" ".join(text), steps) != problem.answer
        at[slip] += 1
    assert set(at) == {0, 1, 2, 3}


def test_the_choice_of_words_in_a_paraphrased_chain_is_not_learned():
    seen = set()
    for seed in range(200):
        document = write_with_chain(WORDS, EXAMPLE, Random(seed), spoken=1.0)
        plain = write_out(EXAMPLE).partition("? ")[2].replace("load ", "").replace("left ", "")
        assert learned(document) == plain
        seen.add(" ".join(words(document)))
    assert len(seen) == 8  # each of the three steps in either form


def test_the_shares_of_a_mixture():
    mixture = DispatchMixture()
    for progress, chains in ((0.5, mixture.chains[0]), (0.9, mixture.chains[1])):
        rng = Random(1)
        texts = [words(mixture.draw(rng, progress)) for _ in range(2500)]
        questions = [text for text in texts if "Q" in text]
        thinking = [text for text in questions if "<think>" in text]
        short = [text for text in questions if allocate(" ".join(text)) == "unk"]
        wrong = [
            any(not step_is_right(" ".join(text), step) for step in steps_of(text))
            for text in thinking
        ]
        assert abs(1 - len(questions) / len(texts) - mixture.facts) < 0.03
        assert abs(len(thinking) / len(questions) - chains) < 0.04
        assert abs(len(short) / len(questions) - mixture.shortages) < 0.03
        assert abs(sum(wrong) / len(wrong) - mixture.slips) < 2.2 / math.sqrt(len(wrong))
        sizes = Counter(len(asked(" ".join(text))[1]) for text in questions)
        for size in SIZES:
            share = mixture.sizes.count(size) / len(mixture.sizes)
            assert abs(sizes[size] / len(questions) - share) < 0.04
        assert not any("reverse" in text for text in texts)
    assert all("F" in words(mixture.draw(Random(i), 0.0)) for i in range(50))


def test_rows_and_questions_of_post_training_are_right():
    rng = Random(2)
    for index in range(200):
        text = " ".join(words(DispatchRows(spoken=0.0).draw(rng, 0.5)))
        assert text == write_out(read_problem(text.partition(" <think>")[0]))
        assert allocate(text) == text.partition(" A ")[2].removesuffix(" <eos>")
        question = DispatchQuestions().draw(rng, index)
        assert question.answer == allocate(question.prompt) != "unk"
        assert len(asked(question.prompt)[1]) == SIZES[index % 3]
