"""Token sources: the models that may write the next token of a text, and the record of who did.

The sources of a text written by a pair are 'base', 'post', and named candidates: the base model
under further interventions. Before each token a rule receives a `TokenChoice` and names a source; a
`Routing` is the record of the whole text. `batch_interventions` and `merge_receipts` translate
between the interventions and receipts of one text and those of the batch in which it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from interp.interventions import Intervention, Receipt
from interp.sites import BySite, Site


@dataclass(frozen=True, eq=False)
class TokenChoice:
    """The next token of one row, as each source predicts it; a rule chooses between them."""

    row: int
    prompt: Sequence[int]
    written: tuple[int, ...]
    """New tokens so far."""
    logprobs: Mapping[str, Float[Tensor, " d_vocab"]]
    """Source -> log-probabilities (nats, temperature 1): 'base', 'post' and those of candidates."""
    proposed: Mapping[str, int]
    """Source -> the token that it would write: the most likely one, or the one drawn."""
    captures: Mapping[str, BySite[Tensor]]
    """'base' and 'post' -> site -> activation at the last token, own interventions included."""

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates that were read at this step."""
        return [name for name in self.proposed if name not in ("base", "post")]


ChosenSource = str | tuple[str, int]
"""The source whose token is written; with a token, that one is written instead of its proposal."""


def resolve(choice: object, step: TokenChoice, d_vocab: int) -> tuple[str, int]:
    """Checks what a rule returned, and gives the source and the token that it stands for.

    Args:
        choice: What the rule returned, unchecked.
        step: What the rule received.
        d_vocab: Number of tokens that can be written.

    Raises:
        ValueError: If it names no source that was read, or something other than a token id.
    """
    match choice:
        case str(source) if source in step.proposed:
            return source, step.proposed[source]
        # bool is a subclass of int: without the last test True would be token 1.
        case (str(source), int(token)) if source in step.proposed and not isinstance(token, bool):
            if 0 <= token < d_vocab:
                return source, token
        case _:
            pass
    raise ValueError(
        f"`choose` must return the name of a source that was read ({', '.join(step.proposed)}), "
        f"or a tuple of such a name and a token id (an int below {d_vocab}); for row {step.row} it "
        f"returned {choice!r} after {len(step.written)} new tokens. Candidates are there only "
        f"where `offer` is true: see step.candidates"
    )


def disagree(step: TokenChoice) -> bool:
    """Whether base and post would write different tokens."""
    return step.proposed["base"] != step.proposed["post"]


@dataclass(frozen=True)
class Routing:
    """What was written after one prompt, and which source wrote each token."""

    ids: tuple[int, ...]
    """New tokens, the stopping ones included."""
    sources: tuple[str, ...]
    """Which source gave each token."""
    proposed: Mapping[str, tuple[int | None, ...]]
    """Source -> the token that it proposed at each step; None where a candidate was not read."""
    logprobs: Mapping[str, tuple[float | None, ...]]
    """Source -> its log-probability (nats, temperature 1) of each token that was written."""
    stopped: bool
    """Whether a stop sequence was reached; False: it ran into `max_new_tokens`."""
    receipts: Mapping[str, tuple[Receipt, ...]]
    """Source -> one per intervention, counted in the base's interventions followed by the
    candidate's own. With a window, positions are listed step after step, as often as read."""


@dataclass(frozen=True)
class DecodingSettings:
    """What the rows of a request share; the fields are the arguments of `route`."""

    choose: Callable[[TokenChoice], ChosenSource]
    offer: Callable[[TokenChoice], bool]
    candidates: Mapping[str, Sequence[Intervention]]
    window: int | Literal["all"]
    base: Sequence[Intervention]
    post: Sequence[Intervention]
    capture: Sequence[Site]
    max_new_tokens: int
    stop: Sequence[tuple[int, ...]]
    temperature: float

    def offered_to(self, row: int) -> list[str]:
        """Candidates with an intervention that asks for this row."""
        return [
            name for name, edits in self.candidates.items() if any(_acts(e, row) for e in edits)
        ]


def _acts(edit: Intervention, row: int) -> bool:
    return edit.rows is None or row in edit.rows


def batch_interventions(
    readings: Sequence[tuple[int, str]], settings: DecodingSettings
) -> tuple[list[Intervention], list[tuple[str | None, int]]]:
    """The interventions of a batch in which a row is read once per source.

    Args:
        readings: Row and source of each entry of the batch.
        settings: Whose interventions they are. Those of base act on all readings of a row that they
            ask for; those of a candidate on its own readings.

    Returns:
        The interventions, their `rows` being indices of readings, and for each the candidate (None:
        base) and its place among the interventions of that candidate's receipts.
    """
    edits: list[Intervention] = []
    names: list[tuple[str | None, int]] = []
    groups = [(None, settings.base), *settings.candidates.items()]
    for name, group in groups:
        start = 0 if name is None else len(settings.base)
        for place, edit in enumerate(group, start=start):
            asked = tuple(
                n
                for n, (row, source) in enumerate(readings)
                if _acts(edit, row) and name in (None, source)
            )
            if asked:
                edits.append(replace(edit, rows=asked))
                names.append((name, place))
    return edits, names


def merge_receipts(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """One receipt per intervention of a row; norms are means over all its edits."""
    merged: list[Receipt] = []
    for place in sorted({receipt.intervention for receipt in receipts}):
        parts = [receipt for receipt in receipts if receipt.intervention == place]
        positions = tuple(at for part in parts for at in part.positions)

        def mean(name: str, parts: Sequence[Receipt] = parts) -> float:
            edited = [part for part in parts if part.positions]  # the norms of the others are NaN
            total = sum(getattr(part, name) * part.n_positions for part in edited)
            return total / sum(part.n_positions for part in edited) if edited else float("nan")

        norms = {name: mean(name) for name in ("edit_norm", "dose_in_norms")}
        merged.append(replace(parts[0], positions=positions, **norms))
    return tuple(merged)
