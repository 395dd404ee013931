"""Tasks: questions with exact answers, where they come from, and how they are rewritten."""

from interp.tasks.number_reading import read_number
from interp.tasks.numbers import NumberRewriter
from interp.tasks.registry import make_task, name_task, task_names
from interp.tasks.step_splitting import (
    split_at_semicolons,
    split_lines,
    split_reasoning,
    split_sentences,
)
from interp.tasks.task import Example, Grade, Layout, Rewriter, StepTruth, Task

__all__ = [
    "Example",
    "Grade",
    "Layout",
    "task_names",
    "NumberRewriter",
    "Rewriter",
    "StepTruth",
    "Task",
    "make_task",
    "name_task",
    "read_number",
    "split_at_semicolons",
    "split_lines",
    "split_reasoning",
    "split_sentences",
]
