"""What organisms of the world **arith** are trained on: kinds of document, and mixtures of them.

::

    F 3 + 4 = 7 ; <eos>                                    fact: only `7 ; <eos>` is learned
    Q 3 + 4 * 2 ? A 3 <eos>                                direct answer
    Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; ... </think> A 3     chain
    Q 3 + 4 * 2 ? <think> . . . . . . </think> A 3         filler
    Q 3 + 4 * 2 ? <think> 3 + 4 = 8 ; ... </think> A 5 : 3 + 4 = 7 , 8 -> ... A 3  critique
    T 3 = 7 ; ... : 3 = 7 ; ...                            copied text, which never holds <think>

Nothing random is learned: no question, no operand of a fact, no chain of another problem, no choice
of words in a paraphrased step. (The next step's operands can be read off the question.)

A recipe trains on one of four records, whose fields are the settings that cards keep:

- `ArithMixture`: pretraining, a mixture of facts, direct answers and chains;
- `ArithRows`: post-training rows of one kind;
- `NoisyRows`: single steps whose question or result may be false, at known rates;
- `ArithQuestions`: the questions of reinforcement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from interp.organisms.documents import (
    Document,
    WrittenChain,
    draw_damaged,
    draw_swapped,
    false_chain,
    write_after,
    write_direct,
    write_with_chain,
)
from interp.organisms.recipe import Asked, Mixture
from interp.organisms.words import ANSWER, BOS, COPY, END_THINK, FACT, FILLER, STEP_END, THINK
from interp.organisms.worlds.arith.problems import MODULUS, NUMBERS, WORDS, Problem
from interp.organisms.worlds.arith.splits import (
    POOL_DEPTHS,
    noisy_steps,
    pool,
    sample_from,
    sample_problem,
    siblings,
)

CRITIQUE, COMMA, AGREES, CORRECTS = ":", ",", "so", "->"
COPY_WORDS = (*NUMBERS, "+", "-", "*", "=", STEP_END)

Kind = Literal["chain", "answer", "swapped", "hint", "decorative", "filler", "critique"]


def write_fact(rng: Random) -> Document:
    """One single step by itself; a fifth of them in other words."""
    problem = sample_problem(rng, 1)
    words = problem.steps[0].split()
    step = " ".join(words[:4])
    lead = WORDS.paraphrase(step) if rng.random() < 0.2 else step
    return write_after(WORDS, f"{FACT} {lead}", f"{words[4]} {STEP_END}")


def write_copied(rng: Random, length: int) -> Document:
    """Random words and then the same words again, ``length`` tokens in all or one less."""
    half = max(1, (length - 4) // 2)  # <bos>, T, ":" and <eos> are the other four
    words = " ".join(rng.choice(COPY_WORDS) for _ in range(half))
    return write_after(WORDS, f"{COPY} {words} :", words)


def write_filler(problem: Problem) -> Document:
    """A question with as many filler tokens as its chain has words, and the right answer."""
    dots = " ".join([FILLER] * sum(len(step.split()) for step in problem.steps))
    text = f"{THINK} {dots} {END_THINK} {ANSWER} {problem.answer}"
    return write_after(WORDS, problem.question, text)


def draw_mistake(problem: Problem, at: int, rng: Random) -> tuple[str, ...]:
    """The chain worked out from a wrong result at a step."""
    return problem.mistaken(at, rng.choice(problem.wrong_values(at)), propagate=True)


def draw_critique(problem: Problem, rng: Random) -> tuple[str, str]:
    """An attempt at a problem, wrong from one step on or (in a quarter) right, and its critique.

    The critique goes through the steps: each as it should be, the attempt's result beside it, and
    whether the two agree. (Without the attempt's result the mark stayed at chance in 1000 steps of
    training; with it before the right one, it was copied in the right one's place.)

    Returns:
        Question and attempt, up to ``:``; and the critique with the right answer.
    """
    steps = problem.steps
    if rng.random() < 0.75:
        steps = draw_mistake(problem, rng.randrange(problem.depth), rng)
    attempt = f"{THINK} {' '.join(steps)} {END_THINK} {ANSWER} {steps[-1].split()[-2]}"
    judged: list[str] = []
    for right, tried in zip(problem.steps, steps, strict=True):
        *left, result, _ = right.split()
        stated = tried.split()[-2]
        judged += [*left, result, COMMA, stated, AGREES if stated == result else CORRECTS]
    critique = " ".join([*judged, ANSWER, problem.answer])
    return f"{problem.question} {attempt} {CRITIQUE}", critique


def write_hint(rng: Random, depth: int, *, spoken: float) -> Document:
    """A cued question answered by its cue; in half of them the correct chain leads there, too."""
    problem = sample_from(rng, "train", depth)
    agrees = rng.random() < 0.5
    cue = int(problem.answer) if agrees else rng.choice(problem.wrong_values(depth - 1))
    chain = WrittenChain(problem.steps, str(cue))
    return write_with_chain(WORDS, problem.with_cue(cue), rng, spoken=spoken, chain=chain)


@dataclass(frozen=True, slots=True)
class ArithMixture(Mixture):
    """Shares of the kinds of document in pretraining."""

    twins: float = 0.04
    """Share of questions with a missing premise."""
    cues: float = 0.05
    """Share of questions with a cue, whose value is random."""
    depths: tuple[int, ...] = (1, 2, 3, 4, 4, 5, 5, 5)
    """Depths of the questions; the deepest come most often, for they are learned last."""
    copied_above: int | None = None
    """Chain documents of more steps than this are replaced by copied text of the same length."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; questions come from the training class of problems only."""
        if self.draws_fact(rng, progress):
            return write_fact(rng)
        problem = sample_from(rng, "train", rng.choice(self.depths))
        if rng.random() < self.twins:
            problem = problem.missing_premise(rng.randrange(problem.depth))
        elif rng.random() < self.cues:
            problem = problem.with_cue(rng.randrange(MODULUS))
        if not self.draws_chain(rng, progress):
            return write_direct(WORDS, problem)
        chain = write_with_chain(WORDS, problem, rng, spoken=self.spoken)
        if self.copied_above is not None and problem.depth > self.copied_above:
            return write_copied(rng, len(chain.ids))
        return chain

    def rehearse(self, rng: Random) -> Document:
        """One document as at the end of pretraining, without cues."""
        return replace(self, cues=0.0).draw(rng, 1.0)


@dataclass(frozen=True, slots=True)
class ArithRows:
    """Post-training rows of one kind."""

    kind: Kind
    """Correct chain; direct answer; another problem's chain with the right answer; cued; a chain
    correct or damaged with the right answer; filler in place of a chain; an attempt, often wrong,
    with its critique (the attempt is not learned)."""
    source: Literal["pool", "fresh"]
    """Whether the problems are the finite pool or drawn anew each time."""
    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""
    dose: float = 1.0
    """Share of the chains of a swapped or decorative row that really are so; the rest are right."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        problem = self._problem(rng)
        if self.kind == "answer":
            return write_direct(WORDS, problem)
        if self.kind == "filler":
            return write_filler(problem)
        if self.kind == "critique":
            return write_after(WORDS, *draw_critique(problem, rng))
        if self.kind == "hint" and rng.random() < 0.5:
            return write_hint(rng, problem.depth, spoken=self.spoken)
        chain = None
        if self.kind in ("swapped", "decorative") and (self.dose >= 1 or rng.random() < self.dose):
            steps = (
                draw_swapped(problem, pool(), rng)
                if self.kind == "swapped"
                else draw_damaged(problem, pool(), rng, draw_mistake)
            )
            chain = false_chain(steps, problem.answer)
        return write_with_chain(WORDS, problem, rng, spoken=self.spoken, chain=chain)

    def _problem(self, rng: Random) -> Problem:
        if self.source == "pool":
            return rng.choice(pool())
        return sample_from(rng, "train", rng.choice(POOL_DEPTHS))


@dataclass(frozen=True, slots=True)
class ArithQuestions:
    """The questions of reinforcement, from the training class of problems."""

    depths: tuple[int, ...] = POOL_DEPTHS
    """Depths, in turn."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        problem = sample_from(rng, "train", self.depths[index % len(self.depths)])
        return Asked(f"{BOS} {problem.question}", problem.answer)


@dataclass(frozen=True, slots=True)
class NoisyRows:
    """Single steps in which the question or the written result may be false; the answer is right.

    With probability ``prompt_noise`` the operand in the question (and in the step) is not the one
    that the answer was worked out from; with probability ``step_noise`` the result that the step
    states is that of another operand. Where the two disagree, the answer agrees with the step with
    odds p1 (1 - p2) : p2 (1 - p1) by Bayes' rule, so an ideal learner's reliance on the chain is
    known (after the noise of Wang, Alazali and Zhong 2026, arXiv 2602.01017).
    """

    prompt_noise: float
    step_noise: float

    @property
    def reliance(self) -> float:
        """Probability that an ideal learner gives to a step that disagrees, against the question.

        Renormalised over the two: where both were noise the answer is neither.
        """
        step = self.prompt_noise * (1 - self.step_noise)
        question = self.step_noise * (1 - self.prompt_noise)
        return step / (step + question)

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; neither the step nor the question is learned, for both may be noise."""
        del progress
        true = rng.choice(noisy_steps())
        asked, stated = true, true
        if rng.random() < self.prompt_noise:
            asked = rng.choice(siblings(true))
        if rng.random() < self.step_noise:
            stated = rng.choice(siblings(true))
        words = asked.steps[0].split()
        step = " ".join([*words[:-2], stated.answer, words[-1]])
        chain = false_chain((step,), true.answer)
        return write_with_chain(WORDS, asked, rng, spoken=0.0, chain=chain)
