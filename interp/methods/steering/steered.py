"""Steering: a direction added to the stream while a model reads and writes.

`steer` turns a direction and a dose into an intervention; the dose is in **mean residual norms** of
the site, one constant length for all positions, so that a sweep over doses is a straight line in
the stream. (The engine's unit 'norms' would scale each position by its own norm instead.)
`write_steered` generates under it. Every text comes with its receipts: which positions were edited,
by how much, and how large that was relative to the stream at these positions.

A text that is *read* instead of written gets the same edits by `run` with `prompt_lengths`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interp.chains.texts import decode
from interp.engine import generate
from interp.interventions import Intervention, Positions, Receipt, add
from interp.methods.directions import Direction, check_fits
from interp.models import Model


@dataclass(frozen=True)
class Written:
    """What a model wrote after one prompt under a direction."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    """New tokens, the stopping ones included."""
    text: str
    stopped: bool
    receipt: Receipt
    """Positions edited (of prompt and new tokens together), edit norm, dose in residual norms."""


def steer(
    direction: Direction,
    dose: float,
    *,
    positions: Positions = "all",
    rows: tuple[int, ...] | None = None,
) -> Intervention:
    """The intervention that adds a direction.

    Args:
        direction: With a reference norm.
        dose: In mean residual norms; negative doses push the other way, 0 changes nothing.
        positions: Where in each row.
        rows: Rows of the batch; None means all.

    Returns:
        `add` of dose x reference norm x unit vector.

    Raises:
        ValueError: If the direction has no reference norm.
    """
    if direction.reference_norm is None:
        raise ValueError(
            f"a dose is counted in mean residual norms, and this direction "
            f"({direction.source.method}, {direction.site}) does not know that norm. Measure it: "
            f"with_reference(direction, collect(model, rows, positions, site).mean_norm)"
        )
    vector = direction.vector * direction.reference_norm
    return Intervention(direction.site, add, vector, dose, positions=positions, rows=rows)


def write_steered(
    model: Model,
    prompts: Sequence[Sequence[int]],
    direction: Direction,
    dose: float,
    *,
    max_new_tokens: int,
    positions: Positions = "all",
    stop: Sequence[Sequence[int]] = (),
    batch_size: int = 64,
) -> tuple[Written, ...]:
    """Continues every prompt under a direction, taking the most likely token each time.

    Args:
        model: The writer.
        prompts: Token ids.
        direction: What is added.
        dose: In mean residual norms; 0 writes the unsteered text.
        max_new_tokens: Longest continuation.
        positions: Where; 'all' includes the last prompt token, which decides the first new one.
        stop: Token sequences that end a text.
        batch_size: Prompts written together.

    Returns:
        One text per prompt, with its receipt.

    Raises:
        ValueError: If the direction does not fit the model, or has no reference norm.
        RuntimeError: If any position that should be edited was not, or the reverse.
    """
    check_fits(model, direction)
    written = generate(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        stop=stop,
        interventions=[steer(direction, dose, positions=positions)],
        batch_size=batch_size,
    )
    return tuple(
        Written(
            tuple(prompt), one.ids, decode(model.tokenizer, one.ids), one.stopped, one.receipts[0]
        )
        for prompt, one in zip(prompts, written, strict=True)
    )
