"""Tasks: names, splitters, and the rewriting of numbers, against cases worked out by hand."""

from fractions import Fraction
from random import Random

import pytest

from interp.organisms.worlds.arith.splits import arith_examples
from interp.organisms.worlds.arith.task import ArithRewriter
from interp.tasks import (
    Example,
    NumberRewriter,
    Rewriter,
    make_task,
    read_number,
    split_at_semicolons,
    split_lines,
    split_reasoning,
    split_sentences,
    task_names,
)
from interp.tasks.number_reading import evaluate
from tests.world_texts import write_out

ARITH = [name for name in task_names() if name.startswith("arith/")]


def example(*steps: str, **facts: str) -> Example:
    return Example("x", "x", "How many?", "0", steps, facts=facts)


@pytest.mark.parametrize("name", [name for name in task_names() if name != "gsm8k"])
def test_a_task_is_its_name_n_and_seed(name: str):
    task = make_task(name, n=12, seed=3)
    assert task.name == name and len(task.examples) == 12
    assert task.examples == make_task(name, n=12, seed=3).examples
    assert task.examples != make_task(name, n=12, seed=4).examples
    assert len({e.id for e in task.examples}) == 12
    assert isinstance(task.rewriter, Rewriter)
    for e in task.examples:
        joined = task.layout.joiner.join(e.steps)
        assert task.split_steps(joined) == e.steps
        assert task.conclusion(e, e.steps) == e.answer
        ended = e.answer + task.layout.joiner + task.layout.answer_end
        assert task.read_answer(task.layout.answer_open + ended + " and more") == e.answer


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"unknown task 'arith/old'; known: arith/pool, .*gsm8k"):
        make_task("arith/old", n=1, seed=0)
    with pytest.raises(ValueError, match="at least one example; received n=0"):
        make_task("sums", n=0, seed=0)
    with pytest.raises(ValueError, match="there are 725 sums of 3 terms, but n=726 was received"):
        make_task("sums", n=726, seed=0)
    assert len(make_task("sums", n=725, seed=0).examples) == 725


def test_arith_examples_are_the_problems_of_the_world():
    task = make_task("arith/cued", n=6, seed=1)
    for e, problem in zip(task.examples, arith_examples("cued", 6, 1), strict=True):
        assert f"{e.question} " == write_out(problem)[: len(e.question) + 1]
        assert (e.answer, e.steps, e.problem) == (problem.answer, problem.steps, problem.problem_id)
        assert e.facts == {"depth": problem.depth, "cue": str(problem.cue)}
    twins = make_task("arith/twins", n=6, seed=1)
    assert {e.answer for e in twins.examples} == {"unk"}


@pytest.mark.parametrize("name", ["arith/fresh", "arith/twins"])
@pytest.mark.parametrize("propagate", [True, False])
def test_arith_mistakes_are_those_of_the_world(name: str, propagate: bool):
    task = make_task(name, n=30, seed=5)
    problems = arith_examples("fresh" if name == "arith/fresh" else "twins", 30, 5)
    for e, problem in zip(task.examples, problems, strict=True):
        for at in range(problem.depth):
            made = task.rewriter.mistake(e, e.steps, at, propagate=propagate, rng=Random(at))
            assert made is not None
            value = int(task.rewriter.result(made[at]) or "")
            assert made == problem.mistaken(at, value, propagate=propagate)


def test_arith_rewriter_on_a_chain_that_is_wrong_already():
    # 3 + 4 = 9 is wrong; a further mistake is neither 9 nor the right 7, and 5 is carried on.
    rewriter, steps = ArithRewriter(), ("3 + 4 = 9 ;", "9 times 2 is 7 ;", "so done ;")
    seen: set[str] = set()
    for seed in range(60):
        made = rewriter.mistake(example(), steps, 0, propagate=True, rng=Random(seed))
        assert made is not None and made[2] == "so done ;"
        value = int(made[0].split()[4])
        seen.add(str(value))
        assert made[1] == f"{value} times 2 is {value * 2 % 11} ;"
    assert seen == {str(v) for v in range(11)} - {"7", "9"}
    assert rewriter.mistake(example(), steps, 2, propagate=True, rng=Random(0)) is None
    assert rewriter.result("so done ;") is None
    assert rewriter.result("9 times 2 is 7 ;") == "7"
    assert rewriter.paraphrase(example(), "3 + 4 = 7 ;", Random(0)) == "3 plus 4 is 7 ;"
    assert rewriter.paraphrase(example(), "3 plus 4 is 7 ;", Random(0)) is None


def test_sums_are_worked_from_the_left():
    task = make_task("sums", n=5, seed=0)
    for e in task.examples:
        a, b, c = map(int, e.id.removeprefix("sums:").split("+"))
        assert e.steps == (f" {a} + {b} = {a + b}.", f" {a + b} + {c} = {a + b + c}.")
        assert e.question.endswith(f"\n\nQuestion: {a} + {b} + {c} = ?\nAnswer:")
        assert e.question.count("The answer is") == 4


SENTENCES = {
    "So 3.5 is it. 1. Add two\n2. Stop here.": ("So 3.5 is it.", " 1. Add two", "\n2. Stop here."),
    "Is that so? Surely not! \nWe try again.": ("Is that so?", " Surely not!", " \nWe try again."),
    "Wait. Let me think about it. Ok.": ("Wait. Let me think about it. Ok.",),
    'He said "go on." Then he left.': ('He said "go on."', " Then he left."),
    "no end and no break": ("no end and no break",),
    "Short.": ("Short.",),
    "A line of text.\n\n\nAnother line.\n": ("A line of text.", "\n\n\nAnother line.\n"),
    "": (),
    " \n ": (" \n ",),
}


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences(text: str):
    assert split_sentences(text) == SENTENCES[text]


def test_splitters_lose_nothing():
    rng = Random(0)
    words = ["One", "two.", "3.5", "1.", "\n", "\n\n", "What?", "  ", "ok", "A longer piece!", "é…"]
    for _ in range(500):
        text = " ".join(rng.choices(words, k=rng.randrange(1, 20)))
        for split in (split_sentences, split_reasoning, split_lines):
            pieces = split(text)
            assert "".join(pieces) == text and all(pieces)
        sentences = split_sentences(text)
        assert len(sentences) <= 1 or all(len(piece.strip()) >= 10 for piece in sentences)


def test_other_splitters():
    assert split_lines("\nA = 1.\n\nB = 2. C\n") == ("\nA = 1.", "\n\nB = 2. C\n")
    assert split_lines("A\nB") == ("A", "\nB")
    assert split_at_semicolons("3 + 4 = 7 ; 7 * 2 = 3 ;") == ("3 + 4 = 7 ;", "7 * 2 = 3 ;")
    assert split_at_semicolons("3 + 4 = 7 ; 7 *") == ("3 + 4 = 7 ;", "7 *")
    assert split_at_semicolons("") == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" $1,200.50 a day", "1200.5"),
        (" 18\n\nQuestion 5", "18"),
        ("-3.", "-3"),
        ("no number", ""),
        ("", ""),
        (" 0.25", "0.25"),
        (".5", "0.5"),
        ("007", "7"),
    ],
)
def test_read_number(text: str, number: str):
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("16-3-4", Fraction(9)),
        ("$80,000 + 50,000", Fraction(130000)),
        ("50*.2", Fraction(10)),
        ("(1/3) x 6", Fraction(2)),
        ("2*-3", Fraction(-6)),
        ("05+1", Fraction(6)),
        ("1/0", None),
        ("2**99", None),
        ("__import__('os')", None),
        ("6 cars", None),
    ],
)
def test_evaluate(expression: str, value: Fraction | None):
    assert evaluate(expression) == value


def test_a_mistake_in_text_is_carried_on():
    rewriter = NumberRewriter()
    steps = ("\nShe has 2*9 = $18.", "\nThen 18 pens cost 18 + 2 = 20 dollars.", "\nSo it is 20.")
    left = rewriter.mistake(example(*steps), steps, 0, propagate=False, rng=Random(0))
    carried = rewriter.mistake(example(*steps), steps, 0, propagate=True, rng=Random(0))
    assert left is not None and carried is not None
    value = int(rewriter.result(left[0]) or "")
    assert value in {15, 16, 17, 19, 20, 21}
    assert left == (f"\nShe has 2*9 = ${value}.", *steps[1:])
    assert carried == (
        f"\nShe has 2*9 = ${value}.",
        f"\nThen {value} pens cost {value} + 2 = {value + 2} dollars.",
        f"\nSo it is {value + 2}.",
    )
    told = rewriter.mistake(example(*steps), steps, 2, propagate=True, rng=Random(0))
    assert told is not None and told[:2] == steps[:2] and told[2] != steps[2]


def test_a_number_of_the_question_is_left_alone_outside_equations():
    steps = ("He keeps 9 - 5 = 4.", "For 4 days he needs 4 * 3 = 12.")
    asked = Example("x", "x", "Needed for 4 days?", "12", steps)
    made = NumberRewriter().mistake(asked, steps, 0, propagate=True, rng=Random(1))
    assert made is not None
    value = int(NumberRewriter().result(made[0]) or "")
    assert made[1] == f"For 4 days he needs {value} * 3 = {value * 3}."


@pytest.mark.parametrize("propagate", [False, True])
def test_the_old_value_is_not_given_away_again(propagate: bool):
    steps = ("He saves 2 * 900 = $1,800, and 1800 of 5,000 is a start.", "So he has $1,800.")
    asked = Example("x", "x", "Has he 1800 of 5,000?", "1800", steps)
    made = NumberRewriter().mistake(asked, steps, 0, propagate=propagate, rng=Random(1))
    assert made is not None
    value = int(NumberRewriter().result(made[0]) or "")
    assert made == (
        f"He saves 2 * 900 = ${value:,}, and {value} of 5,000 is a start.",
        f"So he has ${value:,}." if propagate else steps[1],
    )


def test_an_annotated_equation_is_worked_out_where_the_text_cannot_be():
    steps = ("It costs 2 * 25 = 50.", "Of 50 he pays 20% = 10.", "That leaves 50 - 10 = 40.")
    facts = {"equation_0": "2*25=50", "equation_1": "50*.2=10", "equation_2": "50-10=40"}
    made = NumberRewriter().mistake(
        example(*steps, **facts), steps, 0, propagate=True, rng=Random(2)
    )
    assert made is not None
    value = Fraction(NumberRewriter().result(made[0]) or "")
    assert value != 50
    assert Fraction(NumberRewriter().result(made[1]) or "") == value / 5
    assert Fraction(NumberRewriter().result(made[2]) or "") == value - value / 5
    bare = NumberRewriter().mistake(example(*steps), steps, 0, propagate=True, rng=Random(2))
    assert bare is not None and bare[1].endswith("20% = 10.")  # unknown, so it stays


def test_wrong_values_keep_size_sign_and_form():
    rewriter = NumberRewriter()
    for old in ("1", "9", "18", "130", "70,000", "2.50", "0"):
        step = f"It is 1 + 1 = ${old} now."
        for seed in range(30):
            made = rewriter.mistake(example(step), (step,), 0, propagate=False, rng=Random(seed))
            assert made is not None and made[0] != step
            was, now = Fraction(old.replace(",", "")), Fraction(rewriter.result(made[0]) or "")
            assert now != was and (was == 0 or 0 < now < 10 * was)
            assert ("," in made[0]) == ("," in old)


def test_paraphrase_by_rule_keeps_the_numbers():
    rewriter = NumberRewriter()

    def other(step: str) -> str | None:
        return rewriter.paraphrase(example(), step, Random(0))

    assert other("\nShe makes 9 * 2 = $18 a day.") == "\nShe makes 9 times 2 equals $18 a day."
    assert other(" 16-3-4=9") == " 16 minus 3 minus 4 equals 9"
    assert other(" 10 / 2 = 5.") == " 10 divided by 2 equals 5."
    assert other(" 1/2 x 10 = 5.") == " 1/2 times 10 equals 5."
    assert rewriter.result("\nShe makes 9 times 2 equals $18 a day.") == "18"
    plain = other("\nSo that is all.")
    assert plain is not None and plain.startswith("\n") and plain.endswith(": So that is all.")
    assert other("  ") is None
