"""A preview of an audit: what the models will read, how answers are graded, and what it costs.

Everything is said before anything runs, from the tokenizers and configurations: the first prompt of
each model token by token, the lengths of questions and chains, what fits into the context, and what
the grader makes of the gold answers. Time and memory are estimates (`probes.preview.costs`): the
probes are run on a few examples with a model of one tiny block, to count the tokens that they read
and write, and the speed of a token is measured on random weights of the real shape. No weights are
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from interp.errors import is_about_input, one_line
from interp.models.outline import Outline
from interp.tasks import Task
from probes.preview.costs import describe_costs
from probes.preview.grading import describe_grading
from probes.preview.texts import describe_texts, longest_sequence


def preview(
    task: Task, outlines: Mapping[str, Outline], *, writers: Sequence[str], device: str, dtype: str
) -> Iterator[str]:
    """The lines of a preview, each as soon as it is known.

    Args:
        task: The questions of the audit.
        outlines: Of the models, by role: base, and post where there is one.
        writers: Whose chains the audit reads.
        device: Where the models will be.
        dtype: Number format of their weights.
    """
    yield from describe_grading(task)
    for role, outline in outlines.items():
        yield ""
        yield from describe_texts(task, role, outline)
    yield ""
    short = [
        outline.name
        for outline in outlines.values()
        if longest_sequence(task, outline) > outline.n_ctx
    ]
    if short:
        yield f"Time and memory are not estimated: some texts do not fit into {short[0]}."
        return
    try:
        yield from describe_costs(task, outlines, writers=writers, device=device, dtype=dtype)
    except Exception as error:
        if not is_about_input(error):
            raise
        yield f"Time and memory are not estimated: {one_line(error)}"
