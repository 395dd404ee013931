"""Shared tokens: what the tokenizers of a base and of a post model must have in common.

The two models of a pair read the same token ids, so the tokens of ordinary text must be the same
ones in both, and text must be split into them in the same way. What post-training usually changes
is allowed, and noted: a tokenizer may rename *added* tokens (the special ones and others that stand
outside the rules of the tokenizer, such as `<think>`), add some, or give one another role.
Qwen2.5 against its R1 distillation, for instance: `<|im_start|>` is called `<|User|>` there.

1. Ordinary tokens: equal ids, none in one vocabulary only. Else the two are not a pair.
2. Added tokens: what differs is listed. Roles (begin, end, padding, unknown) come first, then
   tokens that were renamed, moved, or exist on one side only.
3. Splitting: two tokenizers with one vocabulary may still split text differently (another rule for
   digits or white space, other merges). So both encode `PROBE_TEXTS` and texts put together from
   tokens of their vocabulary, and a difference is an error. The texts sample what rules
   distinguish; they prove nothing about all texts.
4. What each tokenizer puts around a text by itself (a beginning-of-text token) is noted.

Rows of an embedding beyond both tokenizers are padding and play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.models.model import Model
from interp.models.token_ids import find_ids

N_SHOWN = 5
"""Differing tokens listed in an error."""
_N_LISTED = 20
"""Tokens of one kind listed in a note."""
_N_FROM_VOCABULARY = 512
"""Tokens from which probe texts are put together."""
_ROLES = {"bos": "begins a text", "eos": "ends a text", "pad": "pads", "unk": "is unknown text"}

PROBE_TEXTS = (
    "The train leaves at noon, doesn't it? They've said we'll wait; I'D go, YOU'RE late.",
    "Der Zug fährt über die Brücke, größer als früher. ¿Dónde está el niño? Ça coûte 3,50 €.",
    "Поезд отправляется в полдень. Το τρένο φεύγει. يغادر القطار ظهرًا. הרכבת יוצאת בצהריים.",
    "列车中午出发。電車は正午に出ます。기차는 정오에 출발합니다. รถไฟออกตอนเที่ยง",
    "ट्रेन दोपहर को चलती है।",
    "0 7 42 100 1999 31415 271828 1000000 1,234,567.89 3.14159 1e-10 0x1F 007 12:30 2024-01-31",
    "3 * 6 = 18, 18 - 4 = 14; 5 \u2212 9 = \u22124; 7/8, 50% of $9,500.00 ≈ ½ × 9\u202f500 ≤ 10²",
    "So $\\frac{1}{2} + x_{10}^{2} = \\boxed{2865}$.\n\n\\[ \\sqrt{16} = 4 \\]\n**Final Answer**",
    "def f(x, *, n=10):\n    if x != 0 and n >= 2:\n\t\treturn [x**i for i in range(n)]  # ok\n",
    "#include <stdio.h>\r\nint main(void){return a[i++]&&!b||c->d;}//x\r\n<p class='q'>&nbsp;</p>",
    'SELECT * FROM "t" WHERE a_b LIKE \'%x\'; {"key": [null, -1.5e3]} https://a.b/c?d=e&f#g',
    " one  two   three    four\n\nfive\n\n\n six \t seven\t\teight \n \n nine  ",
    ".\n..\n...\n.\n\n!?\n\n?!  -- --- ... (a)(b) [c]:\n- d\n* e\n1. f\n2) g",
    "naïve café: e\u0301 a\u0308 ﬁne Ⅳ ① ½ ™ \u00a0x\u2003y\u200bz \ufeff “q” ‘r’ — – …",
    "😀 👩\u200d👩\u200d👧 🇫🇷 ✓ → ∀x∈ℝ ∑ √2 α²",
    "CamelCaseWord snake_case_word kebab-case XMLHttpRequest iPhone15Pro a1b22c333 R2-D2",
    "Wait, let me check: 12+30=42. Hmm, so the answer is 42.",
)


@dataclass(frozen=True)
class SharedTokens:
    """What two tokenizers have in common."""

    n: int
    """Ids below this are scored by both models and known to a tokenizer; what lies beyond is left
    out where predictions of the two are compared."""
    notes: tuple[str, ...]
    """What differs and is allowed, one sentence each; empty for equal tokenizers."""


@dataclass(frozen=True)
class _Vocabulary:
    """One tokenizer, seen by its ids."""

    tokenizer: Any
    tokens: Mapping[int, str]
    added: frozenset[int]
    roles: Mapping[str, int | None]

    @property
    def n(self) -> int:
        return max(self.tokens, default=-1) + 1


def _vocabulary(tokenizer: Any) -> _Vocabulary:
    tokens = {int(token): text for text, token in tokenizer.get_vocab().items()}
    added = {int(token): str(text) for token, text in tokenizer.added_tokens_decoder.items()}
    roles = {role: getattr(tokenizer, f"{role}_token_id", None) for role in _ROLES}
    special = {*tokenizer.all_special_ids, *added}
    return _Vocabulary(tokenizer, {**tokens, **added}, frozenset(special), roles)


def compare_tokenizers(base: Model, post: Model) -> SharedTokens:
    """What the tokenizers of two models share, and how they differ where they may.

    Args:
        base: Before post-training.
        post: After it.

    Returns:
        The number of ids over which predictions are compared, and notes.

    Raises:
        ValueError: If ordinary tokens differ, or text is split differently.
    """
    ours, theirs = (_vocabulary(model.tokenizer) for model in (base, post))
    differing = [
        token
        for token in sorted(ours.tokens.keys() | theirs.tokens.keys())
        if ours.tokens.get(token) != theirs.tokens.get(token)
    ]
    _check_ordinary(base, post, ours, theirs, differing)
    _check_splitting(base, post, ours, theirs)
    notes = [*_role_notes(ours, theirs), *_token_notes(ours, theirs, differing)]
    around = [_around(vocabulary) for vocabulary in (ours, theirs)]
    if around[0] != around[1]:
        notes.append(f"encoding a text adds {around[0]} in base and {around[1]} in post")
    n = min(base.d_vocab, post.d_vocab, max(ours.n, theirs.n))
    return SharedTokens(n, tuple(notes))


def _check_ordinary(
    base: Model, post: Model, ours: _Vocabulary, theirs: _Vocabulary, differing: list[int]
) -> None:
    # A token that is ordinary text on one side has no counterpart in a special one.
    wrong = [
        vocabulary.tokens[token]
        for token in differing
        for vocabulary in (ours, theirs)
        if token in vocabulary.tokens and token not in vocabulary.added
    ]
    if not wrong:
        return
    vocabularies = [vocabulary.tokenizer.get_vocab() for vocabulary in (ours, theirs)]
    texts = list(dict.fromkeys(wrong))
    shown = [
        f"{text!r} (base {vocabularies[0].get(text)}, post {vocabularies[1].get(text)})"
        for text in texts[:N_SHOWN]
    ]
    raise ValueError(
        f"the models of a pair must share the tokens of ordinary text; the tokenizers of "
        f"{base.name} and {post.name} differ in {len(texts)} tokens, the first being "
        f"{', '.join(shown)}. Only added tokens may be renamed or exist on one side. If "
        f"post-training extended the vocabulary, add the same tokens to the tokenizer of the base "
        f"model and resize its embedding; models of two families are not a pair"
    )


def _texts_of(vocabulary: _Vocabulary) -> list[str]:
    """Texts put together from tokens of the whole vocabulary, with and without spaces between."""
    ordinary = [token for token in sorted(vocabulary.tokens) if token not in vocabulary.added]
    step = max(1, len(ordinary) // _N_FROM_VOCABULARY)
    pieces = vocabulary.tokenizer.batch_decode([[token] for token in ordinary[::step]])
    whole = [piece for piece in pieces if "\ufffd" not in piece]  # others are parts of characters
    groups = [whole[n : n + 8] for n in range(0, len(whole), 8)]
    return [joiner.join(group) for group in groups for joiner in ("", " ")]


def _check_splitting(base: Model, post: Model, ours: _Vocabulary, theirs: _Vocabulary) -> None:
    texts = [*PROBE_TEXTS, *_texts_of(ours)]
    first, second = (
        vocabulary.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for vocabulary in (ours, theirs)
    )
    differing = [n for n, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not differing:
        return
    n = differing[0]
    at = next(
        (k for k, (a, b) in enumerate(zip(first[n], second[n], strict=False)) if a != b),
        min(len(first[n]), len(second[n])),
    )
    pieces = [
        [vocabulary.tokens.get(token, "?") for token in ids[at : at + 4]]
        for vocabulary, ids in ((ours, first[n]), (theirs, second[n]))
    ]
    raise ValueError(
        f"the models of a pair must split text into the same tokens; {base.name} and {post.name} "
        f"have one vocabulary and split {len(differing)} of {len(texts)} probe texts differently, "
        f"for example {texts[n][:60]!r} from token {at} on: base {pieces[0]}, post {pieces[1]}. "
        f"Likely one tokenizer.json was written by other settings or another version (rules for "
        f"digits, for white space, for a space at the beginning). If both models were trained "
        f"with one tokenizer, save that beside each: tokenizer.save_pretrained(folder)"
    )


def _named(vocabulary: _Vocabulary, token: int | None) -> str:
    return "none" if token is None else f"{vocabulary.tokens.get(token, '?')!r} ({token})"


def _role_notes(ours: _Vocabulary, theirs: _Vocabulary) -> list[str]:
    notes: list[str] = []
    for role, meaning in _ROLES.items():
        one, other = ours.roles[role], theirs.roles[role]
        if (one, ours.tokens.get(one or 0)) != (other, theirs.tokens.get(other or 0)):
            notes.append(
                f"the token that {meaning} ({role}) is {_named(ours, one)} in base and "
                f"{_named(theirs, other)} in post"
            )
    return notes


def _listed(entries: list[str]) -> str:
    more = len(entries) - _N_LISTED
    return ", ".join(entries[:_N_LISTED]) + (f" and {more} more" if more > 0 else "")


def _token_notes(ours: _Vocabulary, theirs: _Vocabulary, differing: list[int]) -> list[str]:
    """Added tokens that were renamed, moved, or are there on one side only."""
    places = [{v.tokens[token]: token for token in v.added} for v in (ours, theirs)]
    moved = {
        text: (one, places[1][text])
        for text, one in places[0].items()
        if places[1].get(text, one) != one
    }
    renamed, alone = list[str](), {"base": list[str](), "post": list[str]()}
    for token in differing:
        one, other = ours.tokens.get(token), theirs.tokens.get(token)
        if one is not None and other is not None:
            renamed.append(f"{token} {one!r} -> {other!r}")
        elif one is not None and one not in moved:
            alone["base"].append(f"{one!r} ({token})")
        elif other is not None and other not in moved:
            alone["post"].append(f"{other!r} ({token})")
    notes: list[str] = []
    if renamed:
        notes.append(f"{len(renamed)} added tokens have another name in post: {_listed(renamed)}")
    if moved:
        entries = [f"{text!r} {one} -> {other}" for text, (one, other) in moved.items()]
        notes.append(f"{len(moved)} added tokens have another id in post: {_listed(entries)}")
    for side, entries in alone.items():
        if entries:
            notes.append(f"{len(entries)} added tokens exist in {side} only: {_listed(entries)}")
    return notes


def _around(vocabulary: _Vocabulary) -> str:
    """The tokens that an encoding gets by itself, as words."""
    tokenizer = vocabulary.tokenizer
    bare = tokenizer("a 1", add_special_tokens=False)["input_ids"]
    full = tokenizer("a 1")["input_ids"]
    start = find_ids(full, bare) if bare else 0
    if start is None:
        return f"other tokens ({full} for {bare})"
    extra = full[:start], full[start + len(bare) :]
    words = [
        f"{[vocabulary.tokens.get(t) for t in ids]} {side}"
        for ids, side in zip(extra, ("before", "after"), strict=True)
        if ids
    ]
    return " and ".join(words) or "nothing"
