"""The words of a world, and a Hugging Face tokenizer that splits on blanks.

One word is one token, so a number, an operator or a delimiter is one position, and a step of a
chain has the same length before and after an edit. The delimiters and the layout of a text are the
same in every world; each world adds words of its own, some with a synonym. Organisms of one world
share their vocabulary, so they can be compared token by token.

The tokenizer adds nothing to a text: a text that should begin with ``<bos>`` contains it.

Example: ``Words(("3", "+")).encode("<bos> Q 3 + 3 ?")`` gives six ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from interp.tasks.task import Layout

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
THINK, END_THINK = "<think>", "</think>"
QUESTION, ANSWER, FACT, COPY = "Q", "A", "F", "T"
ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER = "?", ";", "unk", "_", "cue", "."

DELIMITERS = (
    *(PAD, BOS, EOS, UNK, THINK, END_THINK, QUESTION, ANSWER, FACT, COPY),
    *(ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER),
)
"""In the order of the ids: ``<pad>`` is 0, ``<bos>`` 1, ``<eos>`` 2, ``<unk>`` 3."""

LAYOUT = Layout(
    think_open=THINK,
    think_close=END_THINK,
    answer_cue=ANSWER,
    answer_open="",
    answer_end=EOS,
    filler=FILLER,
    joiner=" ",
)
"""Layout of every task of the worlds."""


@dataclass(frozen=True)
class Words:
    """The closed vocabulary of a world."""

    own: tuple[str, ...]
    """The words beside the delimiters, in the order of their ids."""
    synonyms: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """Word -> its synonym, which is in `own`, too."""

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, in the order of the ids."""
        return (*DELIMITERS, *self.own)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.vocabulary)}

    @cached_property
    def choices(self) -> frozenset[str]:
        """The words that have a synonym, and the synonyms."""
        return frozenset((*self.synonyms, *self.synonyms.values()))

    def paraphrase(self, step: str) -> str:
        """The same step in other words, equally long: ``3 + 4 = 7 ;`` as ``3 plus 4 is 7 ;``."""
        return " ".join(self.synonyms.get(word, word) for word in step.split())

    def encode(self, text: str) -> list[int]:
        """Ids of the words of a text, without a tokenizer object.

        Args:
            text: Words separated by blanks.

        Returns:
            One id per word.

        Raises:
            ValueError: If a word is not in the vocabulary.
        """
        try:
            return [self.ids[word] for word in text.split()]
        except KeyError as error:
            raise ValueError(
                f"a text of an organism's world holds only words of its vocabulary; received "
                f"{error.args[0]!r}, which it lacks. Separate words by blanks ('3 + 4', not "
                f"'3+4'). Known: {' '.join(self.vocabulary)}"
            ) from None

    def tokenizer(self) -> Any:
        """The word-level tokenizer in Hugging Face form (left padding, nothing added to a text).

        Returns:
            A tokenizer that ``save_pretrained`` writes and ``AutoTokenizer`` reads back.
        """
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        words = Tokenizer(models.WordLevel(dict(self.ids), unk_token=UNK))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(
            tokenizer_object=words,
            bos_token=BOS,
            eos_token=EOS,
            unk_token=UNK,
            pad_token=PAD,
            padding_side="left",
        )


def first_word(text: str) -> str:
    """The first word of a text; empty if it has none."""
    return next(iter(text.split()), "")
