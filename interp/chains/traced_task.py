r"""A task made of the questions and right answers that a file of traces holds.

Logs of an evaluation carry both, so traces on any data set can be read without a task of that data
set. Each question is an example, whoever answered it. How answers are read follows from the right
ones: as numbers if all of them are numbers; as letters if all are letters, such as ``(B)``; else as
text, white space and a full stop at the end aside. What a chain leads to is read in the same way
(`interp.tasks.conclusions`). No reference chains are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from interp.chains.text_trace import TextTrace, plain
from interp.chains.trace_formats.outputs import split_answer
from interp.tasks import Example, NumberRewriter, Task, read_number, split_reasoning
from interp.tasks.conclusions import conclude_by
from interp.tasks.gsm8k import LAYOUT
from interp.tasks.sums import BARE

SHORTEST_CHAIN, LONGEST_CHAIN = 200, 2048
"""Bounds of the token budget for chains that models write, which grows with the chains given."""
_LETTER = re.compile(r"\(([A-Z])\)|(?<![\w'])([A-Z])(?![\w'])")


def make_traced_task(name: str, traces: Sequence[TextTrace]) -> Task:
    """Makes the task.

    Args:
        name: Of the task.
        traces: Each with its question and its right answer.

    Returns:
        One example for each question, in order of the first trace on it.

    Raises:
        ValueError: A trace has no question or no right answer, or one question has two.
    """
    targets: dict[str, TextTrace] = {}
    for trace in traces:
        missing = [field for field in ("question", "target") if not getattr(trace, field)]
        if missing:
            raise ValueError(
                f"{trace.place}: a task is made of the questions and right answers in the file, "
                f"and here is no {' and no '.join(missing)}. Name the task that these traces "
                "answer (--task), or add the field"
            )
        first = targets.setdefault(plain(trace.question), trace)
        if first.target != trace.target:
            raise ValueError(
                f"{trace.place}: the right answer is {trace.target!r}, where {first.place} has "
                f"{first.target!r} for the same question"
            )
    read = choose_reader([trace.target for trace in targets.values()])
    labels = [trace.example for trace in targets.values()]
    if "" in labels or len(set(labels)) < len(labels):
        labels = [str(at) for at in range(len(targets))]
    examples = [
        _example(f"{name}:{label}", trace, read)
        for label, trace in zip(labels, targets.values(), strict=True)
    ]
    n_words = max(len(trace.chain.split()) for trace in traces)
    return Task(
        name=name,
        examples=tuple(examples),
        layout=LAYOUT,
        rewriter=NumberRewriter(),
        split_steps=split_reasoning,
        read_answer=read,
        leads_to=conclude_by(read),
        max_chain_tokens=min(LONGEST_CHAIN, max(SHORTEST_CHAIN, 2 * n_words)),
        max_answer_tokens=10 if read is not read_text else 40,
        bare=BARE,
    )


def choose_reader(targets: Sequence[str]) -> Callable[[str], str]:
    """How answers are read, given the right ones.

    Example:
        >>> choose_reader(["18", "-2.5"]) is read_number, choose_reader(["(A)", "B"]) is read_letter
        (True, True)
    """
    # A number with words beside it is a text: "2 apples" and "2 pears" are not the same answer.
    if all(read_number(one) and not re.search(r"[^\W\d_]{2,}", one) for one in targets):
        return read_number
    if all(re.fullmatch(r"\(?[A-Z]\)?\.?", one.strip()) for one in targets):
        return read_letter
    return read_text


def read_letter(text: str) -> str:
    """The letter of a choice, ``A`` of ``(A) The Great Gatsby``; empty if there is none."""
    found = _LETTER.search(split_answer(text).answer)
    return next(filter(None, found.groups()), "") if found else ""


def read_text(text: str) -> str:
    """The answer that a text gives, in small letters and plain white space."""
    return plain(split_answer(text).answer).rstrip(".").casefold()


def _example(name: str, trace: TextTrace, read: Callable[[str], str]) -> Example:
    answer = read(trace.target)
    asked = trace.question.strip()
    letters = dict.fromkeys(found for found in re.findall(r"\(([A-Z])\)", asked))
    is_choice = read is read_letter and answer in letters
    return Example(
        id=name,
        problem=name,
        question=BARE.replace("{}", asked),
        answer=answer,
        steps=(),
        candidates=tuple(letters) if is_choice else (),
        facts={"asked": asked},
    )
