"""Reading of mathematics: known values, math-verify's own comparison, threads, what may hang."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest

from interp.tasks import read_number
from interp.tasks.math_reading import find_answer, read_math

CLASSES = [
    ["0.5", "1/2", r"\frac12", r"\boxed{\frac{1}{2}}", "$\\dfrac{1}{2}$", "0.50", "½"],
    ["-5", "\u22125", r"$x = -5$", r"-\$5", "The answer is -5."],
    ["9500", "9,500", r"$9{,}500$", "$9,500 a year", r"9500 \text{ dollars}"],
    ["18", "10 + 8 = 18", "The 2 boxes hold 18", r"\boxed{18 \text{ cm}}", "so 9 * 2 = 18."],
    ["3.5", "3 1/2", r"3\frac{1}{2}", "7/2"],
    ["50", r"50\%", "50%", r"\boxed{50^\circ}"],
    [r"2 \sqrt{3}", r"\sqrt{12}", r"$2\sqrt3$", r"\frac{6}{\sqrt{3}}"],
    [r"x^{2} + 2 x + 1", "(x+1)^2", r"\boxed{x^2+1+2x}"],
    ["x + 1", r"\frac{x^2-1}{x-1}", "1+x"],
    ["1/3", r"0.\overline{3}", r"\frac{2}{6}"],
    [r"(3, \frac{\pi}{2})", r"$\left(3,\frac{\pi}{2}\right)$", r"(3, 0.5\pi)"],
    ["[2, 5)", r"x \in [2,5)"],
    [r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ \frac{4}{2} \end{pmatrix}"],
    ["1024", "2^{10}", r"\boxed{4^5}"],
    [r"\frac{3 x}{2}", "1.5x", r"\frac{3}{2}x"],
    [r"\{1, 2\}", r"\{2,1\}"],
]
HANGS = [
    r"$9^{9^{9^9}}$", r"$9^{9^9}$", r"$99999999!$", r"$(10^{10})!$", r"$10^{10^{10}}$",
    r"$\binom{10000000}{5000000}$", "$" + "(" * 250 + "$", "$" + "{" * 5000 + "$",
    r"$(a+b+c+d+f+g+h)^8$", r"$(x+1)^{150}(y+1)^{150}$", r"$\frac{x^{199}-1}{x^{198}-1}$",
    r"$\sum_{i=1}^{10000000} i$", "1" * 5000, "$" + "1+" * 140 + "1$", r"\boxed{" * 500,
    r"$\sqrt{10^{150}}$", "9**9**9**9", r"$e^{999999}$", "=" * 9999,
]  # fmt: skip


@pytest.mark.parametrize("texts", CLASSES, ids=lambda texts: texts[0])
def test_equal_values_have_one_normal_form_that_reads_as_itself(texts):
    assert {text: read_math(text) for text in texts} == dict.fromkeys(texts, texts[0])


def test_different_values_have_different_normal_forms():
    assert len({texts[0] for texts in CLASSES}) == len(CLASSES)


def test_math_verify_itself_agrees():
    """Its own comparison by computer algebra, not the normal forms, on what it reads as one."""
    from math_verify import LatexExtractionConfig, parse, verify

    def read(text: str):
        latex = [LatexExtractionConfig()]
        return parse(f"${text}$", latex, parsing_timeout=None, fallback_mode="no_fallback")

    formulas = [t for texts in CLASSES[6:] for t in texts if "$" not in t and "box" not in t]
    formulas += [r"\sqrt{3}", "x", r"\frac{x}{2}", "(3, 4)", "[2, 5]", r"3\sqrt{2}", r"\pi"]
    formulas = [formula for formula in formulas if "overline" not in formula]
    for one, other in combinations(formulas, 2):
        told = verify(read(one), read(other), strict=True, timeout_seconds=None)
        assert told == (read_math(one) == read_math(other)), (one, other)


@pytest.mark.parametrize("text", ["", "I do not know", "5-7", "between 5 and 7", "10 + 8", "?"])
def test_no_answer_is_read_as_none(text):
    assert read_math(text) in ("", "?")


def test_where_an_answer_stands():
    assert find_answer(r"\boxed{1} no: \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert find_answer("The answer is 3. No, the answer is 4.") == "4."
    assert find_answer(" 18.\n\nQuestion: And now?\nAnswer: The answer is 7.") == "18."
    assert find_answer(r"\boxed{18") == r"\boxed{18"


def test_nothing_hangs_also_in_threads():
    began = time.process_time()
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_math, [*HANGS, *(t for texts in CLASSES for t in texts)]))
    assert time.process_time() - began < 30
    assert read[len(HANGS) :] == [texts[0] for texts in CLASSES for _ in texts]


def test_gold_answers_of_gsm8k_read_as_numbers_do(data_folder):
    lines = (data_folder / "gsm8k" / "test.jsonl").read_text("utf-8").splitlines()
    golds = [json.loads(line)["answer"].split("####")[1] for line in lines]
    assert [read_math(gold) for gold in golds] == [read_number(gold) for gold in golds]
    plain = [gold.replace(",", "").strip() for gold in golds]
    assert [read_math(rf"so \boxed{{{gold.strip()}}}") for gold in golds] == plain
