"""Kinds of sentences in a chain of thought: what a writer does beside calculating.

Where no tag opens a chain, what tells a reasoning model from one that only answers is what it
writes. The kinds are the cognitive habits of Gandhi et al. 2025 (arXiv 2503.01307: backtracking,
verification, subgoal setting); a sentence is known by its words, some of them from the list of
ReasonScore (Galichin et al. 2025, arXiv 2503.18878). It may be of several kinds, or of none.

* **backtracks**: leaves what was said ("Wait, that is wrong", "Alternatively, ...");
* **checks**: says that a result is being tested ("Let me verify", "to double-check");
* **plans**: says what is to be done next ("First, I need to find ...").

Words are a coarse sign. Against the labels that a language model gave the 150 sentences of three
published traces (Thought Anchors, Bogdan et al. 2025), *backtracks* has a precision of .43 and a
recall of .75 for uncertainty management, *plans* .50 and .41 for plan generation, and *checks* .33
and .04 for self-checking: there, whole passages that work a result out again count as checking, and
say so only once. So *checks* counts announcements, and not the checking itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PATTERNS: Mapping[str, str] = {
    "backtracks": (
        r"^\W*(?:but\s+)?(?:wait|hold on|hmm+|actually|no,|oops|alternatively"
        r"|another (?:way|approach))\b"
        r"|\b(?:that(?:'s| is) (?:wrong|not right|incorrect)|i made (?:a|an) (?:mistake|error)"
        r"|let me (?:re-?think|re-?consider|start over|try (?:again|another)|re-?do)"
        r"|going back|scratch that|instead,)\b"
    ),
    "checks": (
        r"\b(?:double[- ]check|verif(?:y|ied|ying)|to confirm|to be (?:sure|safe)|make sure"
        r"|sanity check|(?:let me|let's|let us|i(?:'ll| will| should)|just to) (?:re-?)?check"
        r"|checking|check(?:s)? out"
        r"|is (?:that|this) (?:right|correct|possible)|does (?:that|this) make sense|makes sense)\b"
    ),
    "plans": (
        r"\b(?:first|next|then|now),? (?:i|we|let me|let's|let us)\b"
        r"|\b(?:i|we) (?:need|have|want|should|can|could|must) (?:to )?(?:find|compute|calculate"
        r"|figure|determine|convert|solve|use|do|start|count|express|write|break)\b"
        r"|\blet(?:'s| us| me) (?:first|start|try|think|see|break|find|compute|calculate|figure"
        r"|consider|recall|denote|define|convert|use|write)\b"
        r"|\bstep \d|\bthe (?:first|next|last) step\b"
    ),
}
KINDS: tuple[str, ...] = tuple(_PATTERNS)
"""Names of the kinds."""
_FINDERS = {name: re.compile(pattern, re.I) for name, pattern in _PATTERNS.items()}


def find_kinds(sentence: str) -> frozenset[str]:
    """The kinds of one sentence.

    Example:
        >>> sorted(find_kinds("Wait, let me double-check that."))
        ['backtracks', 'checks']
    """
    plain = sentence.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").strip()
    return frozenset(name for name, finder in _FINDERS.items() if finder.search(plain))


def count_kinds(steps: Sequence[str]) -> dict[str, int]:
    """How many of the steps of a chain are of each kind."""
    found = [find_kinds(step) for step in steps]
    return {name: sum(name in kinds for kinds in found) for name in KINDS}
