"""Running text: pieces are the tokens of the whole, for tokenizers of five kinds."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from interp.chains.chain import (
    encode_answer,
    encode_chain,
    encode_layout,
    encode_question,
    step_texts,
)
from interp.chains.edits import rewrite, truncate
from interp.chains.rendering import lay_out, render
from interp.chains.texts import (
    continue_text,
    decode,
    encode,
    encode_beginning,
    encode_inside,
    token_starts,
)
from interp.chains.trace_writing import gold_traces
from interp.tasks import Layout, make_task
from interp.tasks.gsm8k import LAYOUT

WORDS = (
    "Nora has 3 * 6 = 18 pens.\nAfter giving 4 away she has 18 - 4 = 14 pens.\n"
    "The answer is 14.\n\n"
    "Question: how many?\nAnswer: Let us work it out step by step. hello world , I think so . wait"
)
PIECES = (
    "Nora has 3 * 6 = 18 pens.", "\n", "\n\n", " So", " 18", ".", "\\boxed{18}", " é北京", "  ",
    "$5", "\tx = y", "?", " ...", "Wait,", " I", "'ll", "\n- a", " - 4 = 14", "{", "}",
    "<", "\u2212 3",
)  # fmt: skip
BYTES = pre_tokenizers.ByteLevel.alphabet()
FALLBACK = [f"<0x{at:02X}>" for at in range(256)]


def like_gpt2() -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<s>", "</s>"], initial_alphabet=BYTES, show_progress=False
    )
    made.train_from_iterator([WORDS] * 20, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def like_llama2() -> Any:
    """Puts a blank before whatever it is given."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    special = ["<unk>", "<s>", "</s>", *FALLBACK]
    words = ["▁" + word for word in WORDS.replace("\n", " ").split() for _ in range(3)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    made.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def like_metaspace() -> Any:
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    special = ["<unk>", "<s>", "</s>", *FALLBACK]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    made.train_from_iterator([WORDS] * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


MADE = {"gpt2": like_gpt2, "llama2": like_llama2, "metaspace": like_metaspace}


@pytest.fixture(scope="module", params=[*MADE, "qwen3", "deepseek_v3", "smollm2"])
def tokenizer(request: Any) -> Any:
    if request.param in MADE:
        return MADE[request.param]()
    if request.param == "smollm2":
        pytest.importorskip("gguf", reason="the extra smollm is not installed")
        from interp.models.smollm2 import smollm2_path

        try:
            return AutoTokenizer.from_pretrained(smollm2_path())
        except ModuleNotFoundError as error:
            pytest.skip(str(error))
    return AutoTokenizer.from_pretrained(
        request.getfixturevalue("data_folder") / "tokenizers" / request.param
    )


def draw(rng: Random, k: int) -> str:
    return "".join(rng.choices(PIECES, k=k))


def test_a_continued_text_has_the_tokens_of_the_whole(tokenizer: Any):
    rng = Random(0)
    for _ in range(300):
        before, more = "A text. " + draw(rng, rng.randrange(0, 40)), draw(rng, rng.randrange(1, 6))
        found = continue_text(tokenizer, encode(tokenizer, before), more)
        assert found == encode(tokenizer, before + more), (before[-40:], more)


def test_pieces_are_the_tokens_of_the_whole(tokenizer: Any):
    """Question, steps, cue and answer, at every length of the chain."""
    rng = Random(1)
    layouts = (
        LAYOUT,
        Layout(
            think_open="<think>\n", think_close="\n</think>\n\n", filler=" ...", joiner="",
            answer_cue="The final answer is \\boxed", answer_open="{", answer_end="}",
        ),
    )  # fmt: skip
    for trial in range(60):
        fixed = layouts[trial % 2]
        layout = encode_layout(tokenizer, fixed)
        question = "Question: " + draw(rng, 8) + "?"
        prompt = encode_beginning(tokenizer, question)
        lead = "\n" if trial % 4 < 2 else " "
        texts = [lead + draw(rng, rng.randrange(1, 7)).strip() + "." for _ in range(4)]
        chain = encode_chain(tokenizer, fixed, prompt, texts)
        assert "".join(step_texts(chain)) == "".join(texts)
        for k in range(len(chain) + 1):
            shown = "".join(step_texts(truncate(chain, k)))
            block = fixed.think_open + shown + fixed.think_close if k or fixed.think_open else ""
            text = question + block + fixed.answer_cue
            whole = encode_beginning(tokenizer, text)
            assert render(prompt, chain[:k], layout) == whole, (trial, k)
            answered = encode_beginning(tokenizer, text + fixed.answer_open + "18")
            if answered[: len(whole)] == whole:
                assert whole + encode_answer(tokenizer, fixed, "18") == answered
            else:  # a tokenizer whose tokens reach from word to word
                with pytest.raises(ValueError, match="joins the end of the cue"):
                    encode_answer(tokenizer, fixed, "18")
            spans = lay_out(prompt, chain[:k], layout)
            assert spans.ids == whole and len(spans.steps) == k
            assert spans.cue.stop == len(whole)
        edited = rewrite(
            tokenizer, chain, [texts[0], "\nWait, 2 + 2 = 5.", *texts[2:]][: len(chain)]
        )
        text = question + fixed.think_open + "".join(step_texts(edited)) + fixed.think_close
        whole = encode_beginning(tokenizer, text + fixed.answer_cue)
        assert render(prompt, edited, layout) == whole


def test_what_a_model_wrote_is_not_encoded_again(tokenizer: Any):
    """Tokens that the tokenizer would not choose are kept up to the edit."""
    from interp.chains.chain import cut_ids
    from interp.tasks import split_lines

    layout = encode_layout(tokenizer, LAYOUT)
    prompt = encode_beginning(tokenizer, "Question: how many?\nAnswer: Let us work it out.")
    text = "\nNora has 18 pens.\nSo 14 pens."
    ids = encode_inside(tokenizer, "\nN")
    odd = ids + tuple(t for c in text[2:] for t in encode_inside(tokenizer, c))
    assert decode(tokenizer, prompt + odd).endswith(text) and odd != encode(tokenizer, text)
    chain = cut_ids(tokenizer, odd, split_lines, "")
    shown = render(prompt, chain, layout)
    assert shown[: len(prompt) + len(odd) - 1] == (prompt + odd)[:-1], "but for the border"
    assert decode(tokenizer, shown).endswith(text + LAYOUT.answer_cue)
    half = render(prompt, chain[:1], layout)
    assert decode(tokenizer, half).endswith("\nNora has 18 pens." + LAYOUT.answer_cue)
    kept = sum(len(step.ids) for step in chain[:1])
    assert half[: len(prompt) + kept - 2] == (prompt + odd)[: len(prompt) + kept - 2]


def test_where_tokens_begin(tokenizer: Any):
    """Against ever longer prefixes, one character at a time."""
    rng = Random(2)
    for _ in range(30):
        ids = encode(tokenizer, "Well. " + draw(rng, 20))
        slow = [
            len(decode(tokenizer, ids[:count]).rstrip("\N{REPLACEMENT CHARACTER}"))
            for count in range(len(ids))
        ]
        expected = [max(slow[: at + 1]) for at in range(len(slow))]
        assert token_starts(tokenizer, ids) == expected


def test_gold_texts_of_gsm8k_are_whole(request: Any, tokenizer: Any, data_folder: Any):
    task = make_task("gsm8k", n=8, seed=0, data=data_folder)
    if request.node.callspec.params["tokenizer"] == "metaspace":  # tokens from word to word
        with pytest.raises(ValueError, match="joins the end of the cue"):
            gold_traces(tokenizer, task)
        return
    layout = encode_layout(tokenizer, task.layout)
    for example, trace in zip(task.examples, gold_traces(tokenizer, task), strict=True):
        begin = encode_question(tokenizer, task, example)
        assert begin == tuple(tokenizer(example.question)["input_ids"]), "BOS as it adds it"
        for k in range(len(trace.steps) + 1):
            text = example.question + "".join(example.steps[:k]) + task.layout.answer_cue
            assert render(trace.prompt_ids, trace.steps[:k], layout) == tuple(
                tokenizer(text)["input_ids"]
            )


def test_a_text_with_its_own_bos_gets_no_second():
    made = like_gpt2()
    assert encode_beginning(made, "Nora") == (0, *encode(made, "Nora"))
    assert encode_beginning(made, "<s>Nora") == (0, *encode(made, "Nora"))


def test_the_work_of_finding_where_tokens_begin_is_linear():
    """By the tokens that are decoded, not by a clock."""

    class Counting:
        def __init__(self, inner: Any) -> None:
            self.inner, self.n = inner, 0

        def decode(self, ids: list[int], **options: Any) -> str:
            self.n += len(ids)
            return self.inner.decode(ids, **options)

    made = like_gpt2()
    counts: list[int] = []
    for n in (500, 1000, 2000):
        counting = Counting(made)
        token_starts(counting, encode(made, "Nora has 3 * 6 = 18 pens.\n" * 400)[:n])
        counts.append(counting.n)
    assert counts[1] < 2.1 * counts[0] and counts[2] < 2.1 * counts[1]
    assert counts[2] < 10 * 2000
