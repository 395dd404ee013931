"""What a task's reading makes of its own gold answers.

A gold answer that does not read to itself would count every right response as wrong. So each is
read as a model may write it: alone, after the answer cue, in a sentence, and in a box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from interp.tasks import Task

FORMS = {
    "in a sentence": "The answer is {}.",
    "in a box": "So we are done.\n\\boxed{{{}}}",
}
"""Name -> how an answer may be written in running text."""
N_SHOWN = 3


def describe_grading(task: Task) -> Iterator[str]:
    """Lines about the questions, the gold answers and their grader."""
    n = len(task.examples)
    answers = Counter(example.answer for example in task.examples)
    common = ", ".join(f"{a!r} ({count})" for a, count in answers.most_common(N_SHOWN))
    problems = len({example.problem for example in task.examples})
    n_steps = sum(bool(example.steps) for example in task.examples)
    yield f"Task {task.name}: {n} questions of {problems} problems, {n_steps} with a gold chain"
    if not n_steps:
        yield "  Without gold chains, only chains that models write themselves can be read."
    yield f"  gold answers: {len(answers)} different, most often {common}"
    yield f"  chance: {task.chance:.3f} (the best constant guess, or one of the candidates)"
    layout = task.layout
    written = {"alone": "{}", "with what ends it": f"{layout.answer_open}{{}}{layout.answer_end}"}
    if layout.joiner:  # words of a small vocabulary
        written["with what ends it"] = layout.joiner.join(("{}", layout.answer_end))
    else:
        written |= FORMS
    for name, form in written.items():
        failed = [
            example
            for example in task.examples
            if task.read_answer(form.format(example.answer)) != example.answer
        ]
        yield f"  read back, written {name}: {n - len(failed)} of {n}"
        for example in failed[:N_SHOWN]:
            read = task.read_answer(form.format(example.answer))
            yield f"    {example.id}: {example.answer!r} is read as {read!r}"
