"""Arms: one model, asked the bare question under one edit of the last question token each.

An arm adds a direction (dose in mean residual norms) or projects it out. What is measured for each
question:

* **opens**: P(the text opens with a chain), exactly, from the logits;
* **reasons**: opens x 1[the chain that follows is right]. The chain is continued greedily after its
  opening, still under the edit. It is right if it is closed, an answer of the task's form follows
  its cue and is correct, every step that claims something claims it rightly and one at least does
  (where the task can check claims), and the answer is the one to which the chain leads. So chance
  hits of a chain of nonsense do not count;
* **kl**: nats per token, KL(unedited || edited) on the unedited model's own text after the opening.

The probability of opening is used in place of a greedy choice since a push from 0.07 to 0.4 is an
effect that a greedy first token does not show. Arms are rows of one batch; a row does not notice
the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import decode, encode, encode_layout
from interp.chains.completions import find_format, read_completion
from interp.engine import generate, run
from interp.interventions import Intervention, project_out
from interp.methods.directions import Direction
from interp.methods.steering import Written, steer
from interp.models import Model
from interp.tasks import Example, Task

Ids = tuple[int, ...]
Values = Float[np.ndarray, " example"]


@dataclass(frozen=True, eq=False)
class Arm:
    """One edit of the last question token."""

    direction: Direction
    dose: float
    """Mean residual norms to add, or the share of the component that is projected out."""
    operator: Literal["add", "ablate"] = "add"

    def edit(self, positions: tuple[int, ...], rows: tuple[int, ...]) -> Intervention:
        """The intervention in these rows."""
        if self.operator == "add":
            return steer(self.direction, self.dose, positions=positions, rows=rows)
        return Intervention(
            self.direction.site,
            project_out,
            self.direction.vector,
            self.dose,
            positions=positions,
            rows=rows,
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one arm did, per example; NaN where it was not asked for."""

    opens: Values
    reasons: Values
    kl: Values


class Bench:
    """A model and the questions that it is asked under every arm."""

    def __init__(self, model: Model, task: Task, *, batch_size: int) -> None:
        tokenizer = model.tokenizer
        self.model, self.task, self.batch_size = model, task, batch_size
        self.layout = encode_layout(tokenizer, task.layout)
        self.format = find_format(task, tokenizer, needs_chain=False)
        if not self.layout.think_open:
            raise ValueError(
                f"task {task.name} has no text that opens a chain, so whether a model opens one "
                f"cannot be read. Ask a task whose layout has think_open"
            )
        self.questions = [encode(tokenizer, example.question) for example in task.examples]
        fixed = len(self.layout.think_close) + len(self.layout.answer_cue)
        ends = task.max_answer_tokens + len(self.layout.answer_end)
        self.max_new_tokens = task.max_chain_tokens + fixed + ends
        self._own: list[Ids] | None = None

    def measure(
        self, arms: Sequence[Arm], *, is_written: bool = True, has_kl: bool = True
    ) -> list[Outcome]:
        """The outcome of each arm on every question.

        Args:
            arms: The edits.
            is_written: Whether chains are written; without, `reasons` is NaN and costs nothing.
            has_kl: Whether the text after the opening is read; without, `kl` is NaN.

        Returns:
            One outcome for each arm, in order.
        """
        n = len(self.questions)
        if not n or not arms:
            return [Outcome(*np.zeros((3, n))) for _ in arms]
        right = np.full((len(arms), n), np.nan)
        if is_written:
            for k, one in enumerate(self._write(arms)):
                right[k // n, k % n] = self.is_right(self.task.examples[k % n], one)
        own: Sequence[Ids] = [()] * n
        if has_kl:
            if self._own is None:  # the unedited text, by an edit of dose 0
                self._own = [one.ids for one in self._write([Arm(arms[0].direction, 0.0)])]
            own = self._own
        opens, kl = self._read(arms, own)
        return [Outcome(o, o * r, k) for o, r, k in zip(opens, right, kl, strict=True)]

    def first_probability(self, token: int) -> Float[Tensor, " example"]:
        """Probability of a first new token after each question, unedited."""
        return run(self.model, self.questions, logits_at="last").last.softmax(-1)[:, token].cpu()

    def _write(self, arms: Sequence[Arm]) -> list[Written]:
        opened = self.layout.think_open
        prompts = [question + opened for question in self.questions]
        n, eos = len(prompts), self.model.tokenizer.eos_token_id
        found: list[Written] = []
        per_call = max(1, self.batch_size // n)
        for start in range(0, len(arms), per_call):
            here = arms[start : start + per_call]
            edits = [
                arm.edit((-1 - len(opened),), tuple(range(at * n, (at + 1) * n)))
                for at, arm in enumerate(here)
            ]
            rows = prompts * len(here)
            texts = generate(
                self.model, rows, max_new_tokens=self.max_new_tokens, interventions=edits,
                stop=() if eos is None else ((int(eos),),), batch_size=self.batch_size,
            )  # fmt: skip
            for row, one in zip(rows, texts, strict=True):
                text = decode(self.model.tokenizer, one.ids)
                found.append(Written(row, one.ids, text, one.stopped, one.receipts[0]))
        return found

    def _read(self, arms: Sequence[Arm], own: Sequence[Ids]) -> tuple[np.ndarray, np.ndarray]:
        """P(opening) and the KL after it, [arm, example]; some questions under all arms at once."""
        opened, n = self.layout.think_open, len(self.questions)
        texts = [
            q + (opened + ids if ids else opened)[:-1]
            for q, ids in zip(self.questions, own, strict=True)
        ]
        opens, kl = np.zeros((2, len(arms), n))
        size = max(1, self.batch_size // len(arms))
        for start in range(0, n, size):
            chunk = range(start, min(start + size, n))
            plain = run(self.model, [texts[at] for at in chunk]).logits
            moved = [number for number, arm in enumerate(arms) if arm.dose != 0]
            cells = [(number, at) for number in moved for at in chunk]
            places: dict[tuple[int, int], list[int]] = {}
            for row, (number, at) in enumerate(cells):
                places.setdefault((number, len(self.questions[at]) - 1), []).append(row)
            edits = [arms[number].edit((at,), tuple(rows)) for (number, at), rows in places.items()]
            texts_of = [texts[at] for _, at in cells]
            edited = run(self.model, texts_of, interventions=edits).logits if cells else ()
            unmoved = [number for number, arm in enumerate(arms) if arm.dose == 0]
            still = [(number, at) for number in unmoved for at in chunk]
            rows = [*edited, *(plain[at - start] for _, at in still)]
            for (number, at), row in zip([*cells, *still], rows, strict=True):
                first = len(self.questions[at]) - 1
                p, q = (
                    logits[first:].double().log_softmax(-1) for logits in (plain[at - start], row)
                )
                begun = sum(float(q[k, token]) for k, token in enumerate(opened))
                opens[number, at] = np.exp(begun)
                kl[number, at] = _kl(p[len(opened) :], q[len(opened) :])
        return opens, kl

    def is_right(self, example: Example, written: Written) -> bool:
        """Whether a chain after its opening, and the answer after it, are right."""
        ids = self.layout.think_open + written.ids
        return read_completion(self.format, example, ids).is_chain_valid


def _kl(p: Tensor, q: Tensor) -> float:
    """Mean KL(p || q) over positions, nats."""
    return float((p.exp() * (p - q)).sum(-1).mean()) if len(p) else float("nan")
