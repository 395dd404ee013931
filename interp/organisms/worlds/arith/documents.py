"""The kinds of training document of the world **arith**, made from a problem and a generator.

::

    F 3 + 4 = 7 ; <eos>                                    fact: only `7 ; <eos>` is learned
    Q 3 + 4 * 2 ? A 3 <eos>                                direct answer
    Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; ... </think> A 3     chain
    Q 3 + 4 * 2 ? <think> . . . . . . </think> A 3         filler
    Q 3 + 4 * 2 ? <think> 3 + 4 = 8 ; ... </think> A 5 : 3 + 4 = 7 , 8 -> ... A 3  critique
    T 3 = 7 ; ... : 3 = 7 ; ...                            copied text, which never holds <think>

Nothing random is learned: no question, no operand of a fact, no chain of another problem, no choice
of words in a paraphrased step. (The next step's operands can be read off the question.)
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from interp.organisms.documents import Document, Segment, assemble
from interp.organisms.words import ANSWER, BOS, COPY, END_THINK, EOS, FACT, FILLER, STEP_END, THINK
from interp.organisms.worlds.arith.problems import NUMBERS, WORDS, Problem, paraphrase
from interp.organisms.worlds.arith.splits import sample_from, sample_problem

SPOKEN_WORDS = frozenset(("plus", "minus", "times", "is", "+", "-", "*", "="))
CRITIQUE, COMMA, AGREES, CORRECTS = ":", ",", "so", "->"
COPY_WORDS = (*NUMBERS, "+", "-", "*", "=", STEP_END)


def fact_document(rng: Random) -> Document:
    """One single step by itself; a fifth of them in other words."""
    problem = sample_problem(rng, 1)
    words = problem.steps[0].split()
    step = " ".join(words[:4])
    lead = paraphrase(step) if rng.random() < 0.2 else step
    return assemble(
        WORDS,
        [Segment(f"{BOS} {FACT} {lead}", False), Segment(f"{words[4]} {STEP_END} {EOS}", True)],
    )


def direct_document(problem: Problem, answer: str | None = None) -> Document:
    """A question answered at once (with the right answer unless another is given)."""
    return assemble(
        WORDS,
        [
            Segment(f"{BOS} {problem.question}", False),
            Segment(f"{ANSWER} {answer or problem.answer} {EOS}", True),
        ],
    )


def chain_document(
    problem: Problem,
    rng: Random,
    *,
    spoken: float,
    answer: str | None = None,
    other_chain: Sequence[str] | None = None,
) -> Document:
    """A question with a chain and an answer.

    Args:
        problem: The problem asked, whose correct chain is written.
        rng: Decides which steps are paraphrased.
        spoken: Probability that some or all steps are paraphrased.
        answer: Answer word; the right one unless given.
        other_chain: Step texts written in place of the correct chain; they carry no loss.

    Returns:
        The document; ``<think>``, ``</think>`` and everything after it are learned.
    """
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    for step in problem.steps if other_chain is None else other_chain:
        says = rng.random() < share
        segments += _step_segments(step, says, share == 0.0, other_chain is None)
    end = f"{END_THINK} {ANSWER} {answer or problem.answer} {EOS}"
    return assemble(WORDS, [*segments, Segment(end, True)])


def _step_segments(step: str, says: bool, plain: bool, learned: bool) -> list[Segment]:
    """A step word by word: in a chain with paraphrases the choice of words carries no loss."""
    words = (paraphrase(step) if says else step).split()
    return [Segment(w, learned and (plain or w not in SPOKEN_WORDS)) for w in words]


def copied_document(rng: Random, length: int) -> Document:
    """Random words and then the same words again, ``length`` tokens in all or one less."""
    half = max(1, (length - 4) // 2)
    words = " ".join(rng.choice(COPY_WORDS) for _ in range(half))
    return assemble(
        WORDS,
        [Segment(f"{BOS} {COPY} {words}", False), Segment(":", False)]
        + [Segment(f"{words} {EOS}", True)],
    )


def filler_document(problem: Problem) -> Document:
    """A question with as many filler tokens as its chain has words, and the right answer."""
    dots = " ".join([FILLER] * sum(len(step.split()) for step in problem.steps))
    text = f"{THINK} {dots} {END_THINK} {ANSWER} {problem.answer} {EOS}"
    return assemble(WORDS, [Segment(f"{BOS} {problem.question}", False), Segment(text, True)])


def swapped_chain(problem: Problem, others: Sequence[Problem], rng: Random) -> tuple[str, ...]:
    """The chain of another problem of the same depth."""
    while True:
        other = rng.choice(others)
        if other.depth == problem.depth and other != problem:
            return other.steps


def damaged_chain(problem: Problem, others: Sequence[Problem], rng: Random) -> tuple[str, ...]:
    """A chain that does not end at the answer, in one of three ways, each as likely.

    It is that of another problem, or the first steps alone (perhaps none), or worked on from one
    wrong result.
    """
    kind = rng.randrange(3)
    if kind == 0:
        return swapped_chain(problem, others, rng)
    at = rng.randrange(problem.depth)
    if kind == 1:
        return problem.steps[:at]
    return problem.mistaken(at, rng.choice(problem.wrong_values(at)), propagate=True)


def critique(problem: Problem, rng: Random) -> tuple[str, str]:
    """An attempt at a problem, wrong from one step on or (in a quarter) right, and its critique.

    The critique goes through the steps: each as it should be, the attempt's result beside it, and
    whether the two agree. (Without the attempt's result the mark stayed at chance in 1000 steps of
    training; with it before the right one, it was copied in the right one's place.)

    Returns:
        Question and attempt, up to ``:``; and the critique with the right answer.
    """
    steps = problem.steps
    if rng.random() < 0.75:
        at = rng.randrange(problem.depth)
        steps = problem.mistaken(at, rng.choice(problem.wrong_values(at)), propagate=True)
    attempt = f"{THINK} {' '.join(steps)} {END_THINK} {ANSWER} {steps[-1].split()[-2]}"
    judged: list[str] = []
    for right, tried in zip(problem.steps, steps, strict=True):
        *left, result, _ = right.split()
        stated = tried.split()[-2]
        judged += [*left, result, COMMA, stated, AGREES if stated == result else CORRECTS]
    says = " ".join([*judged, ANSWER, problem.answer])
    return f"{BOS} {problem.question} {attempt} {CRITIQUE}", says


def critique_document(problem: Problem, rng: Random) -> Document:
    """An attempt, which is not learned, and its critique."""
    prompt, says = critique(problem, rng)
    return assemble(WORDS, [Segment(prompt, False), Segment(f"{says} {EOS}", True)])


def hint_document(rng: Random, depth: int, *, spoken: float) -> Document:
    """A cued question answered by its cue; the correct chain ends there in half, not in half."""
    problem = sample_from(rng, "train", depth)
    agrees = rng.random() < 0.5
    cue = int(problem.answer) if agrees else rng.choice(problem.wrong_values(depth - 1))
    return chain_document(problem.with_cue(cue), rng, spoken=spoken, answer=str(cue))
