"""Pass@k: does any of k samples solve the problem?

The unbiased estimate from n samples with c successes is 1 - C(n-c, k) / C(n, k) (Chen et al. 2021,
arXiv 2107.03374): the share of the subsets of k samples that hold a success.

What counts as a success decides what is learned. With ten possible answers a model that guesses
reaches 97 % at k = 32, so that every base "meets" every reinforced model. Here two criteria are
counted side by side: the answer is right, or the answer is right *and its chain is a whole and
correct solution* (`interp.chains.completions`), which is not reached by guessing. The second
criterion needs a task that can check the steps of a chain.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from interp.chains.completion_format import find_format
from interp.chains.completions import ANSWER_ONLY, Completion, read_completion
from interp.engine import generate
from interp.errors import NotMeasurableError
from interp.models import Model
from interp.stats.estimates import Estimate, collect, estimate_all
from interp.tasks import Task


def pass_at_k(n: int, c: int, k: int) -> float:
    """Share of the k-subsets of n samples that hold at least one of the c successes.

    Raises:
        ValueError: Unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(
            f"pass@k needs 0 <= c <= n and 1 <= k <= n; received n={n}, c={c}, k={k}. Draw at "
            f"least k samples for each problem"
        )
    # Python's integers are exact, so the product form of the paper is not needed.
    return 1 - comb(n - c, k) / comb(n, k)


@dataclass(frozen=True)
class Samples:
    """Texts that a model drew for every example of a task."""

    examples: tuple[str, ...]
    problems: tuple[str, ...]
    texts: tuple[tuple[Completion, ...], ...]
    """For each example the same number of texts."""

    def values(self, k: int, *, chain_valid: bool) -> list[float]:
        """Pass@k of each example.

        Args:
            k: At most the number of samples.
            chain_valid: Whether a text counts only if its chain is a correct solution.

        Raises:
            NotMeasurableError: If chains are to count and the task cannot check them.
        """
        marks = [[x.is_chain_valid if chain_valid else x.correct for x in t] for t in self.texts]
        if any(mark is None for row in marks for mark in row):
            raise NotMeasurableError(ANSWER_ONLY)
        return [pass_at_k(len(row), sum(map(bool, row)), k) for row in marks]

    def estimate(self, k: int, *, chain_valid: bool) -> Estimate:
        """Mean pass@k, with an interval over problems. Arguments and errors as for `values`."""
        values = np.array(self.values(k, chain_valid=chain_valid))
        return estimate_all([collect(values, self.problems, "share")])[0]


def draw_samples(
    model: Model,
    task: Task,
    *,
    n: int,
    seed: int,
    temperature: float = 1.0,
    forced: bool = False,
    batch_size: int = 256,
) -> Samples:
    """Draws n texts for each example; each has random numbers of its own.

    Args:
        model: The writer.
        task: The questions.
        n: Texts for each example.
        seed: Of the draws.
        temperature: Above 0.
        forced: Whether the chain is opened for the model.
        batch_size: Texts written together.

    Raises:
        ValueError: If the temperature is 0, or the task's layout has no chain to open and close.
    """
    form = find_format(task, model)
    opened = form.layout.think_open if forced else ()
    prompts: list[Sequence[int]] = []
    seeds: list[int] = []
    asked = form.prompts("forced" if forced else "free")
    for example, prompt in zip(task.examples, asked, strict=True):
        prompts += [prompt] * n
        # Not hash(), which differs from run to run for strings.
        seeds += [zlib.crc32(f"pass {seed} {example.id} {at}".encode()) for at in range(n)]
    written = generate(
        model, prompts, max_new_tokens=form.max_new_tokens, stop=form.stop, seeds=seeds,
        temperature=temperature, batch_size=batch_size, progress=f"{n} samples of each",
    )  # fmt: skip
    texts = tuple(
        tuple(read_completion(form, example, (*opened, *one.ids)) for one in written[at * n :][:n])
        for at, example in enumerate(task.examples)
    )
    every = task.examples
    return Samples(tuple(e.id for e in every), tuple(e.problem for e in every), texts)
