"""Tasks: questions with exact answers, where they come from, and how they are rewritten."""

from interp.tasks.numbers import NumberRewriter, read_number
from interp.tasks.sources import TASK_NAMES, make_task
from interp.tasks.steps import split_at_semicolons, split_lines, split_sentences
from interp.tasks.task import Claim, Example, Grade, Layout, Rewriter, Task

__all__ = [
    "Claim",
    "Example",
    "Grade",
    "Layout",
    "TASK_NAMES",
    "NumberRewriter",
    "Rewriter",
    "Task",
    "make_task",
    "read_number",
    "split_at_semicolons",
    "split_lines",
    "split_sentences",
]
