"""The step from which the answer can be read, against truths that the problems were built from."""

from random import Random

import pytest

from interp.chains.stated_answers import find_answer_step
from interp.organisms.worlds.arith.splits import arith_examples
from interp.organisms.worlds.arith.task import arith_example
from interp.organisms.worlds.clinic.splits import clinic_problems
from interp.organisms.worlds.clinic.task import clinic_example
from interp.tasks import Example, make_task
from interp.tasks.gsm8k import read_solution

NUMBERS = make_task("sums", n=1, seed=0)
"""Running text, in which `NumberRewriter` reads results."""


def last_change(values):
    """The first index from which on all values are the last one."""
    at = len(values) - 1
    while at and values[at - 1] == values[-1]:
        at -= 1
    return at


def test_arith_is_cut_where_its_value_is_the_answer_for_good():
    """Only zero stays what it is, whatever it is multiplied by; every other step moves it."""
    task = make_task("arith/fresh", n=1, seed=0)
    problems = arith_examples("fresh", 400, 0)
    met = 0
    for problem in problems:
        example = arith_example(problem)
        found = find_answer_step(task, example, example.steps, example.answer)
        assert found == last_change(problem.values), example.steps
        met += problem.values[-1] in problem.values[:found]
        spoken = [task.rewriter.paraphrase(example, s, Random(0)) or s for s in example.steps]
        assert find_answer_step(task, example, spoken, example.answer) == found
    assert met > 20, "no coincidence was put to the test"


def test_a_wrong_arith_chain_that_passes_by_the_answer_does_not_state_it():
    task = make_task("arith/fresh", n=1, seed=0)
    for problem in (p for p in arith_examples("fresh", 200, 1) if p.depth > 2):
        example = arith_example(problem)
        (value,) = problem.wrong_values(0)[:1]
        steps = problem.mistaken(0, value, propagate=True)
        results = [task.rewriter.result(step) for step in steps]
        assert results[-1] != example.answer
        assert find_answer_step(task, example, steps, str(results[-1])) is None


@pytest.mark.parametrize("split", ["known", "all", "facts"])
def test_clinic_is_cut_at_its_last_fact(split):
    task = make_task(f"clinic/{split}", n=1, seed=0)
    for problem in clinic_problems(split, 100, 0):
        example = clinic_example(problem, split)
        found = find_answer_step(task, example, example.steps, example.answer)
        assert found == last_change(problem.values)
        assert example.answer not in " ".join(example.steps[:found]).split()


def test_no_part_of_a_dispatch_answer_is_left_in():
    """Every step gives one amount of an allocation; a shortage shows in the last step alone."""
    task = make_task("dispatch/abstain", n=60, seed=0)
    for example in task.examples:
        found = find_answer_step(task, example, example.steps, example.answer)
        left = example.steps[:found]
        if example.answer == task.abstention:
            assert found == len(example.steps) - 1
        else:
            assert found == 0
        assert not any(str(task.rewriter.result(step)) in example.answer for step in left)
        assert task.conclusion(example, left) != example.answer


def test_a_wrong_amount_states_nothing_but_a_right_one_after_it_does():
    task = make_task("dispatch/plain", n=40, seed=0)
    for example in task.examples:
        wrong = task.rewriter.mistake(example, example.steps, 0, propagate=False, rng=Random(0))
        assert wrong is not None
        found = find_answer_step(task, example, wrong, example.answer)
        assert found == (1 if len(example.steps) > 1 else None)


def running(answer, *steps, asked="How many are left?", written=None):
    """The step that is found in running text."""
    example = Example("x", "x", asked, answer, tuple(steps), facts={"asked": asked})
    return find_answer_step(NUMBERS, example, steps, answer if written is None else written)


@pytest.mark.parametrize("seed", range(40))
def test_solutions_that_pass_by_the_answer_are_cut_where_they_come_to_it(seed):
    """Built from its end: the answer is come to, left again, come to for good, and restated."""
    rng = Random(seed)
    answer = rng.randrange(10, 90)
    before = rng.randrange(1, 9)
    steps = [f"\nFirst there are {answer - before} + {before} = {answer} boxes."]
    value, n_between = answer, rng.randrange(1, 4)
    for _ in range(n_between):
        more = rng.randrange(100, 200)
        steps.append(f"\nThen it is {value} + {more} = {value + more}, which is a lot.")
        value += more
    steps.append(f"\nWithout the rest it is {value} - {value - answer} = ${answer}.00 in all.")
    truth = len(steps) - 1
    steps += rng.choice([[], [f"\nSo it is {answer}."], ["\nThat is all.", f"\nSo: {answer}"]])
    assert running(str(answer), *steps) == truth
    # The same chain after which another answer is written, too.
    assert running(str(answer), *steps, written="7") == truth


@pytest.mark.parametrize(
    ("answer", "steps", "found"),
    [
        ("18", ("9 * 2 = 18.", "So the answer is 18."), 0),
        ("18", ("9 * 2 = 18 dollars.", "3 + 2 = 5 for lunch are given.", "So she has 18."), 0),
        ("18", ("9 * 2 = 18.", "Check: 18 / 2 = 9, as it should be."), 0),
        ("18", ("9 * 2 = 18.", "Check: 20 - 2 = 18."), 0),
        ("18", ("9 * 2 = 18 and then 18 * 3 = 54.", "54 / 3 = 18."), 1),
        ("160", ("40*4 = 160", "40*8 = 320", "320-160 = 160"), 2),
        ("160", ("40*4 = 160", "40*4 = 160 again"), 0),
        ("4", ("2+2 = 4", "4/2 = 2 and 4-2 = 2", "2*1 = 2, so 2+2 = 4"), 2),
        ("7", ("54 / 8 = 6.75 packs.", "Rounded up that is 7.", "So 7 packs."), 1),
        ("125", ("5000 * .025 = $125", "8000 * .012 = $96", "since $125 > $96: $125"), 0),
        ("3", ("That leaves 3 1/2 hours.", "7 / 2 - 1/2 = 3"), 1),
        ("-3", ("2 - 5 = -3 degrees.", "It was -3."), 0),
        ("5", ("2 - 7 = -5 below.", "-5 + 10 = 5."), 1),
        ("18", ("Each of them is full.", "Nothing is left."), None),
        ("", ("9 * 2 = 18.",), None),
        ("18", (), None),
    ],
)
def test_statements_and_coincidences_in_running_text(answer, steps, found):
    assert running(answer, *steps) == found


def test_a_number_of_the_question_is_no_statement_before_the_answer_is_worked_out():
    steps = ("There are 6 of them.", "2 * 9 = 18", "18 / 3 = 6")
    assert running("6", *steps, asked="Of 6 boxes, how many?") == 2
    assert running("6", *steps, asked="How many?") == 0
    # At the end of a chain it is one.
    assert running("6", "2 * 9 = 18", "So 6.", asked="Of 6 boxes, how many?") == 1


def test_a_chain_that_leaves_the_answer_for_another():
    steps = ("9 * 2 = 18.", "18 - 3 = 15.")
    assert running("18", *steps, written="15") is None
    # Its writer took the first for the answer, so it is stated there.
    assert running("18", *steps, written="18") == 0


@pytest.mark.parametrize(
    ("text", "stated", "not_stated"),
    [
        ("He pays 6 * 300 = $1,800 a year.", "1800", "6 300 1 800 18"),
        ("That is $1,800.50 in all.", "1800.5", "1800 1 800 50"),
        ("So $1,234,567, then.", "1234567", "1 234 567 1234"),
        ("It is 2 * 9 = 18 and then 18 * 3 = 54.", "18 54", "2 9 3"),
        ("It is 36 / 2 = 6 * 3 = 18, half of 36.", "18 36", "2 6 3"),
        ("9 + 9 equals 18, so 20 with the tip = 20.", "18 20", "9"),
        ("5 - 8 = -3 degrees.", "-3", "3 5 8"),
        ("It costs 2 * 9 = $18.00", "18", "9 2 0"),
        ("The half is .5 of it.", "0.5", "5 0"),
        ("It has 9 * (2 + 1)", "", "9 2 1"),
        ("Then 3 * (x + 9) = (6 * x) + 9", "", "6 3 9"),
        ("It has 3 1/2 left", "", "3 1 2"),
    ],
)
def test_statements_of_one_step(text, stated, not_stated):
    for answer in stated.split():
        assert running(answer, text) == 0, answer
    for answer in not_stated.split():
        assert running(answer, text) is None, answer


def test_solutions_of_gsm8k(data_folder):
    """Where a solution never comes back to a value, it is cut at the step that has the answer."""
    import json

    lines = (data_folder / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:400]
    n_plain = n_last = 0
    for line in lines:
        record = json.loads(line)
        steps, _, answer = read_solution(record["answer"])
        found = running(answer, *steps, asked=record["question"])
        n_last += found == len(steps) - 1
        results = [NUMBERS.rewriter.result(step) for step in steps]
        if results.count(answer) == 1 and results[-1] == answer:
            n_plain += 1
            assert found == len(steps) - 1, steps
    assert n_plain > 300
    assert n_last > 0.9 * len(lines)
