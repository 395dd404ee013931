"""Stepped text: the tokens of a text, and the span of each step of its chain.

The methods of this package act on one step at a time, so they need to know which tokens belong to
it. `lay_out` joins the tokens before the chain, the steps, and the tokens after it, and records the
span of each step. A model's own tokens are never encoded again::

    text = lay_out(prompt_ids + think_open, [step.ids for step in chain])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interp.models.forward import check_row
from interp.models.model import Model

Ids = tuple[int, ...]


@dataclass(frozen=True)
class SteppedText:
    """A text and the spans of its steps.

    Raises:
        ValueError: If a span is empty, reaches beyond the text, or begins before the one before it
            ends; checked once, here.
    """

    ids: Ids
    steps: tuple[range, ...]
    """Token positions of each step, in order. Tokens between, before and after steps are fine."""

    def __post_init__(self) -> None:
        end = 0
        for number, span in enumerate(self.steps):
            if span.step != 1 or not span:
                raise ValueError(
                    f"a step covers at least one token and all from its first to its last; step "
                    f"{number} is {span}. Leave steps without tokens out, and write "
                    f"range(first, last + 1)"
                )
            if span.start < end:
                raise ValueError(
                    f"steps come in order and share no token; step {number} begins at position "
                    f"{span.start}, and the one before it reaches to {end - 1} (a negative "
                    f"position is none). Use lay_out(before, steps) to have the spans counted"
                )
            if span.stop > len(self.ids):
                raise ValueError(
                    f"step {number} reaches to position {span.stop - 1}, beyond the text, which "
                    f"ends at {len(self.ids) - 1}. Were the spans counted in characters or in "
                    f"another text? Use lay_out(before, steps)"
                )
            end = span.stop


def lay_out(
    before: Sequence[int], steps: Sequence[Sequence[int]], after: Sequence[int] = ()
) -> SteppedText:
    """Joins a text from its parts and counts the spans of its steps.

    Args:
        before: Tokens before the first step: the prompt and what opens the chain.
        steps: Token ids of each step.
        after: Tokens that follow the last step and belong to no step.

    Returns:
        The text with its spans.

    Raises:
        ValueError: If a step has no tokens.
    """
    ids, spans = [*before], list[range]()
    for step in steps:
        spans.append(range(len(ids), len(ids) + len(step)))
        ids += step
    return SteppedText((*ids, *after), tuple(spans))


def check_text(model: Model, text: SteppedText, what: str) -> None:
    """Makes sure that a model can read a text and that it has steps.

    Raises:
        ValueError: If it has no steps, or its tokens do not fit the model.
    """
    check_row(model, text.ids, what)
    if not text.steps:
        raise ValueError(f"{what} has no steps, and this method acts on steps. Leave it out")
