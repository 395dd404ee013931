r"""GSM8K: word problems whose gold steps carry their own arithmetic (Cobbe et al. 2021).

One record of ``test.jsonl`` (openai/grade-school-math, MIT)::

    {"question": "Janet's ducks lay 16 eggs per day. ...",
     "answer": "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes ...\n#### 18"}

Each line is a step. The calculator's ``<<16-3-4=9>>`` is taken out of the text and kept as
``facts["equation_0"]``, so a propagated mistake can be worked out exactly. The number after
``####`` is the answer.

The prompt has four worked examples, which are our own and short (about 300 tokens), and then
``Question: ...\nAnswer: Let us work it out step by step.``. Each step begins with a line break, and
the answer is read after ``\nThe answer is``. (After a bare ``Answer:`` SmolLM2, a chat model,
mostly ends its turn at once.) The question without the worked examples is ``facts["asked"]``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

from interp.files import parse_json, read_text
from interp.tasks.conclusions import conclude_by
from interp.tasks.math_reading import find_answer
from interp.tasks.number_reading import read_number
from interp.tasks.numbers import NumberRewriter
from interp.tasks.step_splitting import split_lines
from interp.tasks.task import Example, Layout, Task

LAYOUT = Layout(
    think_open="",
    think_close="",
    answer_cue="\nThe answer is",
    answer_end=".\n",
    filler=" ...",
    joiner="",
    answer_open=" ",
)
FEW_SHOT: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Nora has 3 boxes with 6 pens in each. She gives 4 pens away. How many pens are left?",
        ("Nora has 3 * 6 = 18 pens.", "After giving 4 away she has 18 - 4 = 14 pens."),
        "14",
    ),
    (
        "A ticket costs $8, and a child pays half. What do 2 adults and 3 children pay?",
        (
            "A child pays 8 / 2 = $4.",
            "Two adults pay 2 * 8 = $16.",
            "Three children pay 3 * 4 = $12.",
            "Together they pay 16 + 12 = $28.",
        ),
        "28",
    ),
    (
        "Omar runs 5 miles a day on 4 days a week. How many miles does he run in 3 weeks?",
        ("Each week Omar runs 5 * 4 = 20 miles.", "In 3 weeks he runs 20 * 3 = 60 miles."),
        "60",
    ),
    (
        "A tank holds 90 liters. It loses 10 liters an hour. How much is left after 4 hours?",
        ("In 4 hours it loses 10 * 4 = 40 liters.", "What is left is 90 - 40 = 50 liters."),
        "50",
    ),
)
BARE = "Question: {}\nAnswer: Let us work it out step by step."
_ANNOTATION = re.compile(r"<<([^<>]*)>>")


def gsm8k_task(*, n: int | None, seed: int, data: Path | None) -> Task:
    """Problems of the GSM8K test set, few-shot.

    Args:
        n: How many problems, drawn without replacement; None for all.
        seed: Which ones.
        data: Folder that holds ``gsm8k/test.jsonl`` (or ``test.jsonl``); the environment variable
            POSTHOC_DATA by default.

    Returns:
        The task.

    Raises:
        FileNotFoundError: If the file is not there; the message says where to get it.
        ValueError: If there are fewer than `n` problems, or a line is malformed.
    """
    path = _test_file(data)
    # Not splitlines(), which also cuts at U+2028 inside a text.
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    n = len(lines) if n is None else n
    if n > len(lines):
        raise ValueError(f"{path} holds {len(lines)} problems, but n={n} was received")
    # Random hashes a text by itself: the same seed draws the same in every process.
    numbers = Random(f"gsm8k {seed}").sample(range(len(lines)), n)
    return Task(
        name="gsm8k",
        examples=tuple(_example(path, number, lines[number]) for number in numbers),
        layout=LAYOUT,
        rewriter=NumberRewriter(),
        split_steps=split_lines,
        read_answer=read_answer,
        leads_to=conclude_by(read_answer),
        max_chain_tokens=200,
        max_answer_tokens=10,
        bare=BARE,
    )


def prompt(question: str) -> str:
    """The whole text of a question: the worked examples, then the question itself."""
    examples = [
        BARE.replace("{}", asked)
        + "".join(f"\n{step}" for step in steps)
        + f"{LAYOUT.answer_cue}{LAYOUT.answer_open}{answer}."
        for asked, steps, answer in FEW_SHOT
    ]
    return "\n\n".join([*examples, BARE.replace("{}", question)])


def read_answer(text: str) -> str:
    r"""The number that a text gives: in its last ``\boxed{}``, after "answer is", or at its start.

    Example:
        >>> read_answer(" 18."), read_answer(r"So 9 * 2 = 18 in all, \boxed{18}")
        ('18', '18')
    """
    return read_number(find_answer(text))


def read_solution(text: str) -> tuple[tuple[str, ...], dict[str, str | int], str]:
    """Splits a GSM8K solution into steps, annotations and answer.

    Args:
        text: Lines with ``<<expression=value>>``, then ``#### answer``.

    Returns:
        The steps without annotations (each begins with a line break), the annotations as
        ``equation_<step>`` (steps without one have no entry), and the answer in normal form.

    Raises:
        ValueError: If there is no ``####`` with a number.
    """
    body, mark, final = text.partition("####")
    answer = read_number(final)
    if not mark or not answer:
        raise ValueError(f"a GSM8K solution ends in '#### ' and a number; received {text[-40:]!r}")
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    equations: dict[str, str | int] = {}
    for at, line in enumerate(lines):
        if annotations := _ANNOTATION.findall(line):
            equations[f"equation_{at}"] = annotations[-1]  # its result is that of the step
    steps = tuple("\n" + _ANNOTATION.sub("", line) for line in lines)
    return steps, equations, answer


def _test_file(data: Path | None) -> Path:
    variable = os.environ.get("POSTHOC_DATA")
    folder = data or (Path(variable) if variable else None)
    for path in () if folder is None else (folder / "gsm8k" / "test.jsonl", folder / "test.jsonl"):
        if path.is_file():
            return path
    reason = "no folder was named" if folder is None else f"it is not in {folder}"
    raise FileNotFoundError(
        f"GSM8K is read from gsm8k/test.jsonl, but {reason}. Take it from "
        f"https://github.com/openai/grade-school-math (MIT, grade_school_math/data/test.jsonl) and "
        f"name its folder: --data FOLDER, make_task('gsm8k', data=FOLDER) or POSTHOC_DATA=FOLDER"
    )


def _example(path: Path, number: int, line: str) -> Example:
    place = f"{path}, line {number + 1}"
    record = parse_json(line, place, "question", "answer")
    asked = str(record["question"]).strip()
    try:
        steps, equations, answer = read_solution(str(record["answer"]))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    return Example(
        id=f"gsm8k:{number}",
        problem=f"gsm8k:{number}",
        question=prompt(asked),
        answer=answer,
        steps=steps,
        facts={"asked": asked, "depth": len(steps), **equations},
    )


SPLITS = {"": gsm8k_task}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
