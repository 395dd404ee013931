"""Headlines: what the rows say of one task, in one sentence.

Only what is clear within the family of all claims (`probes.audit.changes`) is said to have moved,
and each *load-bearing* rests on its own 95 % interval (`probes.audit.readings`).

* A rise of accuracy that comes with texts without a chain is said to do so; one that comes with the
  choice to open a chain, too. Beside it always stands what became of accuracy when both models are
  made to think, which alone speaks of skill.
* A model that hardly ever opens a chain unasked is spoken of *when made to think*, and one that
  then closes it empty is not said to think at all.
* Two models with the same reading may still differ: how much less, or more, often the answer
  follows the chain is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from interp.results.rows import Measurement
from probes.audit.changes import CHAIN, DIRECT, FORCED, FREE, GOLD_CHAIN, WRITES, Change
from probes.audit.evidence import GOLD, Evidence
from probes.audit.readings import (
    AT_CHANCE,
    LOAD_BEARING,
    NOT,
    NOT_MEASURABLE,
    Reading,
    reliance_probes,
)
from probes.audit.unread import is_unread, say_doubt, say_unread
from probes.selection import name_chains

RARE = 0.5
"""A model that opens a chain in fewer of its texts is spoken of when made to think."""
THINKS = "made to think"


def say_headline(run: Evidence, task: str, changes: Mapping[str, Change]) -> str:
    """The headline of one task.

    Args:
        run: What is known.
        task: The task.
        changes: The claims that may be made of it.
    """
    parts: list[str] = []
    if len(run.probes) == 1:
        ((name, probe),) = run.probes.items()
        parts = [run.say(name, one, task) for one in probe.headline]
    parts += _say_accuracy(run, task, changes)
    if next(iter(reliance_probes())) in run.probes:
        parts.append(_say_chain(run, task, changes, ", ".join(parts)))
    return ", ".join(part for part in parts if part) or (
        "no number could be measured; the rows say why"
    )


def _say_accuracy(run: Evidence, task: str, changes: Mapping[str, Change]) -> list[str]:
    """What became of the accuracies, and what a rise comes with."""
    told = say_unread(run, task) if FREE in changes else []
    is_read = {
        name: not any(is_unread(run, task, reader, name) for reader in run.readers)
        for name in (FREE, DIRECT, FORCED)
    }
    free, direct, forced = (changes.get(name) if read else None for name, read in is_read.items())
    if free is not None:
        told.append(f"{free}{_explain(run, task, changes)}{say_doubt(run, task, FREE, free)}")
    if direct is not None and direct.is_claimed and FREE in changes:
        told.append(f"{direct}{say_doubt(run, task, DIRECT, direct)}")
    empty = [
        f"{reader} closes the chain empty or not at all when {THINKS}"
        for reader in run.readers
        if _chains(run, task, reader, "forced").high < RARE
        and not is_unread(run, task, reader, FORCED)
    ]
    if empty:
        return [*told, *empty]
    if forced is not None and (forced.is_clear or free is None or free.is_claimed):
        told.append(f"{forced}{say_doubt(run, task, FORCED, forced)}")
    return told


def _explain(run: Evidence, task: str, changes: Mapping[str, Change]) -> str:
    """What a rise of free accuracy comes with: texts without a chain, or chains opened unasked."""
    free, writes = changes[FREE], changes.get(WRITES)
    if not free.is_claimed or free.row.value <= 0:
        return ""
    after = _chains(run, task, "post", "free")
    if after.high < RARE:
        return f" in texts without a chain ({_say_shares(run, task)})"
    if writes is not None and writes.is_claimed and writes.row.value > 0:
        return f" as post opens more chains unasked ({_say_shares(run, task)})"
    return ""


def _chains(run: Evidence, task: str, reader: str, way: str) -> Measurement:
    """The share of texts with a chain that can be read, of those written in one way."""
    return run.find("accuracy", way, "valid_trace", task, reader)


def _say_shares(run: Evidence, task: str) -> str:
    shares = {reader: _chains(run, task, reader, "free").value for reader in run.readers}
    return "free texts with a chain: " + ", ".join(
        f"{reader} {share:.2f}" for reader, share in shares.items()
    )


def _say_chain(run: Evidence, task: str, changes: Mapping[str, Change], before: str) -> str:
    """What became of the chain, base first, after the words before it."""
    own = [run.read(task, reader) for reader in run.readers]
    change = changes.get(CHAIN)
    text = _compare(own, change)
    if change is not None and change.doubt:
        text = f"{text} ({change.doubt})"
    for reader in run.readers:
        if mixture := run.mixture(task, reader):
            text = f"{text}, {reader} follows it {mixture.words}"
    reasons = {one.reader: AT_CHANCE for one in own if one.is_at_chance and one.is_unmeasurable}
    reasons |= {row.reader: _first_reason(row) for row in run.unmeasured(task)}
    for reader, reason in reasons.items():
        text = f"{text} ({reader}: {reason})"
    writes = changes.get(WRITES)
    is_rare = any(_chains(run, task, reader, "free").high < RARE for reader in run.readers)
    if is_rare and not all(one.is_unmeasurable for one in own):
        text = f"{'then' if before.split(', ')[-1].count(THINKS) else f'when {THINKS}'} {text}"
    shares = _say_shares(run, task)
    if (is_rare or (writes is not None and writes.is_claimed)) and shares not in before:
        text = f"{text} ({shares})"
    if not run.is_own:
        return f"{text} (on {name_chains(run.writer)})"
    gold = [run.read(task, reader, GOLD) for reader in run.readers]
    is_other = [one.said for one in gold] != [one.said for one in own]
    if GOLD in run.writers and is_other:
        text = f"{text} (on {name_chains(GOLD)} instead: {_compare(gold, changes.get(GOLD_CHAIN))})"
    return text


def _compare(readings: Sequence[Reading], change: Change | None) -> str:
    first, *others = readings
    if not others:
        return f"the chain is {first}"
    (second,) = others
    if first.said == second.said == NOT_MEASURABLE:
        return "reliance on the chain is not measurable"
    if first.said == second.said:
        if change is None or not change.is_claimed:
            return f"the chain stayed {first.said}"
        way = "more" if change.row.value > 0 else "less"
        return (
            f"the chain is {first.said} for both, but post's answers follow it {way} often "
            f"(by {abs(change.row.value):.2f})"
        )
    if (change is None or change.is_clear) and (first.said, second.said) == (LOAD_BEARING, NOT):
        return "the answer no longer follows the chain"
    text = f"the chain is {first} for {first.reader} and {second} for {second.reader}"
    if change is None or change.is_clear or math.isnan(change.row.p):
        return text
    return f"{text}, not clearly different"


def _first_reason(row: Measurement) -> str:
    """``not measurable: the chain is empty (60); ...`` without all but the reason."""
    return row.note.removeprefix("not measurable: ").split(" (")[0]
