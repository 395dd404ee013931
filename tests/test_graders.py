"""Graders: texts, labels and letters as models write them, and which grader fits which answers."""

import pytest

from interp.tasks.graders import choose_grader, make_grader

CHOICES = [["Paris", "Rome", "it is hot"], ["x", "Paris", "none of these"]]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("(B)", "B"), ("B.", "B"), (" b", "B"), ("**B**", "B"), ("B) Rome", "B"),
        ("The answer is B", "B"), ("the answer is (C).", "C"), ("Answer: C", "C"),
        (r"so \boxed{B}", "B"), (r"\text{(B)}", "B"), ("Option B", "B"), ("B because it is", "B"),
        ("Rome", "B"), ("rome.", "B"), ("It is hot", "C"), ("None of these.", "C"),
        # "Paris" is A in one question and B in another.
        ("Paris", ""), ("D", ""), ("A cat sat", ""), ("I think so", ""), ("Berlin", ""), ("", ""),
    ],
)  # fmt: skip
def test_letters_of_choices(text, letter):
    assert make_grader("choices", ["B"], CHOICES).read(text) == letter


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Yes.", "yes"), ("Yes, because it is", "yes"), ("It is maybe so", "maybe"), ("no", "no"),
        (r"\boxed{\text{No}}", "no"), ("The answer is no.", "no"), ("Nothing", ""),
        ("yes or no", ""), ("it may be yes, or no", ""), ("", ""),
    ],
)  # fmt: skip
def test_labels(text, label):
    assert make_grader("labels", ["yes", "no", "maybe"]).read(text) == label


def test_texts_are_given_back_as_the_task_spells_them():
    grader = make_grader("text", ["New York", "a\nb", "it's"])
    for text in ("new  york.", "New York. It is large.", '"New York"\n\nQuestion: b\nAnswer: c'):
        assert grader.read(text) == "New York"
    assert grader.read("A b") == "a b" and grader.read("It's") == "it's"
    assert grader.read("London.") == "London" and grader.read(" ") == ""
    assert grader.equal("New York", "new york") and not grader.equal("", "")
    assert not grader.equal("New York", "York")


def test_mathematics_with_an_answer_in_words():
    grader = make_grader("math", [r"\frac12", r"\text{Evelyn}"])
    assert grader.read("evelyn.") == grader.read(r"\boxed{\text{Evelyn}}") == "Evelyn"
    assert grader.equal(r"\frac12", "0.5") and not grader.equal(r"\frac12", "0.4")


@pytest.mark.parametrize(
    ("answers", "choices", "name"),
    [
        (["1", "2,000", r"\frac{1}{2}"], [], "math"),
        (["1", "2", r"\text{Monday}"], [], "math"),
        (["yes", "No", "no", "yes"], [], "labels"),
        (["yes", "no", "Paris"], [], "text"),
        (["B"], [["1", "2"]], "choices"),
    ],
)
def test_the_grader_that_fits(answers, choices, name):
    assert choose_grader(answers, choices) == name


def test_errors_name_what_there_is():
    with pytest.raises(ValueError, match="known: math, text, labels, choices"):
        make_grader("fuzzy", ["1"])
    with pytest.raises(ValueError, match="no question lists any"):
        make_grader("choices", ["1"])
