"""Folders of Thought Anchors (thought-anchors.com): one problem and one solution each.

``problem.json`` holds the problem and its right answer, ``base_solution.json`` what the model
wrote. Folders lie in ``MODEL/KIND/problem_NUMBER``; every one below the named folder is read, and
the model's name is that of the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interp.chains.text_trace import TextTrace
from interp.chains.trace_formats.fields import text_of
from interp.chains.trace_formats.outputs import read_output
from interp.files import read_json

SOLUTION, PROBLEM = "base_solution.json", "problem.json"
_KINDS = ("correct_base_solution", "incorrect_base_solution")


def find_folders(path: Path) -> list[Path]:
    """The folders with a solution, at or below a folder."""
    return sorted(found.parent for found in path.rglob(SOLUTION))


def read_folder(folder: Path) -> Sequence[TextTrace]:
    """The trace of one folder.

    Raises:
        InputError: A file is missing a field, or is no JSON.
        OSError: A file is not there.
    """
    solution = read_json(folder / SOLUTION, "solution", "answer")
    problem = read_json(folder / PROBLEM, "problem", "gt_answer")
    place = str(folder / SOLUTION)
    try:
        written = read_output(text_of(solution, "solution"))
        trace = TextTrace(
            place=place,
            example=folder.name,
            question=text_of(problem, "problem"),
            chain=written.chain,
            answer=text_of(solution, "answer"),
            target=text_of(problem, "gt_answer"),
            status=written.status,
            is_output=True,
        )
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    is_sorted = folder.parent.name in _KINDS
    return [replace(trace, writer=folder.parent.parent.name if is_sorted else trace.writer)]
