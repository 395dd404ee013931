"""Texts that could not be read: where accuracy speaks of how a model was asked, and not of skill.

A text without an answer that anything ends counts as wrong. Where hardly any text of a model ends
in an answer, its accuracy is near 0 whatever it can do: the usual cause is that it was asked in a
prompt format that it was not trained on, or with too few tokens. No change of accuracy is claimed
then. Where a good part of the texts does not end, the accuracy of all of them lies between that
which counts these as wrong and that which counts them as right (bounds of Manski 1990); a change
that could turn round within these bounds is said to be in doubt.
"""

from __future__ import annotations

import math

from probes.audit.changes import DIRECT, FORCED, FREE, Change
from probes.audit.evidence import Evidence

UNREADABLE = 0.1
"""A model of which fewer texts end in an answer could not be read."""
PARTLY = 0.8
"""Below this share of texts that end, the share is said."""
WAYS = {FREE: "free", FORCED: "forced", DIRECT: "direct"}
"""Name of a change -> how the questions were asked."""
WORDS = {"free": "free", "forced": "made to think", "direct": "without a chain"}


def share_finished(run: Evidence, task: str, reader: str, way: str) -> float:
    """Share of a model's texts that end in an answer; NaN where it was not measured."""
    return run.find("accuracy", way, "finished", task, reader).value


def is_unread(run: Evidence, task: str, reader: str, name: str) -> bool:
    """Whether hardly any text of a model ended, of those that a change of accuracy is about."""
    return share_finished(run, task, reader, WAYS[name]) < UNREADABLE


def say_unread(run: Evidence, task: str) -> list[str]:
    """For each model that could not be read the words that say so."""
    said: list[str] = []
    for reader in run.readers:
        shares = {way: share_finished(run, task, reader, way) for way in ("free", "forced")}
        unread = [f"{WORDS[way]} {s:.2f}" for way, s in shares.items() if s < UNREADABLE]
        if unread:
            said.append(
                f"{reader} could not be read (texts that end in an answer: {', '.join(unread)})"
            )
    return said


def say_shares(run: Evidence, task: str) -> list[str]:
    """The shares of texts that end, where they are well below 1, and what to do: as lines."""
    low = {
        reader: [f"{WORDS[way]} {share:.2f}" for way in WAYS.values()
                 if (share := share_finished(run, task, reader, way)) < PARTLY]
        for reader in run.readers
    }  # fmt: skip
    parts = [f"{reader} {', '.join(said)}" for reader, said in low.items() if said]
    if not parts:
        return []
    lines = [
        f"{task}: texts that end in an answer, where many do not: {'; '.join(parts)}. The others "
        f"count as wrong above; accuracy_if_finished leaves them out."
    ]
    unread = [
        reader
        for reader in run.readers
        if any(is_unread(run, task, reader, name) for name in (FREE, FORCED))
    ]
    return lines + [
        f"{task}: of {reader}, whose texts could not be read, no change in accuracy is claimed. "
        f"See how it is asked: posthoc check; change it: --{reader}-format, --max-chain-tokens."
        for reader in unread
    ]


def say_doubt(run: Evidence, task: str, name: str, change: Change) -> str:
    """That unfinished texts could turn a change round; empty where they could not."""
    way = WAYS[name]
    shares = [share_finished(run, task, reader, way) for reader in ("base", "post")]
    if not change.is_claimed or math.isnan(sum(shares)) or min(shares) >= PARTLY:
        return ""
    lost_base, lost_post = (1 - share for share in shares)
    low, high = change.row.value - lost_base, change.row.value + lost_post
    if not low <= 0 <= high:
        return ""
    return f" (texts that do not end may explain it: between {low:+.2f} and {high:+.2f})"
