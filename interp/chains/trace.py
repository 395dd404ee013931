"""A trace: what a model (or a person) wrote for an example, kept token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interp.chains.chain import Chain
from interp.chains.texts import Ids

TraceStatus = Literal["valid", "empty", "missing", "truncated"]
TraceMode = Literal["free", "forced", "direct", "gold", "imported"]


@dataclass(frozen=True)
class Trace:
    """One chain and answer for one example.

    `status` has the four classes of trace-structure validity (arXiv 2605.21127): *valid*;
    *empty* (opened and closed at once); *missing* (never opened); *truncated* (never closed
    within the token limit, or no answer follows that anything ends).
    """

    example: str
    problem: str
    task: str
    writer: str
    mode: TraceMode
    status: TraceStatus
    prompt_ids: Ids
    """The question, without think_open, in the prompt format of the trace."""
    steps: Chain
    answer: str
    answer_ids: Ids
    """The answer as written, without answer_end."""
    correct: bool
    logprobs: tuple[float, ...] = ()
    """The writer's own log-probability (nats) of each token of the steps, then of the answer where
    it was written after the answer cue."""
    seed: int = 0
    format: str = "task"
    """The prompt format in which the ids stand (`interp.models.PromptFormat`)."""
