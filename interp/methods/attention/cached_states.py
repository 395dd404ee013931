"""Cached states: is the answer read from what a step computed, or only from what it wrote?

A step leaves two things behind: its tokens in the text, and their keys and values in the cache of
every layer. Here the text stays as it is and the cached rows of one step are changed, before the
model reads what comes after the chain and answers (after "Formed-State Faithfulness",
J. Hollenbeck, manuscript 2026). For example, with the rows of `7 * 2 = 3 ;` changed:

    <bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; [7 * 2 = 3 ;] </think> A _

- **ablate** (mean ablation): each row becomes the mean over reference texts *at the same position*,
  at least eight that differ. The text itself, like any that begins with the same tokens up to the
  end of the step, has the very state that is to be removed, so it is left out of the mean.
  Keys carry their position as a rotation or through embeddings, so a mean over other positions
  would cancel much of the key and make a state that no text has, and a mean over the step's own
  rows would keep what the step says. References that are laid out alike (as many tokens in
  question and steps) give the sharpest mean: what a step in this place has in common.
- **swap**: the rows of another text's step at the very same positions. This is the stronger test,
  because the donor's answer is what the model should now give.
- **restore**: after the edited answer was read, the old rows are written back, and the answer must
  be the old one *bit for bit*, else RuntimeError. Every batch is checked in this way.

The later tokens of the chain were computed before the edit and keep their states, so a step whose
result they already took up should not matter any more. With `recompute` they are read again on top
of the edited rows: the total effect of the state while the text stays, in which a step that writes
the running value down again still repairs what was removed.

Order of work: one pass over the text; its cache repeated, one row per edit; the continuation read
unedited, edited, and restored, in passes of one shape, so that no rounding differs between them and
a swap with oneself changes nothing at all. The receipt of an edit is found by comparing the caches.

An answer that survives is no proof that the step was unused: models repair a removed state from
other places (`repair_rate`), stronger models more so. Report that rate beside the share of answers
unchanged, trust a swap more, and never compare models at different precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.batches import in_halves, token_batches
from interp.methods.attention.state_edits import (
    AskedText,
    References,
    StateEdit,
    check_edits,
    longest_answer,
)
from interp.methods.attention.state_readings import StateReading, StateReceipt, compare
from interp.methods.attention.stepped_text import Ids
from interp.methods.attention.text_caches import causal, read_text, repeat, tables
from interp.models.forward import body, nan_error, read_on, unembed
from interp.models.model import Model
from interp.progress import track

States = list[Float[Tensor, "_ _ _"]]
"""Rows [head, pos, d_head] of one span: keys and values of all layers in turn (K of layer 0, V of
layer 0, K of layer 1, ...)."""


@dataclass(frozen=True, eq=False)
class _Job:
    """An edit with all that it needs."""

    edit: StateEdit
    span: range
    heads: list[Int[Tensor, " _"]]
    """Heads edited in each layer."""
    rows: States
    """What is written: the chosen heads of the span."""
    n_kept: int
    """Cached tokens that are not read again."""


def _rows_at(cache: Any, span: range) -> States:
    return [table[0, :, span.start : span.stop].clone() for table in tables(cache)]


class _Sums(NamedTuple):
    """Sums over the references, in float32, and how many reach each position [pos, 1]."""

    totals: States
    counts: Tensor

    def without(self, own: States, n_own: int, span: range) -> States:
        """Means at a span over all but those with the text's own rows there."""
        at = slice(span.start, span.stop)
        return [
            ((total[:, at] - n_own * rows.float()) / (self.counts[at] - n_own)).to(rows.dtype)
            for total, rows in zip(self.totals, own, strict=True)
        ]


def _sum_rows(model: Model, references: Sequence[Ids], n_tokens: int) -> _Sums:
    """Sums over the references that reach a position, for the first positions."""
    totals: list[Tensor] = []
    counts = torch.zeros(n_tokens, 1, device=model.device)
    for ids in references:
        rows = [table[0, :, :n_tokens].float() for table in tables(read_text(model, ids))]
        if not totals:
            shapes = [(table.shape[0], n_tokens, table.shape[2]) for table in rows]
            totals = [torch.zeros(shape, device=model.device) for shape in shapes]
        counts[: len(ids)] += 1
        for total, table in zip(totals, rows, strict=True):
            total[:, : table.shape[1]] += table
    return _Sums(totals, counts)


def _prepare(
    model: Model,
    asked: AskedText,
    cache: Any,
    edits: Sequence[StateEdit],
    references: References,
    sums: _Sums,
) -> list[_Job]:
    """Finds the rows that each edit writes; every donor is read once."""
    caches: dict[Ids, Any] = {}
    jobs: list[_Job] = []
    for edit in edits:
        span = asked.text.steps[edit.step]
        beginning, rows = asked.text.ids[: span.stop], _rows_at(cache, span)
        if edit.donor is None:
            rows = sums.without(rows, references.beginnings(span.stop)[beginning], span)
        # A donor that begins alike has the same rows but for rounding, so the own ones are used.
        elif edit.donor.text.ids[: span.stop] != beginning:
            ids = edit.donor.text.ids
            if ids not in caches:
                caches[ids] = read_text(model, ids)
            rows = _rows_at(caches[ids], span)
        index = [
            torch.tensor(
                range(len(keys))
                if edit.places is None
                else [head for at, head in edit.places if at == layer],
                dtype=torch.long,
                device=model.device,
            )
            for layer, keys in enumerate(rows[::2])  # keys; values have the same heads
        ]
        chosen = [table[index[at // 2]] for at, table in enumerate(rows)]
        n_kept = span.stop if edit.recompute else len(asked.text.ids)
        jobs.append(_Job(edit, span, index, chosen, n_kept))
    return jobs


def _write(stack: Any, jobs: Sequence[_Job], rows: Sequence[States]) -> list[States]:
    """Writes rows into the cache, in place, and returns those that they replace."""
    replaced: list[States] = []
    for number, (job, new) in enumerate(zip(jobs, rows, strict=True)):
        replaced.append([])
        for at, table in enumerate(tables(stack)):
            heads = job.heads[at // 2]
            replaced[-1].append(table[number, heads, job.span.start : job.span.stop].clone())
            table[number, heads, job.span.start : job.span.stop] = new[at]
    return replaced


def _receipt(number: int, job: _Job, cache: Any, stack: Any) -> StateReceipt:
    """Compares the edited cache with the one that was read, row by row."""
    n_rows, n_stray = 0, 0
    changes: list[Tensor] = []
    norms: list[Tensor] = []
    for layer, heads in enumerate(job.heads):
        was = [table[0, :, : job.n_kept] for table in tables(cache)[2 * layer : 2 * layer + 2]]
        now = [table[number] for table in tables(stack)[2 * layer : 2 * layer + 2]]
        differs = (was[0] != now[0]).any(-1) | (was[1] != now[1]).any(-1)
        inside = torch.zeros_like(differs)
        inside[heads, job.span.start : job.span.stop] = True
        n_stray += int((differs & ~inside).sum())
        new = job.rows[2 * layer : 2 * layer + 2]
        landed = [now[i][heads, job.span.start : job.span.stop] == new[i] for i in (0, 1)]
        n_rows += int((landed[0].all(-1) & landed[1].all(-1)).sum())
        change = [(now[i] - was[i]).float()[inside].square().sum(-1) for i in (0, 1)]
        changes.append((change[0] + change[1]).sqrt())
        before = [was[i].float()[inside].square().sum(-1) for i in (0, 1)]
        norms.append((before[0] + before[1]).sqrt())
    n_expected = len(job.span) * sum(len(heads) for heads in job.heads)
    if n_rows != n_expected or n_stray:
        raise RuntimeError(
            f"the {job.edit.kind} of step {job.edit.step} should have written {n_expected} rows; "
            f"{n_rows} hold the new values, and {n_stray} others changed. Likely the cache is not "
            f"laid out as [batch, key-value head, position, width]. No reading is returned"
        )
    change, norm = torch.cat(changes), torch.cat(norms)
    # A row of zeros would give 0 / 0.
    tiny = torch.finfo(norm.dtype).tiny
    relative = (change / norm.clamp_min(tiny)).mean()
    return StateReceipt(n_rows, int((change > 0).sum()), float(change.mean()), float(relative))


def _answer_logprobs(
    model: Model, stack: Any, asked: AskedText, n_kept: int, n_rows: int
) -> Float[Tensor, "batch pos"]:
    """Log-probabilities of the answer tokens of each row, given the cache; the cache stays."""
    # The last answer token is predicted and never read.
    new = (*asked.text.ids[n_kept:], *asked.after, *asked.answer[:-1])
    ids = torch.tensor([new] * n_rows, device=model.device)
    positions = (n_kept + torch.arange(len(new), device=model.device)).expand_as(ids)
    hidden = read_on(model, stack, ids, positions, causal(model, n_rows, n_kept, len(new)))
    scores = unembed(model, hidden[:, -len(asked.answer) :]).log_softmax(-1)
    if bool(scores.isnan().any()):
        raise nan_error(model, "the answer after a text whose states are edited")
    answers = torch.tensor([asked.answer] * n_rows, device=model.device)
    return scores.gather(-1, answers[..., None])[..., 0].cpu()


def _write_answers(
    model: Model, stack: Any, asked: AskedText, n_kept: int, n_rows: int, n_tokens: int
) -> list[Ids]:
    """Greedy tokens of each row; the cache stays."""
    new = torch.tensor([(*asked.text.ids[n_kept:], *asked.after)] * n_rows, device=model.device)
    n_before, written = n_kept, list[Tensor]()
    for _ in range(n_tokens):
        positions = (n_before + torch.arange(new.shape[1], device=model.device)).expand_as(new)
        visible = causal(model, n_rows, n_before, new.shape[1])
        hidden = body(model, new, positions=positions, visible=visible, cache=stack)
        n_before += new.shape[1]
        new = unembed(model, hidden[:, -1:]).argmax(-1)
        written.append(new)
    stack.crop(n_kept - n_before)  # transformers: a negative number removes so many
    return [tuple(row) for row in torch.cat(written, dim=1).tolist()]


def _score(
    model: Model, asked: AskedText, cache: Any, n_answer: int, jobs: Sequence[_Job]
) -> list[StateReading]:
    """Reads the continuation without the edits, with them, and with the old rows written back."""
    n_kept, n_rows = jobs[0].n_kept, len(jobs)
    stack = repeat(cache, n_rows, n_kept)
    unedited = _answer_logprobs(model, stack, asked, n_kept, n_rows)
    unedited_written = _write_answers(model, stack, asked, n_kept, n_rows, n_answer)
    replaced = _write(stack, jobs, [job.rows for job in jobs])
    receipts = [_receipt(number, job, cache, stack) for number, job in enumerate(jobs)]
    edited = _answer_logprobs(model, stack, asked, n_kept, n_rows)
    written = _write_answers(model, stack, asked, n_kept, n_rows, n_answer)
    _write(stack, jobs, replaced)
    restored = _answer_logprobs(model, stack, asked, n_kept, n_rows)
    # No tolerance: passes of one shape round alike.
    if not torch.equal(restored, unedited):
        raise RuntimeError(
            f"writing the old states back must give the old answer bit for bit, but its "
            f"log-probabilities moved by up to {float((restored - unedited).abs().max()):.3g} nats."
            f" Either the cache of {model.name} was not restored, or its kernels are not "
            f"deterministic (try torch.use_deterministic_algorithms(True)); no reading is returned"
        )
    return [
        compare(job.edit, asked.answer, *of_row)
        for job, *of_row in zip(
            jobs, edited, unedited, written, unedited_written, receipts, strict=True
        )
    ]


def _score_text(
    model: Model,
    asked: AskedText,
    edits: Sequence[StateEdit],
    references: References,
    sums: _Sums,
    token_budget: int,
) -> list[StateReading]:
    """Edits that read the same tokens again share a batch."""
    cache = read_text(model, asked.text.ids)
    jobs = _prepare(model, asked, cache, edits, references, sums)
    n_answer = longest_answer(asked, edits)
    n_tokens = len(asked.text.ids) + len(asked.after) + n_answer
    work = partial(_score, model, asked, cache, n_answer)
    by_edit: dict[int, StateReading] = {}
    for n_kept in sorted({job.n_kept for job in jobs}):
        group = [number for number, job in enumerate(jobs) if job.n_kept == n_kept]
        for batch in token_batches([n_tokens] * len(group), token_budget):
            chosen = [group[index] for index in batch]
            readings = in_halves(work, [jobs[number] for number in chosen])
            by_edit.update(zip(chosen, readings, strict=True))
    return [by_edit[number] for number in range(len(jobs))]


@torch.no_grad()
def edit_states(
    model: Model,
    texts: Sequence[AskedText],
    edits: Sequence[Sequence[StateEdit]],
    *,
    references: Sequence[Sequence[int]] = (),
    token_budget: int = 8192,
    progress: str | None = None,
) -> list[list[StateReading]]:
    """Reads the answer of every text after every edit of its cached states.

    Args:
        model: The reader.
        texts: Chains with what follows them.
        edits: The edits of each text, each by itself, in any number.
        references: Token ids of texts whose mean state an ablation writes; at each position those
            count that reach it and do not begin like the text itself, at least eight.
        token_budget: Largest number of cached and new tokens of a batch.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        For each text one reading per edit, in the order given.

    Raises:
        ValueError: If a text, step, donor, place or reference does not fit (all before any forward
            pass), the model does not cache every token, or logits are not finite.
        RuntimeError: If an edit did not change the rows that it names, or writing the old states
            back does not give the old answer exactly.
    """
    known = References(references)
    check_edits(model, texts, edits, known)
    ends = [
        asked.text.steps[edit.step].stop
        for asked, of_text in zip(texts, edits, strict=True)
        for edit in of_text
        if edit.donor is None
    ]
    sums = _sum_rows(model, known.rows if ends else [], max(ends, default=0))
    work = partial(_score_text, model, references=known, sums=sums, token_budget=token_budget)
    pairs = list(zip(texts, edits, strict=True))
    return [work(asked, of_text) if of_text else [] for asked, of_text in track(pairs, progress)]
