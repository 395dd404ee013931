"""The words of the arithmetic worlds, and a Hugging Face tokenizer that splits on blanks.

One word is one token, so a number, an operator or a delimiter is one position, and a step of a
chain has the same length before and after an edit. The worlds **arith** and **arith-names** share
one vocabulary, so their organisms can be compared token by token.

Nothing is added automatically: a text that should begin with ``<bos>`` says so.

Example: ``build_tokenizer()("<bos> Q 3 + 4 ?")["input_ids"]`` has six ids.
"""

from __future__ import annotations

from typing import Any

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
THINK, END_THINK = "<think>", "</think>"
QUESTION, ANSWER, FACT, COPY = "Q", "A", "F", "T"
ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER = "?", ";", "unk", "_", "cue", "."

NUMBERS = tuple(str(value) for value in range(11))
NAMES = tuple("abcdefghijklmnopqrstuvwxyz")
VOCABULARY: tuple[str, ...] = (
    *(PAD, BOS, EOS, UNK, THINK, END_THINK, QUESTION, ANSWER, FACT, COPY),
    *(ASK, STEP_END, ABSTAIN, BLANK, CUE, FILLER),
    *NUMBERS,
    *("+", "-", "*", "=", "plus", "minus", "times", "is"),
    *("->", ",", ":", "find", "so", "gives"),
    *NAMES,
)
"""Every word, in the order of the ids: ``<pad>`` is 0, ``<bos>`` 1, ``<eos>`` 2, ``<unk>`` 3."""

WORD_IDS: dict[str, int] = {word: index for index, word in enumerate(VOCABULARY)}


def word_ids(text: str) -> list[int]:
    """Ids of the words of a text, without a tokenizer object.

    Args:
        text: Words separated by blanks.

    Returns:
        One id per word.

    Raises:
        ValueError: If a word is not in the vocabulary.
    """
    try:
        return [WORD_IDS[word] for word in text.split()]
    except KeyError as error:
        raise ValueError(
            f"the arithmetic worlds have a closed vocabulary; {error.args[0]!r} is not in it. "
            f"Words are separated by blanks ('3 + 4', not '3+4'). Known: {' '.join(VOCABULARY)}"
        ) from None


def build_tokenizer() -> Any:
    """The word-level tokenizer in Hugging Face form (left padding, nothing added to a text).

    Returns:
        A tokenizer that ``save_pretrained`` writes and ``AutoTokenizer`` reads back.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(WORD_IDS), unk_token=UNK))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        pad_token=PAD,
        padding_side="left",
    )
