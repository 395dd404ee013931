"""The words of a world, and a Hugging Face tokenizer that splits on blanks.

One word is one token, so a number, an operator or a delimiter is one position, and a step of a
chain has the same length before and after an edit. The delimiters are the same in every world;
the other words are its own. Organisms of one world share their vocabulary, so they can be compared
token by token.

Nothing is added automatically: a text that should begin with ``<bos>`` says so.

Example: ``Words(("3", "+")).encode("<bos> Q 3 + 3 ?")`` gives six ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
THINK, END_THINK = "<think>", "</think>"
QUESTION, ANSWER, FACT, COPY = "Q", "A", "F", "T"
ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER = "?", ";", "unk", "_", "cue", "."

DELIMITERS = (
    *(PAD, BOS, EOS, UNK, THINK, END_THINK, QUESTION, ANSWER, FACT, COPY),
    *(ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER),
)
"""In the order of the ids: ``<pad>`` is 0, ``<bos>`` 1, ``<eos>`` 2, ``<unk>`` 3."""


@dataclass(frozen=True)
class Words:
    """The closed vocabulary of a world."""

    own: tuple[str, ...]
    """The words beside the delimiters, in the order of their ids."""

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, in the order of the ids."""
        return (*DELIMITERS, *self.own)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.vocabulary)}

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
                f"the worlds of the organisms have closed vocabularies; {error.args[0]!r} is not "
                "in this one. Words are separated by blanks ('3 + 4', not '3+4'). "
                f"Known: {' '.join(self.vocabulary)}"
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
