"""Position classes: the kinds of positions in a laid-out chain, and what is predicted there.

    <bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A
    |---- question ---| think   |operands| = result ...   |- answer cue -|

Two models of a pair that read one text can be compared class by class. At three kinds of places a
prediction bears on reasoning, each as log-odds in nats:

* **mode**, after the last question token: opening a chain against giving the answer cue;
* **step**, before the result of a step: its result against all other candidates;
* **answer**, after the answer cue: the answer against all other candidates.

The result of a step is read by its rewriter, at the last token of the step with that id
(not at the step's first, which is predicted outside it). The token before it, which predicts it, is
a class of its own (`step_equals`): patched there in the last layer, any donor hands over its
prediction, which is no evidence about the operands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import Chain, LayoutIds
from interp.chains.rendering import lay_out
from interp.chains.texts import Ids, encode
from interp.tasks import Rewriter

QUESTION, LAST, THINK = "question", "last_question_token", "think_open"
OPERANDS, EQUALS, RESULTS = "step_operands", "step_equals", "step_results"
CUE, ALL = "answer_cue", "all"
POSITION_CLASSES = (QUESTION, LAST, THINK, OPERANDS, EQUALS, RESULTS, CUE, ALL)
MODE, STEP, ANSWER = "mode", "step", "answer"
READS = (MODE, STEP, ANSWER)


@dataclass(frozen=True)
class Readout:
    """Log-odds of one token against others after one position, in nats."""

    position: int
    """Its logits predict the token."""
    token: int
    against: tuple[int, ...]

    def __call__(self, logits: Float[Tensor, "*batch pos d_vocab"]) -> Float[Tensor, "*batch"]:
        """logit(token) - log sum exp of the logits of the others."""
        row = logits[..., self.position, :]
        return row[..., self.token] - row[..., list(self.against)].logsumexp(-1)


@dataclass(frozen=True)
class PositionClasses:
    """One text with the positions of each class."""

    ids: Ids
    """Up to and with the answer cue."""
    positions: Mapping[str, tuple[int, ...]]
    """Of each class that the text has."""
    readouts: Mapping[str, tuple[Readout, ...]]
    """Mode and answer have one; there is one per step that states a result."""

    def read(
        self, name: str, logits: Float[Tensor, "*batch pos d_vocab"]
    ) -> Float[Tensor, "*batch"]:
        """Mean log-odds over the readouts of a kind."""
        return torch.stack([one(logits) for one in self.readouts[name]]).mean(0)

    def reaches(self, position_class: str, name: str) -> bool:
        """Whether a change at a class can move any readout of a kind: none looks ahead."""
        first = self.positions[position_class][0]
        return any(one.position >= first for one in self.readouts[name])


def find_position_classes(
    tokenizer: Any,
    layout: LayoutIds,
    rewriter: Rewriter,
    prompt_ids: Ids,
    chain: Chain,
    answer: Ids,
    candidates: Sequence[Ids],
) -> PositionClasses:
    """Lays out a text and finds its position classes.

    Args:
        tokenizer: Of the readers.
        layout: The fixed text.
        rewriter: Reads the result of a step.
        prompt_ids: The question.
        chain: Its steps.
        answer: The answer whose odds are read.
        candidates: All answers; results of steps are compared with them too.

    Returns:
        PositionClasses that have no position, and readouts that have no place, are left out.

    Raises:
        ValueError: If candidates or answer are not single tokens, or too few to have odds.
    """
    numbers = tuple(ids[0] for ids in candidates if len(ids) == 1)
    if len(numbers) < max(2, len(candidates)) or answer not in candidates:
        raise ValueError(
            f"odds are read between answers of one token each, of which the answer is one; "
            f"received {len(candidates)} candidates, {len(numbers)} of them one token, and the "
            f"answer {answer}. Use a task with such candidates"
        )
    text = lay_out(prompt_ids, chain, layout)
    ids, n_question = text.ids, text.question.stop
    places: dict[str, list[int]] = {name: [] for name in POSITION_CLASSES}
    steps: list[Readout] = []
    for step, span in zip(chain, text.steps, strict=True):
        stated = encode(tokenizer, rewriter.result(step.text) or "")
        own = ids[span.start : span.stop]
        if len(stated) == 1 and stated[0] in numbers and stated[0] in own[1:]:
            result = span.stop - 1 - own[::-1].index(stated[0])
            places[OPERANDS] += range(span.start, result - 1)
            places[EQUALS].append(result - 1)
            places[RESULTS].append(result)
            steps.append(Readout(result - 1, stated[0], _others(numbers, stated[0])))
    places[QUESTION] += range(n_question)
    places[LAST].append(n_question - 1)
    places[THINK] += text.opening
    places[CUE] += text.cue
    places[ALL] += range(len(ids))
    reads = {STEP: steps, ANSWER: [Readout(len(ids) - 1, answer[0], _others(numbers, answer[0]))]}
    if layout.think_open and layout.think_open[0] != layout.answer_cue[0]:  # else always 0
        reads[MODE] = [Readout(n_question - 1, layout.think_open[0], layout.answer_cue[:1])]
    return PositionClasses(
        ids,
        {name: tuple(at) for name, at in places.items() if at},
        {name: tuple(of_kind) for name, of_kind in reads.items() if of_kind},
    )


def _others(numbers: Sequence[int], one: int) -> Ids:
    return tuple(number for number in numbers if number != one)
