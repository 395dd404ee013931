"""Chains in running text: what they conclude, and mistakes and answers planted in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from interp.chains.chain import Chain, step_texts
from interp.chains.text_trace import ExampleFinder, TextTrace
from interp.chains.trace_files import make_trace
from interp.chains.trace_formats import read_trace_file
from interp.chains.traced_task import make_traced_task
from interp.tasks import Example, NumberRewriter, Task, make_task
from interp.tasks.conclusions import conclude_by
from interp.tasks.graders import make_grader
from interp.tasks.math_reading import read_math
from interp.tasks.planting import plant_answer
from interp.tasks.step_equations import parse_step, value_of
from probes.corruption import Corruption
from tests.planted_readers import means, plant_open

DRAWS = 20


@pytest.fixture(scope="module")
def anchors(data_folder: Path) -> tuple[Task, tuple[TextTrace, ...]]:
    """The published traces of reasoning models, and the task of their questions."""
    folder = data_folder / "thought_anchors"
    if not folder.is_dir():
        pytest.skip(f"no published traces in {folder}")
    traces = tuple(read_trace_file(folder).traces)
    return make_traced_task("anchors", traces), traces


@pytest.fixture(scope="module")
def tokenizer(data_folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(data_folder / "tokenizers" / "qwen3")


def ask(*steps: str, question: str = "How many?", answer: str = "1") -> Example:
    return Example("x", "x", question, answer, steps)


def carried(steps: tuple[str, ...], at: int, seed: int, *, question: str = "How many?"):
    """The steps with a mistake that is carried on, and the number that stands at that step now."""
    made = NumberRewriter().mistake(
        ask(*steps, question=question), steps, at, propagate=True, rng=Random(seed)
    )
    assert made is not None
    stated = parse_step(made[at]).stated
    assert stated is not None
    return made, value_of(stated)


def open_task(*examples: Example, grader: str = "math") -> Task:
    read = make_grader(grader, [e.answer for e in examples]).read
    base = make_task("sums", n=1, seed=0)
    return replace(base, examples=examples, read_answer=read, leads_to=conclude_by(read))


CONCLUSIONS = {
    ("9 * 2 = 18", r"So \boxed{18}."): "18",
    ("9 * 2 = 18", "The answer is 18.", "All steps are right."): "18",
    ("2 / 4 = 0.5", r"**Final Answer** \boxed{\frac{1}{2}}"): "0.5",
    (r"Thus $6 \times 20 = \boxed{120}$.",): "120",
    ("1,000 + 800 = 1,800", "The final answer is $1,800.00 a year."): "1800",
    ("He has 18.", "He is happy."): None,
    ("3 + 4 = 7", "so x >= 12 and y != 5 => z"): "7",
    ("first 2 + 3 = 5 kg,", "then 5 * 4 = 20 kg."): "20",
    (r"\boxed{\sqrt{12}}",): "2 \\sqrt{3}",
}


@pytest.mark.parametrize("steps", CONCLUSIONS)
def test_a_chain_concludes_what_it_announces_or_works_out_last(steps: tuple[str, ...]):
    assert conclude_by(read_math)(ask(*steps), steps) == CONCLUSIONS[steps]


def test_where_answers_are_letters_a_number_concludes_nothing():
    read = make_grader("choices", ["A", "B"], [("3", "18")] * 2).read
    assert conclude_by(read)(ask(), ["9 * 2 = 18", "The answer is (B)."]) == "B"
    assert conclude_by(read)(ask(), ["9 * 2 = 20"]) is None


def test_mistakes_reach_the_end_of_every_published_trace(anchors):
    task, traces = anchors
    for trace, example in zip(traces, task.examples, strict=True):
        steps = task.split_steps(trace.chain)
        ends = task.conclusion(example, steps)
        assert ends == task.read_answer(trace.answer)
        n_made, reaching = 0, 0
        for at in range(len(steps)):
            made = task.rewriter.mistake(example, steps, at, propagate=True, rng=Random(at))
            n_made += made is not None
            reaching += made is not None and task.conclusion(example, made) != ends
            assert made is None or made[:at] == steps[:at]
        assert n_made > len(steps) / 4 and reaching >= 7
        # The last step is the box, or the sentence with the answer.
        last = task.rewriter.mistake(example, steps, len(steps) - 1, propagate=False, rng=Random(0))
        assert last is not None and task.conclusion(example, last) not in (None, ends)


def test_a_published_chain_worked_on_from_another_limit(anchors):
    """3183 becomes v at "319 <= k <= 3183": worked out by hand from there to the box."""
    task, traces = anchors
    number = next(i for i, trace in enumerate(traces) if trace.target == "2865")
    steps = task.split_steps(traces[number].chain)
    at = next(i for i, step in enumerate(steps) if step.strip() == "319 ≤ k ≤ 3183.")
    made = task.rewriter.mistake(task.examples[number], steps, at, propagate=True, rng=Random(0))
    assert made is not None
    v = int(re.findall(r"\d+", made[at])[-1])
    text = "".join(made[at:])
    assert f"{v} - 318 = {v - 318}." in text and f"{v} - 319 is {v - 319}," in text
    assert f"{v} - 319 + 1 = {v - 318}." in text and text.endswith(rf"\boxed{{{v - 318}}}.")
    assert "2865" not in text.replace("2864, then adding 1 gives 2865", "")


def test_corruption_is_defined_on_every_published_trace(anchors, tokenizer, tiny, monkeypatch):
    """A reader that answers what the chain concludes follows; one with a fixed answer does not."""
    task, texts = anchors
    finder = ExampleFinder.of(task)
    traces = [make_trace(text, finder, tokenizer) for text in texts]
    by_prompt = {t.prompt_ids: (t, e) for t, e in zip(traces, task.examples, strict=True)}

    def conclude(prompt: tuple[int, ...], chain: Chain) -> tuple[int, ...]:
        trace, example = by_prompt[prompt]
        ends = task.conclusion(example, step_texts(chain)) if chain else None
        if ends in (None, trace.answer):
            return trace.answer_ids
        return tuple(tokenizer(" " + ends, add_special_tokens=False)["input_ids"])

    model = {"base": replace(tiny, tokenizer=tokenizer)}  # its answers are planted
    plant_open(monkeypatch, conclude)
    found = Corruption(every_step=False).run(model, task, {"r1": traces}, seed=0)
    wanted = [
        ("joint", "follows"),
        ("planted", "follows_planted"),
        ("mistake_last", "follows_mistake"),
    ]
    for key in wanted:
        values = [i.value for i in found if (i.condition, i.metric) == key]
        assert values == [1.0] * len(traces), key
    plant_open(monkeypatch, lambda prompt, _: by_prompt[prompt][0].answer_ids)
    known = means(Corruption(every_step=False).run(model, task, {"r1": traces}, seed=0))
    assert [known[key] for key in wanted] == [0.0, 0.0, 0.0]
    assert known["joint", "decorative"] == 1.0


def exactly(expression: str, new: dict[Fraction, Fraction]) -> tuple[Fraction, bool]:
    """An annotation worked out by Python itself, with other numbers; whether any was replaced."""
    is_other = False

    def other(match: re.Match[str]) -> str:
        nonlocal is_other
        value = Fraction(match[0])
        is_other |= value in new
        return f"Fraction('{new.get(value, value)}')"

    written = re.sub(r"\d+(?:\.\d+)?|\.\d+", other, expression.replace(",", ""))
    return Fraction(eval(written, {"Fraction": Fraction})), is_other  # noqa: S307


def end_of(annotations: list[tuple[int, str, str]], at: int, wrong: Fraction):
    """The last annotated value with a wrong value at one line; None if it does not depend on it.

    An operand is the latest annotated result of the same value.
    """
    first = max(i for i, (line, _, _) in enumerate(annotations) if line == at)
    new = {Fraction(annotations[first][2]): wrong}
    value, depends = wrong, True
    for _, left, right in annotations[first + 1 :]:
        value, depends = exactly(left, new)
        if depends:
            new[Fraction(right)] = value
        else:
            new.pop(Fraction(right), None)
    return value if depends else None


def test_mistakes_reach_the_end_of_gsm8k_where_its_annotations_say_so(data_folder: Path):
    task = make_task("gsm8k", n=None, seed=0, data=data_folder)
    raw = [
        json.loads(line)["answer"].split("####")[0]
        for line in (data_folder / "gsm8k" / "test.jsonl").read_text().splitlines()
    ]
    n_concluded = n_annotated = n_made = n_due = n_equal = 0
    missed: list[str] = []
    for e in task.examples:
        lines = [line for line in raw[int(e.id.split(":")[1])].splitlines() if line.strip()]
        annotations = [
            (at, left, right.replace(",", ""))
            for at, line in enumerate(lines)
            for left, right in re.findall(r"<<([^<>=]*)=([^<>=]*)>>", line)
        ]
        ends = task.conclusion(e, e.steps)
        n_concluded += ends == e.answer
        for at in {line for line, _, _ in annotations}:
            n_annotated += 1
            rng = Random(f"{e.id} {at}")
            made = task.rewriter.mistake(e, e.steps, at, propagate=True, rng=rng)
            n_made += made is not None
            try:
                wrong = Fraction(task.rewriter.result(made[at]) or "") if made else None
                due = None if wrong is None else end_of(annotations, at, wrong)
                is_right = all(
                    abs(exactly(left, {})[0] - Fraction(right)) < Fraction(1, 100)
                    for _, left, right in annotations
                )
            except (ValueError, SyntaxError, TypeError, ZeroDivisionError, NameError):
                continue  # an annotation that is no arithmetic
            last = Fraction(annotations[-1][2])
            if due in (None, last) or not is_right or not ends == e.answer == str(last):
                continue
            n_due += 1
            now = task.conclusion(e, made or ())
            if now == ends:
                missed.append(f"{e.id} {at}")
            n_equal += abs(Fraction(now or 0) - due) <= Fraction(2, 100)
    assert n_concluded >= 1300 and len(task.examples) == 1319
    assert n_made >= 0.99 * n_annotated and n_due > 3300
    assert missed == []
    assert n_equal >= 0.99 * n_due


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_boxed_fraction(seed: int):
    steps = (
        r"Half of it is $\frac{1}{2} + \frac{1}{4} = \frac{3}{4}$.",
        r"Then $\frac{3}{4} - \frac{1}{4} = \frac{1}{2}$.",
        r"The share is \boxed{\frac{1}{2}}.",
    )
    made, value = carried(steps, 0, seed)
    end = value - Fraction(1, 4)
    assert conclude_by(read_math)(ask(), made) == read_math(f"{end}")
    assert "frac" in made[2] or end.denominator == 1


@pytest.mark.parametrize("seed", range(DRAWS))
def test_an_answer_restated_after_a_check(seed: int):
    steps = (
        "She sells 9 * 4 = 36 eggs.",
        "Wait, is it 36?",
        "Let me check: 36 / 4 = 9, as the question says.",
        "Again 9 * 4 = 36.",
        "So she sells 36 eggs.\n\n**Answer:** 36 eggs",
    )
    made, value = carried(steps, 0, seed, question="She sells 9 eggs on 4 days. How many?")
    assert made[1] == f"Wait, is it {value}?" and made[3] == f"Again 9 * 4 = {value}."
    assert made[4] == f"So she sells {value} eggs.\n\n**Answer:** {value} eggs"
    assert f"{value} / 4 = " in made[2] and not made[2].startswith("Let me check: 36")


@pytest.mark.parametrize("seed", range(DRAWS))
def test_thousands_units_and_currency(seed: int):
    steps = (
        "The car costs 9,000 + 1,500 = $10,500.",
        "The tax is 10% of $10,500 = $1,050.",
        r"In all $10{,}500 + 1{,}050 = 11{,}550$ dollars.",
        r"\boxed{\$11{,}550}",
    )
    made, price = carried(steps, 0, seed)
    end = price * Fraction(11, 10)
    assert made[0] == f"The car costs 9,000 + 1,500 = ${int(price):,}."
    assert made[1] == f"The tax is 10% of ${int(price):,} = ${int(price / 10):,}."
    assert conclude_by(read_math)(ask(), made) == str(end) and "{,}" in made[3]
    trip = (
        "At 60 km/h * 3 h = 180 km it is far.",
        "So 180 km.",
        "It takes 180 km / 60 km/h = 3 h.",
    )
    made, far = carried(trip, 0, seed)
    assert made[1] == f"So {far} km." and made[2].startswith(f"It takes {far} km / 60 km/h = ")


def test_names_dates_and_lengths_are_no_numbers():
    steps = (
        "They need 2 * 9 = 18 chairs.",
        r"Room A18, x_{18}, a^18, 18x, the 18-page list, covid-19, step 18 and \hspace{18pt} stay.",
        "On May 18, 2018 and on 18 May there are 18 chairs; 18% of 12:18 is 17-18.",
        "18. The answer is 18.",
    )
    made, value = carried(steps, 0, 0)
    assert made[1] == steps[1]
    assert made[2] == (
        f"On May 18, 2018 and on 18 May there are {value} chairs; {value}% of 12:18 is 17-18."
    )
    assert made[3] == f"18. The answer is {value}."


def test_the_wrong_number_stands_nowhere_in_chain_or_question():
    steps = ("He has 20 + 1 = 21 cards.", "Then 21 + 2 = 23 or 24 - 1 = 23.", "So 19 < 21 < 22.")
    for seed in range(DRAWS):
        made, value = carried(steps, 0, seed, question="Is 18 more than 20?")
        assert value not in {18, 19, 20, 22, 23, 24, 1, 2}
        assert made[1].startswith(f"Then {value} + 2 = {value + 2} or 24 - 1 = 23")


def test_another_calculation_of_the_same_number_is_its_own():
    steps = ("Dogs: 5 * 4 = 20 legs.", "Birds: 10 * 2 = 20 legs.", "All: 20 + 8 + 20 = 48.")
    made, value = carried(steps, 0, 0)
    assert made[1:] == (steps[1], f"All: {value} + 8 + 20 = {value + 28}.")
    one = ("Dogs: 5 * 4 = 20 legs.", "Birds: 10 * 2 = 20 legs.", "Birds and cats: 20 + 8 = 28.")
    assert carried(one, 0, 0)[0][1:] == one[1:]
    chain = ("It is 4 * 60 / 5 = 4 * 12 = 48.", "Or 48 + 2 = 50.")
    made, value = carried(chain, 0, 0)
    assert made[1] == f"Or {value} + 2 = {value + 2}."
    made, sixty = carried(("So 50 + 10 = 60.", chain[0]), 0, 0)
    end = sixty * Fraction(4, 5)
    assert made[1].startswith(f"It is 4 * {sixty} / 5 = ")
    assert parse_step(made[1]).stated and abs(value_of(parse_step(made[1]).stated) - end) < 1


def test_what_states_no_value_stays():
    rewriter = NumberRewriter()
    for step in (
        "Wait.",
        "So k = 2.",
        r"x = 1/(k\pi)",
        "See step 4.",
        "The year is 2m.",
        "It is 1.",
    ):
        assert rewriter.mistake(ask(step), (step,), 0, propagate=True, rng=Random(0)) is None, step
    step = "k <= 319 and k != 3 => n := 4"
    assert rewriter.paraphrase(ask(step), step, Random(0)) not in (None, step)
    assert "equals" not in (rewriter.paraphrase(ask(step), step, Random(0)) or "")


def test_a_planted_number_takes_every_place_of_the_answer():
    steps = ("He has 18 pens.", "18 - 9 = 9.", "9 * 2 = $18.", "18 / 2 = 9 checks.", r"\boxed{18}")
    task = open_task(ask(*steps, question="He has 18 pens. How many?", answer="18"))
    example = task.examples[0]
    for seed in range(DRAWS):
        made = plant_answer(task, example, steps, Random(seed))
        assert made.steps is not None and made.answer not in ("18", "9", "2")
        v = made.answer
        # A number of the question stays until the chain comes to it.
        assert made.steps == (
            *steps[:2], f"9 * 2 = ${v}.", f"{v} / 2 = 9 checks.", rf"\boxed{{{v}}}",
        )  # fmt: skip


def test_planted_words_letters_and_formulas():
    paris = ask("Perhaps Paris.", "Yes, Paris it is.", "The answer is Paris.", answer="Paris")
    rome = Example("y", "y", "Where?", "Rome", ())
    made = plant_answer(open_task(paris, rome, grader="text"), paris, paris.steps, Random(0))
    assert made.answer == "Rome"
    assert made.steps == ("Perhaps Rome.", "Yes, Rome it is.", "The answer is Rome.")
    root = ask(r"So it is \boxed{2\sqrt{3}}.", answer=r"2 \sqrt{3}")
    five = Example("y", "y", "Which?", "5", ())
    made = plant_answer(open_task(root, five), root, root.steps, Random(0))
    assert made.steps == (r"So it is \boxed{5}.",) and made.answer == "5"
    none = plant_answer(open_task(root), root, ("Who knows?",), Random(0))
    assert none.steps is None and none.reason == "the chain states no final answer"
    alone = plant_answer(open_task(root), root, root.steps, Random(0))
    assert alone.steps is None and alone.reason.startswith("there is no other answer")
