"""Numbers as models write them: their values by hand, and texts that give none."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from interp.tasks import Example, NumberRewriter, read_number
from interp.tasks.number_reading import find_numbers, stated_numbers

ONE = {
    # Signs.
    "−5": "-5",
    "–5": "-5",
    "-\\$5": "-5",
    "−$1,200": "-1200",
    "- 18": "-18",
    "(−3)": "-3",
    "covid-19": "19",
    "Answer - 18": "18",
    # Thousands.
    "9,500": "9500",
    "$9{,}500": "9500",
    "9\\,500": "9500",
    "9\u202f500": "9500",
    "$1,234,567.50": "1234567.5",
    # Fractions.
    "1/2": "0.5",
    "-2/3": "-2/3",
    "3 1/2": "3.5",
    "\\frac{1}{2}": "0.5",
    "\\(3\\tfrac12\\)": "3.5",
    "\\dfrac{ 3 }{ 7 }": "3/7",
    "3½ cups": "3.5",
    "⅔": "2/3",
    # Powers of ten.
    "1e3": "1000",
    "1e-3": "0.001",
    "1.5 x 10^3": "1500",
    "1.5 \\times 10^{-2}": "0.015",
    # LaTeX and markdown.
    "\\boxed{18}": "18",
    "$\\$18$": "18",
    "18\\text{ dollars}": "18",
    "\\text{18 kg}": "18",
    "**18**": "18",
    "50\\%": "50",
    # Which number of a text.
    "10 + 8 = 18": "18",
    "5 − 8 = −3 degrees.": "-3",
    "2 * 9 equals 18": "18",
    "9 * 2 ≈ 18": "18",
    "x = \\frac{1}{3}": "1/3",
    "The 2 boxes hold 18": "18",
    "The 2 boxes hold 18. Then 5 more.": "18",
    "18 pens for 3 days": "18",
    "is 18 for 3 days": "18",
    "18. She has 5 left": "18",
    "Well.\nThe 2 boxes hold 18\n\nQuestion 5": "18",
    "18 = total": "18",
}
NONE = (
    "3,5", "1,2", "1, 2", "2, 3 and 4", "18 or 19", "5-7", "5–7", "5 to 7", "between 5 and 7",
    "10 + 8", "3 x 6", "3 * 6", "= 12 + 6", "1.234.567", "9,5000", "12:30", "3:2", "1/2/2024",
    "12 24/7", "1/0",
)  # fmt: skip


@pytest.mark.parametrize("text", ONE)
def test_the_number_that_a_text_gives(text: str):
    assert read_number(text) == read_number(f" {text}") == ONE[text]


@pytest.mark.parametrize("text", NONE)
def test_texts_that_give_no_number(text: str):
    assert read_number(text) == ""


def test_one_value_has_one_form():
    texts = ("0.5", "1/2", "\\frac{2}{4}", "½", ".50", "5e-1")
    assert {read_number(text) for text in texts} == {"0.5"}


def test_every_number_and_its_sign():
    text = "From -4, 9 - 4 and 5–7: (−2) + $-3 = −1{,}000 or 3,5"
    values = [-4, 9, 4, 5, 7, -2, -3, -1000, None]
    assert [number.value for number in find_numbers(text)] == values


RESULTS = {
    "x = 1/2": "0.5",
    "5 − 8 = −3 degrees.": "-3",
    "so 3 \\times 6 = 18\\text{ cups}": "18",
    "She pays 6 * 300 = **$1,800** a year.": "1800",
    "9{,}000 + 500 = 9{,}500": "9500",
    "1/3 of 60 = 20, half of 40": "20",
    "9*2=18, so x = y": "18",
    "It is 18": None,
    "That is 3 * 6 = 12 + 6": None,
    "x = 3,5": None,
    "x = 12 - 5": None,
    "y = (6 * x) + 9": None,
    "y = 6 - a good price": "6",
}


@pytest.mark.parametrize("step", RESULTS)
def test_the_result_of_a_step(step: str):
    assert NumberRewriter().result(step) == RESULTS[step]


@pytest.mark.parametrize(
    ("text", "stated", "not_stated"),
    [
        ("5 − 8 = −3 degrees.", "-3", "3 5 8 -8"),
        ("x = 1/2", "0.5", "1 2"),
        ("That leaves \\frac{1}{3}.", "1/3", "1 3"),
        ("It is 9{,}500 in all.", "9500", "9 500"),
        ("He is at −$5.00 now.", "-5", "5"),
        ("It took 3 1/2 hours.", "3.5", "3 0.5"),
        ("So 1e3 of them", "1000", "1 3"),
        ("Between 5–7 = 6", "6", "5 7"),
    ],
)
def test_statements_count_by_value(text: str, stated: str, not_stated: str):
    assert {Fraction(value) for value in stated.split()} <= stated_numbers(text)
    assert not {Fraction(value) for value in not_stated.split()} & stated_numbers(text)


def example(*steps: str) -> Example:
    return Example("x", "x", "How many?", "1", steps)


@pytest.mark.parametrize(
    "step",
    [
        "5 − 8 = −3 degrees.", "x = 1/2", "x = \\frac{1}{2}", "9{,}000 + 500 = $9{,}500", "x = ½",
        "x = -\\$5", "a + b = −$1,800 a year", "it equals 2.50",
    ],
)  # fmt: skip
def test_a_mistake_is_written_as_the_result_was(step: str):
    rewriter = NumberRewriter()
    was = Fraction(rewriter.result(step) or "")
    for seed in range(20):
        made = rewriter.mistake(example(step), (step,), 0, propagate=False, rng=Random(seed))
        assert made is not None
        now = Fraction(rewriter.result(made[0]) or "")
        assert now != was and abs(now - was) < 10 * max(abs(was), 1)
        for mark in ("{,}", "frac", "$", "\\$"):
            assert (mark in made[0]) == (mark in step) or now.denominator == 1
        assert step.startswith(made[0][:4])


def test_mistakes_in_negative_numbers_and_fractions_are_carried_on():
    rewriter = NumberRewriter()
    steps = ("So 5 − 8 = −3 degrees.", "Then −3 + 10 = 7.", "At −3 it was cold, at 3 not.")
    made = rewriter.mistake(example(*steps), steps, 0, propagate=True, rng=Random(0))
    assert made is not None
    value = int(rewriter.result(made[0]) or "")
    written = f"−{-value}" if value < 0 else str(value)
    assert value != -3 and made[0] == f"So 5 − 8 = {written} degrees."
    assert made[1] == f"Then {written} + 10 = {value + 10}."
    assert made[2] == f"At {written} it was cold, at 3 not."
    halves = ("Each gets 1/2 of it.", "10/2 = 5.", "That is 5 - 1/2 = 4.5.")
    made = rewriter.mistake(example(*halves), halves, 1, propagate=True, rng=Random(0))
    assert made is not None
    value = int(rewriter.result(made[1]) or "")
    assert made[0] == halves[0] and made[1] == f"10/2 = {value}."
    assert made[2] == f"That is {value} - 1/2 = {float(value - 0.5):.2f}."
