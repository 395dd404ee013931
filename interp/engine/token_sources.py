"""Sources: who may write the next token of a text, what each says, and what came of it.

The sources of a text written by a pair are 'base', 'post', and named candidates: the base model
under further interventions. A `Step` is what a rule gets to see before each token, a `Routing` is
the record of the whole text. `addressed` and `merged` translate between the interventions and
receipts of a candidate and those of the batch in which it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from interp.interventions import Intervention, Receipt
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class Step:
    """What all sources say about the next token of one row."""

    row: int
    prompt: Sequence[int]
    written: tuple[int, ...]
    """New tokens so far."""
    logprobs: Mapping[str, Float[Tensor, " d_vocab"]]
    """Source -> log-probabilities (nats, temperature 1): 'base', 'post' and those of candidates."""
    proposed: Mapping[str, int]
    """Source -> the token that it would write: the most likely one, or the one drawn."""
    captures: Mapping[str, Mapping[Site, Tensor]]
    """'base' and 'post' -> site -> activation at the last token, own interventions included."""

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates that were asked at this step."""
        return [name for name in self.proposed if name not in ("base", "post")]


Choice = str | tuple[str, int]
"""The source whose token is written; with a token, that one is written instead of its proposal."""


def resolve(choice: object, step: Step, d_vocab: int) -> tuple[str, int]:
    """The source and the token that a choice stands for.

    Args:
        choice: What a rule returned; nobody has checked it.
        step: What it was asked about.
        d_vocab: Tokens that can be written.

    Raises:
        ValueError: If it names no source that was asked, or something other than a token id.
    """
    match choice:
        case str(source) if source in step.proposed:
            return source, step.proposed[source]
        case (str(source), int(token)) if source in step.proposed and not isinstance(token, bool):
            if 0 <= token < d_vocab:
                return source, token
        case _:
            pass
    raise ValueError(
        f"`choose` must return the name of a source that was asked ({', '.join(step.proposed)}), "
        f"or a tuple of such a name and a token id (an int below {d_vocab}); for row {step.row} it "
        f"returned {choice!r} after {len(step.written)} new tokens. Candidates are there only "
        f"where `offer` is true: see step.candidates"
    )


def disagree(step: Step) -> bool:
    """Whether base and post would write different tokens."""
    return step.proposed["base"] != step.proposed["post"]


@dataclass(frozen=True)
class Routing:
    """What was written after one prompt, and by whom."""

    ids: tuple[int, ...]
    """New tokens, the stopping ones included."""
    sources: tuple[str, ...]
    """Which source gave each token."""
    proposed: Mapping[str, tuple[int | None, ...]]
    """Source -> the token that it proposed at each step; None where a candidate was not asked."""
    logprobs: Mapping[str, tuple[float | None, ...]]
    """Source -> its log-probability (nats, temperature 1) of each token that was written."""
    stopped: bool
    """Whether a stop sequence was reached; False: it ran into `max_new_tokens`."""
    receipts: Mapping[str, tuple[Receipt, ...]]
    """Source -> one per intervention, counted in the base's interventions followed by the
    candidate's own. With a window, positions are listed step after step, as often as read."""


@dataclass(frozen=True)
class Settings:
    """What the rows of a request share; the fields are the arguments of `route`."""

    choose: Callable[[Step], Choice]
    offer: Callable[[Step], bool]
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
            name for name, edits in self.candidates.items() if any(_asks(e, row) for e in edits)
        ]


def _asks(edit: Intervention, row: int) -> bool:
    return edit.rows is None or row in edit.rows


def addressed(
    lines: Sequence[tuple[int, str]], settings: Settings
) -> tuple[list[Intervention], list[tuple[str | None, int]]]:
    """Interventions whose rows are the indices of `lines` (row and source), and what each is.

    The base's own act on every line of a row that they ask for; a candidate's on its own lines.
    """
    edits: list[Intervention] = []
    names: list[tuple[str | None, int]] = []
    groups = [(None, settings.base), *settings.candidates.items()]
    for name, group in groups:
        start = 0 if name is None else len(settings.base)
        for place, edit in enumerate(group, start=start):
            asked = tuple(
                n
                for n, (row, source) in enumerate(lines)
                if _asks(edit, row) and name in (None, source)
            )
            if asked:
                edits.append(replace(edit, rows=asked))
                names.append((name, place))
    return edits, names


def merged(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """One receipt per intervention of a row; norms are means over all its edits."""
    found: list[Receipt] = []
    for place in sorted({receipt.intervention for receipt in receipts}):
        parts = [receipt for receipt in receipts if receipt.intervention == place]
        positions = tuple(at for part in parts for at in part.positions)

        def mean(name: str, parts: Sequence[Receipt] = parts) -> float:
            edited = [part for part in parts if part.positions]
            total = sum(getattr(part, name) * part.n_positions for part in edited)
            return total / sum(part.n_positions for part in edited) if edited else float("nan")

        norms = {name: mean(name) for name in ("edit_norm", "dose_in_norms")}
        found.append(replace(parts[0], positions=positions, **norms))
    return tuple(found)
