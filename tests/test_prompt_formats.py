"""Prompt formats: how they are found, and that a perfect writer is perfect in each of them.

Writers are tiny models that know a few sums by heart in one format, so what they write is known.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from interp.chains.chain import encode_question, step_texts
from interp.chains.completion_format import find_format, find_parts
from interp.chains.completions import read_completion
from interp.chains.rendering import render
from interp.chains.texts import continue_text, decode, encode
from interp.chains.trace_forms import put_in_format
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import PromptFormat, find_prompt_format, make_model
from interp.models.outline import Outline
from interp.tasks import make_task
from interp.tasks.presentation import present
from tests.chat_tokenizers import make_tokenizer

TASK = make_task("sums/two", n=6, seed=0)
KINDS = {
    "few-shot": (None, "task"),
    "bare": (None, "bare"),
    "chat": ("chat", None),
    "model opens": ("model opens", None),
    "thinking off": ("model opens", "chat"),
    "template opens": ("template opens", None),
}
"""Kind -> template of the tokenizer, and the format that is asked for (None: found)."""


def write_perfectly(kind: str, example: Any) -> str:
    """What a perfect writer writes after a question."""
    chain, answer = "".join(example.steps), example.answer
    if kind in ("few-shot", "bare"):
        return f"{chain} The answer is {answer}.\n"
    said = f"So it is \\boxed{{{answer}}}."
    thought = f"{chain.strip()}\n</think>\n\n{said}<|end|>"
    return {
        "chat": f"{chain.strip()}\n{said}<|end|>",
        "thinking off": f"{chain.strip()}\n{said}<|end|>",
        "model opens": f"<think>\n{thought}",
        "template opens": thought,
    }[kind]


def make_random(tokenizer: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@cache
def tuned(kind: str) -> Any:
    """A model that knows the answers to `TASK` by heart in one format."""
    template, name = KINDS[kind]
    tokenizer = make_tokenizer(template)
    form = find_prompt_format(tokenizer, name)
    shown = present(TASK, Outline("any", tokenizer, None, form))
    rows, starts = [], []
    for example in shown.examples:
        prompt = encode_question(tokenizer, shown, example)
        rows.append(continue_text(tokenizer, prompt, write_perfectly(kind, example)))
        starts.append(len(prompt))
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[2] * (width - len(row))] for row in rows])
    labels = ids.clone()
    for at, (row, start) in enumerate(zip(rows, starts, strict=True)):
        labels[at, :start], labels[at, len(row) :] = -100, -100
    hf = make_random(tokenizer).train()
    optimizer = torch.optim.AdamW(hf.parameters(), lr=3e-3)
    for _ in range(300):
        loss = hf(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 1e-3:
            break
    model = make_model(hf.requires_grad_(False).eval(), tokenizer, name=kind)
    return replace(model, prompt_format=form)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["free", "forced"])
def test_a_perfect_writer_is_right_in_its_format(kind: str, mode: str):
    traces = write_traces(tuned(kind), TASK, mode=mode)
    assert [t.status for t in traces] == ["valid"] * 6
    assert [t.answer for t in traces] == [e.answer for e in TASK.examples]
    assert all(t.correct for t in traces)
    for trace, example in zip(traces, TASK.examples, strict=True):
        assert "".join(step_texts(trace.steps)).strip() == "".join(example.steps).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_completion_is_read_as_one(kind: str):
    template, name = KINDS[kind]
    tokenizer = make_tokenizer(template)
    model = Outline("any", tokenizer, None, find_prompt_format(tokenizer, name))
    form = find_format(TASK, model, needs_chain=False)
    for example in form.task.examples:
        text = write_perfectly(kind, example)
        whole = read_completion(form, example, encode(tokenizer, text))
        assert (whole.status, whole.correct) == ("valid", True)
        assert "".join(whole.steps).strip() == "".join(example.steps).strip()
        answer = text.rindex(example.answer)
        cut = read_completion(form, example, encode(tokenizer, text[:answer] + "1"))
        assert not cut.correct and cut.status == "truncated"
        if form.layout.think_close:
            inside = text[: text.index("\n</think>")] + " The answer is 1."
            open_ = read_completion(form, example, encode(tokenizer, inside + "<|end|>"))
            assert (open_.status, open_.correct) == ("chain not closed", False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_reader_gets_any_chain_in_its_own_format(kind: str, other: str):
    """The text is that of the reader's question, the same steps, and its own cue."""
    if make_tokenizer(KINDS[kind][0]).get_vocab() != make_tokenizer(KINDS[other][0]).get_vocab():
        pytest.skip("a pair shares its tokens")
    (written, *_), reader = write_traces(tuned(kind), TASK, mode="forced"), tuned(other)
    form = find_format(TASK, reader, needs_chain=False)
    example = form.task.examples[0]
    read = put_in_format(written, form.task, example, form.layout)
    assert [s.strip() for s in step_texts(read.steps)] == [
        s.strip() for s in step_texts(written.steps)
    ]
    text = decode(reader.tokenizer, render(read.prompt_ids, read.steps, form.layout))
    fixed = form.task.layout
    chain = "".join(step_texts(read.steps))
    begun = text.startswith(example.question) or text.startswith("<s>" + example.question)
    assert begun
    assert text.endswith(fixed.think_open + chain + fixed.think_close + fixed.answer_cue)
    assert "".join(step_texts(read.steps)).strip() == "".join(TASK.examples[0].steps).strip()


def test_formats_are_found_from_the_template():
    found = {name: find_prompt_format(make_tokenizer(name)) for name in
             (None, "chat", "model opens", "template opens")}  # fmt: skip
    assert {k: v.name for k, v in found.items()} == {
        None: "task", "chat": "chat", "model opens": "think", "template opens": "think",
    }  # fmt: skip
    assert found["model opens"].think_open == "<think>\n"
    assert found["template opens"].think_open == ""
    assert {found[k].turn_end for k in ("chat", "model opens", "template opens")} == {"<|end|>"}
    assert "the model opens" in found["model opens"].account
    assert "its template opens" in found["template opens"].account


def test_formats_of_real_tokenizers(data_folder: Any):
    qwen, deepseek = (
        AutoTokenizer.from_pretrained(data_folder / "tokenizers" / name)
        for name in ("qwen3", "deepseek_v3")
    )
    thinks = find_prompt_format(qwen)
    assert (thinks.name, thinks.think_open, thinks.turn_end) == ("think", "<think>\n", "<|im_end|>")
    assert find_prompt_format(deepseek).name == "chat"
    assert find_prompt_format(deepseek).turn_end == "<\uff5cend\u2581of\u2581sentence\uff5c>"
    task = make_task("gsm8k", n=2, seed=0, data=data_folder)
    for tokenizer, name, end in (
        (qwen, "think", "<|im_start|>assistant\n"),
        (qwen, "chat", "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        (deepseek, "chat", "<\uff5cAssistant\uff5c>"),
    ):
        form = find_prompt_format(tokenizer, name)
        shown = present(task, Outline("any", tokenizer, None, form))
        question = shown.examples[0].question
        assert question.endswith(end) and str(task.examples[0].facts["asked"]) in question
        assert "Nora has 3 boxes" not in question, "no worked examples"
        assert present(shown, Outline("any", tokenizer, None, form)) == shown
        assert present(shown, Outline("any", tokenizer, None)) is task


@pytest.mark.parametrize("name", ["chat", "think"])
def test_a_chat_needs_a_template(name: str):
    with pytest.raises(ValueError, match=f"'{name}' needs a chat template"):
        find_prompt_format(make_tokenizer(), name)


def test_names_and_broken_templates_are_refused():
    with pytest.raises(ValueError, match="unknown prompt format 'loud'; known: task, bare, chat"):
        find_prompt_format(make_tokenizer(), "loud")
    broken = make_tokenizer("chat")
    broken.chat_template = "{{ raise_exception('no system') }}"
    with pytest.raises(ValueError, match="cannot be rendered: no system.*--post-format task"):
        find_prompt_format(broken)


def test_bare_needs_a_task_that_has_such_a_form():
    arith = make_task("arith/fresh", n=1, seed=0)
    tokenizer = make_tokenizer()
    with pytest.raises(ValueError, match="'bare'.*arith/fresh has no such form"):
        present(arith, Outline("any", tokenizer, None, PromptFormat("bare")))


def test_without_a_chain_thinking_is_switched_off():
    """A direct question to a model that thinks: the empty block of its template, then the cue."""
    model = tuned("model opens")
    form = find_format(TASK, model)
    direct = decode(model.tokenizer, form.prompts("direct")[0])
    off = present(TASK, replace(model, prompt_format=find_prompt_format(model.tokenizer, "chat")))
    assert direct == off.examples[0].question + form.task.layout.answer_cue


def test_a_turn_that_states_nothing_is_asked_by_the_cue(monkeypatch: Any):
    """It is finished, and its chain is kept; one that breaks off is truncated."""
    from interp.chains import trace_writing
    from interp.engine import Generation

    model = tuned("chat")
    tokenizer = model.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    asked: list[str] = []

    def write(_: Any, prompts: Any, **__: Any) -> list[Any]:
        asked.extend(decode(tokenizer, prompt) for prompt in prompts)
        if asked[-1].endswith("\\boxed"):
            ids = (*encode(tokenizer, "{\\frac{1}{2}}"), end)
            return [Generation(ids, (0.0,) * len(ids), True) for _ in prompts]
        one: tuple[int, ...] = (*encode(tokenizer, "One half it is, surely, said he"), end)
        texts = [one if at != 1 else one[:-1] for at in range(len(prompts))]
        return [Generation(ids, (0.0,) * len(ids), ids[-1] == end) for ids in texts]

    monkeypatch.setattr(trace_writing, "generate", write)
    traces = write_traces(model, TASK, mode="free")
    assert [t.status for t in traces] == ["valid", "truncated", *["valid"] * 4]
    assert asked[6].endswith("said he\n\nThe final answer is \\boxed")
    assert traces[0].answer == "1/2" or traces[0].answer == "0.5"
    assert decode(tokenizer, traces[0].answer_ids) == "{\\frac{1}{2}"


def test_gold_chains_are_read_in_the_readers_format():
    model = tuned("template opens")
    form = find_format(TASK, model, needs_chain=False)
    gold = gold_traces(model.tokenizer, TASK)[0]
    example = form.task.examples[0]
    read = put_in_format(gold, form.task, example, form.layout)
    text = decode(model.tokenizer, render(read.prompt_ids, read.steps, form.layout))
    assert text.endswith(
        "<|assistant|>\n<think>\n" + "".join(TASK.examples[0].steps).strip()
        + "\n</think>\n\nThe final answer is \\boxed"
    )  # fmt: skip
    assert put_in_format(read, form.task, example, form.layout) is read


def test_parts_of_a_chat_by_their_tokens():
    model = tuned("model opens")
    form = find_format(TASK, model)
    text = "<think>\n8 + 6 = 14.\n</think>\n\nIt is 14.\nSo \\boxed{14}"
    ids = encode(model.tokenizer, text)
    parts = find_parts(form, ids)
    assert decode(model.tokenizer, ids[slice(*parts.chain)]).rstrip() == "8 + 6 = 14."
    assert decode(model.tokenizer, ids[slice(*parts.answer_span)]) == "14"
    assert parts.is_ended and not parts.is_whole


def test_every_end_that_a_checkpoint_names_ends_a_text():
    """Several in generation_config, as instruct models have them: the first of any counts."""
    tokenizer = make_tokenizer("chat")
    hf = make_random(tokenizer).eval()
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    hf.generation_config.eos_token_id = [1, end]
    head = torch.nn.Linear(64, len(tokenizer))
    with torch.no_grad():
        head.weight.copy_(hf.lm_head.weight)
        hf.lm_head = head
        hf.lm_head.bias.zero_()
        hf.lm_head.bias[end] = 30.0
    model = make_model(hf, tokenizer, name="ends at once")
    assert model.ends == (1, end)
    trace = write_traces(model, TASK, mode="forced")[0]
    assert sum(len(step.ids) for step in trace.steps) == 0, "nothing is written after the end"
    assert find_format(TASK, model, needs_chain=False).stop == ((1,), (end,))
