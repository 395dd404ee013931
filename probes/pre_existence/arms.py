"""Arms: one model, asked the bare question under one edit of the last question token each.

An arm adds a direction (dose in mean residual norms) or projects it out. What is measured for each
question:

* **opens**: P(the text opens with a chain), exactly, from the logits;
* **reasons**: opens x 1[the chain that follows is valid]. The chain is continued greedily after its
  opening, still under the edit, and graded as every completion is (`interp.chains.completions`):
  answer and whole chain must be right, so chance hits of a chain of nonsense do not count;
* **kl**: nats per token, KL(unedited || edited) on the unedited model's own text after the opening.

The probability of opening is used in place of a greedy choice since a push from 0.07 to 0.4 is an
effect that a greedy first token does not show. Arms are rows of one batch; the result of a row does
not depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.chains.completion_format import find_format
from interp.chains.completions import Completion, Ids, read_completion
from interp.engine import generate, run
from interp.interventions import Intervention, project_out
from interp.methods.directions import Direction
from interp.methods.steering import steer
from interp.models import Model
from interp.stats.divergences import kullback_leibler
from interp.tasks import Task

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
class ArmOutcome:
    """What one arm did, per example; NaN where it was not asked for."""

    opens: Values
    reasons: Values
    kl: Values
    follows: Values
    """1 where the chain that was opened for the model is reasoned rightly, else 0."""


class AskedModel:
    """A model and the questions that it is asked under every arm.

    Raises:
        NotMeasurableError: The task's layout has nothing that opens and closes a chain.
    """

    def __init__(self, model: Model, task: Task, *, batch_size: int) -> None:
        self.model, self.task, self.batch_size = model, task, batch_size
        self.format = find_format(task, model)
        self.layout = self.format.layout
        self.questions = self.format.prompts()
        self._own: list[Ids] | None = None

    def measure(
        self, arms: Sequence[Arm], *, is_written: bool = True, has_kl: bool = True
    ) -> list[ArmOutcome]:
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
            return [ArmOutcome(*np.zeros((4, n))) for _ in arms]
        valid = np.full((len(arms), n), np.nan)
        if is_written:
            for k, ids in enumerate(self._write(arms)):
                text = (*self.layout.think_open, *ids)
                completion = read_completion(self.format, self.task.examples[k % n], text)
                valid[k // n, k % n] = self._is_reasoned(completion)
        own: Sequence[Ids] = [()] * n
        if has_kl:
            if self._own is None:  # the unedited text, by an edit of dose 0
                self._own = self._write([Arm(arms[0].direction, 0.0)])
            own = self._own
        opens, kl = self._read(arms, own)
        return [ArmOutcome(o, o * v, k, v) for o, v, k in zip(opens, valid, kl, strict=True)]

    def _is_reasoned(self, completion: Completion) -> bool:
        """Whether the answer is right, and so is the chain, as far as the task can tell.

        Where it cannot check steps, a chain has to state a result at least.
        """
        if completion.is_chain_valid is not None:
            return completion.is_chain_valid
        result = self.task.rewriter.result
        return completion.correct and any(result(step) is not None for step in completion.steps)

    def first_probability(self, token: int) -> Float[np.ndarray, " example"]:
        """Probability of a first new token after each question, unedited."""
        last = run(self.model, self.questions, logits_at="last").last
        return last.softmax(-1)[:, token].cpu().numpy()

    def _write(self, arms: Sequence[Arm]) -> list[Ids]:
        """New tokens after the opening, question by question within each arm."""
        n_opened = len(self.layout.think_open)
        prompts = self.format.prompts("forced")
        n = len(prompts)
        written: list[Ids] = []
        # Whole arms in a call; `generate` splits an arm of more rows than a batch.
        per_call = max(1, self.batch_size // n)
        for start in range(0, len(arms), per_call):
            here = arms[start : start + per_call]
            # The last question token, counted from the end of a prompt that the opening follows.
            edits = [
                arm.edit((-1 - n_opened,), tuple(range(at * n, (at + 1) * n)))
                for at, arm in enumerate(here)
            ]
            texts = generate(
                self.model, prompts * len(here), interventions=edits, stop=self.format.stop,
                max_new_tokens=self.format.max_new_tokens - n_opened, batch_size=self.batch_size,
            )  # fmt: skip
            written += [one.ids for one in texts]
        return written

    def _read(self, arms: Sequence[Arm], own: Sequence[Ids]) -> tuple[np.ndarray, np.ndarray]:
        """P(opening) and the KL after it, [arm, example]; some questions under all arms at once."""
        opened, n = self.layout.think_open, len(self.questions)
        # Without the last token, whose next-token prediction is not scored.
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
            # Dose 0 takes the plain pass itself, so that its KL is exactly 0.
            unmoved = [number for number, arm in enumerate(arms) if arm.dose == 0]
            still = [(number, at) for number in unmoved for at in chunk]
            rows = [*edited, *(plain[at - start] for _, at in still)]
            for (number, at), row in zip([*cells, *still], rows, strict=True):
                first = len(self.questions[at]) - 1  # predicts the opening's first token
                p, q = (
                    logits[first:].double().log_softmax(-1) for logits in (plain[at - start], row)
                )
                logprob = sum(float(q[k, token]) for k, token in enumerate(opened))
                opens[number, at] = np.exp(logprob)
                after = kullback_leibler(p[len(opened) :], q[len(opened) :])
                kl[number, at] = float(after.mean()) if len(after) else np.nan
        return opens, kl
