"""Activation interchange: answers of a model with the activations of another text in one piece.

Two problems are laid out in the same pieces, token for token. The model reads the first, but at the
positions of one piece the residual stream entering every block is that of the second, the donor.
Later tokens can read there only what comes from the donor; the words stay. The answer shows from
which piece the model takes it::

    own    Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A   -> 3
    donor  Q 5 + 4 * 2 ? <think> 5 + 4 = 9 ; 9 * 2 = 7 ; </think> A   -> 7

With the donor's last step in place a model that reads its chain answers 7, and one that does not
answers 3; with the donor's question in place the first answers 3 and the second 7. (Interchange
interventions: Geiger et al. 2021, arXiv 2106.02997.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import LayoutIds, encode_answer, encode_layout, encode_steps
from interp.chains.rendering import render
from interp.chains.texts import Ids, encode
from interp.engine import run
from interp.interventions import Intervention, replace
from interp.models import Model
from interp.sites import Site
from interp.tasks import Example, Task

Piece = Literal["last step", "early steps", "chain", "question"]
BATCH = 64


@dataclass(frozen=True)
class Swap:
    """A problem, a donor laid out like it, the piece that is swapped, and the predicted answers."""

    own: Example
    donor: Example
    piece: Piece
    if_read: str
    """The answer predicted for a model that takes it from the chain."""
    if_not: str
    """The answer predicted for a model that does not."""
    before: tuple[str, str | None]
    """The answers to both problems without a swap, by a model of the expected kind; None where the
    donor's answer is not determined."""


@dataclass(frozen=True)
class InterchangeOutcome:
    """The answer of a model after a swap."""

    gives_read: bool
    gives_not: bool
    p_read: float
    """P(if_read) / (P(if_read) + P(if_not)); 1/2 where the two are the same answer."""
    is_countable: bool
    """Whether the model answers both problems as expected without a swap."""


@dataclass(frozen=True)
class _Text:
    """A problem in token ids up to the answer cue, and where its pieces are."""

    ids: Ids
    spans: dict[Piece, tuple[int, ...]]


def interchange(model: Model, task: Task, swaps: Sequence[Swap]) -> tuple[InterchangeOutcome, ...]:
    """Interchanges activations, each swap independently of the others (they run in batches).

    Args:
        model: The reader.
        task: Whose layout the problems have.
        swaps: Problems, donors and pieces.

    Returns:
        One outcome per swap, in order. The model gives an answer if each of its words is the
        likeliest at its place (and, where answers are open, the text that ends it, too).

    Raises:
        ValueError: If a donor's pieces are not as long as those of the problem.
    """
    outcomes: list[InterchangeOutcome] = []
    for first in range(0, len(swaps), BATCH):
        outcomes += _batch(model, task, swaps[first : first + BATCH])
    return tuple(outcomes)


def _batch(model: Model, task: Task, swaps: Sequence[Swap]) -> list[InterchangeOutcome]:
    layout = encode_layout(model.tokenizer, task.layout)
    own = [_lay_out(model.tokenizer, layout, swap.own) for swap in swaps]
    donors = [_lay_out(model.tokenizer, layout, swap.donor) for swap in swaps]
    for swap, mine, other in zip(swaps, own, donors, strict=True):
        if mine.spans != other.spans:
            raise ValueError(
                f"a donor is laid out like the problem, token for token; received the donor "
                f"{swap.donor.question!r}, whose pieces are elsewhere than those of "
                f"{swap.own.question!r}. Take a donor of equal length and as many steps."
            )
    # Without a swap: the problems themselves, then the donors.
    plain = [
        # Where the donor's answer is open any target will do: its result is not used.
        _gives(model, task, texts, [s.before[i] or s.donor.answer for s in swaps])
        for i, texts in enumerate((own, donors))
    ]
    edits = _edits(model, swaps, own, donors)
    read = _gives(model, task, own, [s.if_read for s in swaps], edits)
    kept = _gives(model, task, own, [s.if_not for s in swaps], edits)
    return [
        InterchangeOutcome(
            gives_read=read[i].is_given,
            gives_not=kept[i].is_given,
            # The sigmoid of the difference, since both probabilities can be tiny.
            p_read=float(torch.sigmoid(torch.tensor(read[i].logprob - kept[i].logprob))),
            is_countable=plain[0][i].is_given
            and (swaps[i].before[1] is None or plain[1][i].is_given),
        )
        for i in range(len(swaps))
    ]


def _lay_out(tokenizer: Any, layout: LayoutIds, example: Example) -> _Text:
    prompt = encode(tokenizer, example.question)
    chain = encode_steps(tokenizer, example.steps)
    starts = [len(prompt) + len(layout.think_open)]
    for step in chain:
        starts.append(starts[-1] + len(step.ids))
    spans: dict[Piece, tuple[int, ...]] = {
        "question": tuple(range(len(prompt))),
        "chain": tuple(range(starts[0], starts[-1])),
        "early steps": tuple(range(starts[0], starts[-2])),
        "last step": tuple(range(starts[-2], starts[-1])),
    }
    return _Text(render(prompt, chain, layout), spans)


def _edits(
    model: Model, swaps: Sequence[Swap], own: Sequence[_Text], donors: Sequence[_Text]
) -> list[Intervention]:
    # At every block: swapped before the first alone, the piece would go on from the own text.
    sites = [Site(layer, "resid_pre") for layer in range(model.n_layers)]
    captures = run(model, [text.ids for text in donors], capture=sites, logits_at="last").captures
    return [
        Intervention(site, replace, captures[site][i][list(places)], positions=places, rows=(i,))
        for i, (swap, text) in enumerate(zip(swaps, own, strict=True))
        if (places := text.spans[swap.piece])  # a chain of one step has no early steps
        for site in sites
    ]


@dataclass(frozen=True)
class _Given:
    is_given: bool
    logprob: float


def _gives(
    model: Model,
    task: Task,
    texts: Sequence[_Text],
    answers: Sequence[str],
    edits: Sequence[Intervention] = (),
) -> list[_Given]:
    """Whether each answer is what the model would write greedily, and its log-probability."""
    end = encode(model.tokenizer, task.layout.answer_end)
    rows, targets = [], []
    for text, answer in zip(texts, answers, strict=True):
        target = encode_answer(model.tokenizer, task.layout, answer)
        targets.append(target if task.examples[0].candidates else target + end)
        rows.append((*text.ids, *targets[-1]))
    logits = run(model, rows, interventions=edits).logits
    return [_given(row, target) for row, target in zip(logits, targets, strict=True)]


def _given(logits: Float[Tensor, "_ d_vocab"], target: Ids) -> _Given:
    wanted = torch.tensor(target, device=logits.device)
    # Each position predicts the token after it.
    logprobs = logits[-len(target) - 1 : -1].log_softmax(-1)
    chosen = logprobs.gather(1, wanted[:, None]).sum()
    return _Given(bool((logprobs.argmax(-1) == wanted).all()), float(chosen))
