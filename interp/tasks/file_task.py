r"""Tasks from a file of questions: JSONL, CSV or Parquet.

Each row is a question::

    {"question": "How many legs have 3 cats?", "answer": "12", "steps": ["3 * 4 = 12 legs."]}
    {"question": "Is water wet?", "answer": "B", "choices": ["no", "yes"]}

Columns are ``question`` and ``answer``, and as they are known

- ``steps``: a correct chain, as a list of texts or one text. Without it the probes that edit gold
  chains have nothing to edit, and the chains that models write are read as ever;
- ``choices``: a list of texts, or an object of letter and text. They are listed under the question
  as ``(A) ...``, and the answer is a letter or the text of one choice;
- ``id``: its own in every row; else the number of the row;
- ``problem``: rows of one problem are one unit of the statistics; else each row is a problem.

Other columns are not read. Solutions are understood as data sets write them: GSM8K's ``answer``
(steps with ``<<3*4=12>>``, then ``#### 12``); MATH's columns ``problem`` and ``solution`` in place
of question and answer, and any answer that is a solution with ``\boxed{12}`` in it.

How answers are compared is chosen from the gold answers unless it is named
(`interp.tasks.graders`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from interp.tasks.conclusions import conclude_by
from interp.tasks.graders import choose_grader, letters, make_grader
from interp.tasks.gsm8k import BARE, LAYOUT, read_solution
from interp.tasks.math_reading import find_answer
from interp.tasks.numbers import NumberRewriter
from interp.tasks.step_splitting import split_lines, split_sentences
from interp.tasks.table_files import Row, read_table
from interp.tasks.task import Example, Task

MAX_CHAIN_TOKENS = 512
"""A model writes at least this many tokens of a chain, and twice the longest gold chain."""
CHARACTERS_PER_TOKEN = 3
"""Of texts whose tokenizer is not known yet; low, so that budgets are rather too long."""


@dataclass(frozen=True)
class _Record:
    """One question as the file has it."""

    place: str
    id: str
    problem: str
    question: str
    answer: str
    """As written, not yet in normal form."""
    steps: tuple[str, ...]
    has_lines: bool
    """Whether each step is a line; else they are sentences."""
    choices: tuple[str, ...]
    facts: Mapping[str, str | int]


def file_task(path: Path, *, n: int | None, seed: int, grader: str | None = None) -> Task:
    """Questions of a file.

    Args:
        path: A file that ends in .jsonl, .csv or .parquet.
        n: How many questions, drawn without replacement; None for all.
        seed: Which ones.
        grader: How answers are compared, a name of `interp.tasks.graders.GRADERS`; chosen from the
            gold answers where it is not given.

    Returns:
        The task, named after the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A row is malformed, an id stands twice, or there are fewer than `n` questions.
            The message gives line and field.
    """
    rows = read_table(path)
    records = [_read(row, number) for number, row in enumerate(rows)]
    _check_ids(records)
    n = len(records) if n is None else n
    if n > len(records):
        raise ValueError(
            f"{path} holds {len(records)} questions, but n={n} was received. Ask for at most "
            f"{len(records)} (--n {len(records)})"
        )
    # All rows, not only those drawn: what an answer looks like does not depend on the draw.
    answers, choices = [r.answer for r in records], [r.choices for r in records]
    grading = make_grader(grader or choose_grader(answers, choices), answers, choices)
    labels = tuple(dict.fromkeys(map(grading.read, answers))) if grading.name == "labels" else ()
    has_lines = any(record.has_lines for record in records)
    # Random hashes a text by itself: the same seed draws the same in every process.
    drawn = Random(f"{path.name} {seed}").sample(records, n)
    examples = tuple(
        _example(record, path.stem, grading.read, labels, is_letter=grading.name == "choices")
        for record in drawn
    )
    return Task(
        name=path.name,
        examples=examples,
        layout=LAYOUT,
        rewriter=NumberRewriter(),
        split_steps=split_lines if has_lines else split_sentences,
        read_answer=grading.read,
        leads_to=conclude_by(grading.read),
        max_chain_tokens=max(MAX_CHAIN_TOKENS, *(2 * _budget("".join(e.steps)) for e in examples)),
        max_answer_tokens=10 + max(_budget(e.answer) for e in examples),
        bare=BARE,
    )


def show(question: str, choices: Sequence[str]) -> str:
    """A question with its choices."""
    listed = zip(letters(choices), choices, strict=True)
    return question + "".join(f"\n({letter}) {text}" for letter, text in listed)


def _budget(text: str) -> int:
    return len(text) // CHARACTERS_PER_TOKEN


def _read(row: Row, number: int) -> _Record:
    place, cells = row
    asked, solved = "question", "answer"
    if "question" not in cells and {"problem", "solution"} <= cells.keys():  # as MATH has them
        asked, solved = "problem", "solution"
        # With a column of its own the answer is that, and the solution is the chain.
        cells = {**cells, "problem": None, "question": cells["problem"]}
        cells["answer"] = cells.get("answer", cells["solution"])
        cells.setdefault("steps", cells["solution"])
    for name, source in (("question", asked), ("answer", solved)):
        if cells.get(name) is None:
            raise ValueError(
                f"{place}: every row has {name!r}, and it is empty or there is no such column; "
                f"received the columns {', '.join(map(str, row.cells)) or 'none'}. Rename the "
                f"column that holds the {source}"
            )
    question, answer = _text(place, "question", cells), _text(place, "answer", cells)
    choices = _choices(place, cells.get("choices"))
    record = _Record(
        place, str(_name(place, "id", cells, number)), "", question, answer,
        _steps(place, cells.get("steps")), isinstance(cells.get("steps"), list), choices,
        {"asked": question},
    )  # fmt: skip
    record = replace(record, problem=str(_name(place, "problem", cells, record.id)))
    if "####" in answer:
        try:
            steps, equations, final = read_solution(answer)
        except ValueError as error:
            raise ValueError(f"{place}, field 'answer': {error}") from error
        facts = {**record.facts, **equations}
        return replace(record, answer=final, steps=steps, has_lines=True, facts=facts)
    return _from_solution(record)


def _from_solution(record: _Record) -> _Record:
    """The record with answer and steps taken from a solution that boxes its answer."""
    if "boxed{" in record.answer:
        final = find_answer(record.answer)
        if "boxed{" in final or not final:
            raise ValueError(
                f"{record.place}, field 'answer': the box of the answer is empty or not closed in "
                f"{record.answer[-60:]!r}"
            )
        text = "" if record.answer.lstrip().startswith("\\boxed") else record.answer
        solution = split_sentences(f"\n{text.strip()}") if text else ()
        record = replace(record, answer=f"\\boxed{{{final}}}", steps=record.steps or solution)
    if not record.choices:
        return record
    return replace(record, answer=_letter(record))


def _letter(record: _Record) -> str:
    """The letter of the choice that the answer names."""
    stated = find_answer(record.answer)
    read = make_grader("choices", (), [record.choices]).read(stated)
    if not read:
        raise ValueError(
            f"{record.place}, field 'answer': the answer is the letter or the text of one choice; "
            f"received {stated!r}, and the choices are {', '.join(map(repr, record.choices))}"
        )
    return read


def _text(place: str, name: str, cells: Mapping[str, Any]) -> str:
    content = cells[name]
    if isinstance(content, bool):
        return "true" if content else "false"
    if not isinstance(content, str | int | float):
        raise ValueError(
            f"{place}, field {name!r} is a text or a number; received "
            f"{type(content).__name__} {str(content)[:60]!r}"
        )
    if isinstance(content, float) and content.is_integer():
        content = int(content)
    return str(content).strip()


def _name(place: str, name: str, cells: Mapping[str, Any], otherwise: str | int) -> str | int:
    return otherwise if cells.get(name) is None else _text(place, name, cells)


def _steps(place: str, content: Any) -> tuple[str, ...]:
    """Steps in running text: each begins with its white space."""
    if content is None:
        return ()
    if isinstance(content, str):
        return split_sentences(f"\n{content.strip()}")
    if not isinstance(content, list) or not all(isinstance(s, str) and s.strip() for s in content):
        raise ValueError(
            f"{place}, field 'steps' is a text or a list of texts, none of them blank; received "
            f"{str(content)[:60]!r}"
        )
    # One line for each: the chains that models write are cut at line breaks then, too.
    return tuple("\n" + " ".join(step.split("\n")).strip() for step in content)


def _choices(place: str, content: Any) -> tuple[str, ...]:
    if content is None:
        return ()
    if isinstance(content, dict) and {"text", "label"} == content.keys():  # as ARC has them
        content = content["text"]
    if isinstance(content, dict):
        content = [content[letter] for letter in sorted(content)]
    texts = [str(c).strip() for c in content] if isinstance(content, list) else []
    if not 2 <= len(texts) <= 26 or not all(texts) or len({*texts}) < len(texts):
        raise ValueError(
            f"{place}, field 'choices' is a list of 2 to 26 different texts; received "
            f"{str(content)[:60]!r}"
        )
    return tuple(texts)


def _check_ids(records: Sequence[_Record]) -> None:
    twice = {name for name, count in Counter(r.id for r in records).items() if count > 1}
    for record in records:
        if record.id in twice:
            places = [r.place for r in records if r.id == record.id]
            raise ValueError(
                f"{places[1]}, field 'id': each row has an id of its own, and {record.id!r} also "
                f"stands in {places[0]}. Leave one row out, or the column (rows are numbered then)"
            )


def _example(
    record: _Record,
    source: str,
    read: Callable[[str], str],
    labels: tuple[str, ...],
    *,
    is_letter: bool,
) -> Example:
    answer = read(record.answer)
    if not answer:
        raise ValueError(
            f"{record.place}, field 'answer': the grader reads no answer in {record.answer!r}. "
            "Another grader may: --grader text"
        )
    own = letters(record.choices) if is_letter else ()
    facts = dict(record.facts)
    if record.steps:
        facts["depth"] = len(record.steps)
    shown = show(record.question, record.choices)
    if record.choices:
        facts["shown"] = shown
    return Example(
        id=f"{source}:{record.id}",
        problem=f"{source}:{record.problem}",
        question=BARE.replace("{}", shown),
        answer=answer,
        steps=record.steps,
        candidates=own or labels,
        facts=facts,
    )
