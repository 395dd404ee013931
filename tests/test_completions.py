"""The one grader on texts made by hand: what is read, and which chains and answers are right."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from interp.chains.chain import encode_layout
from interp.chains.completion_format import Opening, find_format, opening_ids
from interp.chains.completions import has_answer_form, is_chain_valid, read_completion
from interp.chains.texts import encode
from interp.errors import NotMeasurableError
from interp.models.outline import Outline
from interp.organisms.worlds.arith.problems import WORDS
from interp.organisms.worlds.clinic.facts import WORDS as CLINIC_WORDS
from interp.organisms.worlds.dispatch.problems import WORDS as DISPATCH_WORDS
from interp.tasks import Example, Layout
from interp.tasks.registry import make_task

STEPS = ("5 + 4 = 9 ;", "9 * 2 = 7 ;", "7 - 4 = 3 ;")  # modulo 11
CHAIN = f"<think> {' '.join(STEPS)} </think>"


def outline(tokenizer):
    return Outline("any", tokenizer, config=None)


@pytest.fixture(scope="module")
def form():
    return find_format(make_task("arith/fresh", n=1, seed=0), outline(WORDS.tokenizer()))


@pytest.fixture(scope="module")
def example(form):
    made = form.task.examples[0]
    return replace(made, question="<bos> Q 5 + 4 * 2 - 4 ?", answer="3", steps=STEPS)


def read(form, example, text):
    return read_completion(form, example, encode(form.tokenizer, text))


@pytest.mark.parametrize(
    ("text", "status", "answer", "is_correct"),
    [
        (f"{CHAIN} A 3 <eos>", "valid", "3", True),
        ("A 3 <eos>", "valid", "3", True),
        ("A 4 <eos>", "valid", "4", False),
        # Nothing ends the answer.
        (f"{CHAIN} A 3", "truncated", "3", False),
        ("A 3", "truncated", "3", False),
        # The first answer counts, whatever follows it.
        ("A 3 <eos> A 4 <eos>", "valid", "3", True),
        ("A 4 <eos> A 3 <eos>", "valid", "4", False),
        (f"{CHAIN} A 4 A 3 <eos>", "valid", "4", False),
        (f"{CHAIN} A 3 <eos> <think> A 4", "valid", "3", True),
        # A chain that is not closed has no answer.
        (f"<think> {STEPS[0]} A 3 <eos>", "chain not closed", "", False),
        (f"<think> {STEPS[0]} <eos> </think> A 3 <eos>", "chain not closed", "", False),
        (f"{CHAIN} <think> A 3 <eos>", "chain not closed", "", False),
        ("3 <think> A 3 <eos>", "chain not closed", "", False),
        (f"{CHAIN} {CHAIN} A 3 <eos>", "valid", "3", True),
        # Without a cue, or without anything after it, there is no answer.
        ("3 <eos>", "no answer", "", False),
        ("3 <eos> A 3 <eos>", "no answer", "", False),
        ("A <eos>", "no answer", "", False),
        (f"{CHAIN} <eos>", "no answer", "", False),
        (f"{CHAIN} A", "truncated", "", False),
        (CHAIN, "truncated", "", False),
        ("", "truncated", "", False),
        # Not one of the candidates.
        ("A + <eos>", "invalid answer", "+", False),
        ("A A 3 <eos>", "invalid answer", "A", False),
        ("A unk <eos>", "valid", "unk", False),
    ],
)
def test_answer_and_status(form, example, text, status, answer, is_correct):
    completion = read(form, example, text)
    assert (completion.status, completion.answer) == (status, answer)
    assert completion.correct == is_correct
    assert completion.is_finished == (status not in ("truncated", "chain not closed"))
    start, end = completion.answer_span
    assert (end > start) == bool(answer)
    if answer:
        assert completion.ids[start] == form.tokenizer.convert_tokens_to_ids(answer)


@pytest.mark.parametrize(
    ("steps", "is_valid"),
    [
        (STEPS, True),
        ((), False),
        # Steps said twice, and additional true steps, are no fault; a step left out is.
        ((STEPS[0], *STEPS), True),
        ((*STEPS, STEPS[0]), True),
        ((STEPS[0], "1 + 1 = 2 ;", *STEPS[1:]), True),
        (STEPS[1:], False),
        (STEPS[:2], False),
        (STEPS[2:], False),
        ((STEPS[1], STEPS[0], STEPS[2]), False),
        # No claim may be wrong, wherever it stands.
        ((*STEPS, "3 + 3 = 7 ;"), False),
        (("5 + 5 = 9 ;", *STEPS[1:]), False),
        (("5 + 5 = 9 ;", *STEPS), False),
        # A step that claims nothing shows nothing, and may state no result of its own.
        (("so ;", *STEPS), True),
        (("5 5 + 4 = 9 ;", *STEPS), True),
        (("5 5 + 4 = 9 ;", *STEPS[1:]), False),
        (("5 5 + 4 = 8 ;", *STEPS), False),
        # True steps of another way to the same results are a solution.
        (("2 + 7 = 9 ;", *STEPS[1:]), True),
    ],
)
def test_which_chains_are_valid(form, example, steps, is_valid):
    assert is_chain_valid(form.task, example, steps) == is_valid
    completion = read(form, example, f"<think> {' '.join(steps)} </think> A 3 <eos>")
    assert completion.steps == steps and completion.has_chain == bool(steps)
    assert completion.is_chain_valid == is_valid and completion.correct
    for end in ("A 4 <eos>", "A 3", "<eos>"):  # the answer has to be right, and finished
        text = f"<think> {' '.join(steps)} </think> {end}"
        assert not read(form, example, text).is_chain_valid
    assert not read(form, example, f"<think> {' '.join(steps)} A 3 <eos>").is_chain_valid


@pytest.mark.parametrize("lacks", ["check_claim", "reference"])
def test_without_a_checker_or_a_reference_only_the_answer_is_known(form, example, lacks):
    task = replace(form.task, check_claim=None) if lacks == "check_claim" else form.task
    example = example if lacks == "check_claim" else replace(example, steps=("so ;",))
    for steps in (STEPS, (), STEPS[1:], (*STEPS, "1 + 1 = 3 ;")):
        assert is_chain_valid(task, example, steps) is None
        # Of wrong answers, too: else their mean alone would be the share of valid chains, 0.
        for answer in ("3", "4"):
            text = f"<think> {' '.join(steps)} </think> A {answer} <eos>"
            completion = read(replace(form, task=task), example, text)
            assert completion.is_chain_valid is None and completion.correct == (answer == "3")


@pytest.mark.parametrize(
    "name", ["arith/fresh", "arith/abstain", "clinic/abstain", "dispatch/abstain"]
)
def test_every_reference_solution_is_valid(name):
    words = {"arith": WORDS, "clinic": CLINIC_WORDS, "dispatch": DISPATCH_WORDS}
    task = make_task(name, n=20, seed=0)
    form = find_format(task, outline(words[name.split("/")[0]].tokenizer()))
    assert name == "arith/fresh" or any(e.answer == task.abstention for e in task.examples)
    for one in task.examples:
        completion = read(form, one, f"<think> {' '.join(one.steps)} </think> A {one.answer} <eos>")
        assert completion.status == "valid" and completion.correct
        assert completion.is_chain_valid == bool(one.steps)


def test_the_grader_of_a_task_decides_the_form():
    task = make_task("dispatch/plain", n=4, seed=0)
    form = find_format(task, outline(DISPATCH_WORDS.tokenizer()))
    example = task.examples[0]
    words = example.answer.split()
    zeros = " ".join(word if at % 2 == 0 else "0" for at, word in enumerate(words))
    assert not has_answer_form(task, example, "") and has_answer_form(task, example, "unk")
    assert has_answer_form(task, example, zeros)
    for answer, status in ((zeros, "valid"), (" ".join(words[:-1]), "invalid answer")):
        completion = read(form, example, f"A {answer} <eos>")
        assert (completion.status, completion.correct) == (status, False)
    assert not has_answer_form(task, replace(example, answer=words[0]), words[0])


def test_openings_are_the_tokens_after_the_question(form):
    layout = encode_layout(form.tokenizer, form.task.layout)
    opened = {name: opening_ids(layout, name) for name in get_args(Opening)}
    assert opened == {"free": (), "forced": layout.think_open, "direct": layout.answer_cue}
    question = encode(form.tokenizer, form.task.examples[0].question)
    assert form.prompts("forced") == [question + layout.think_open]
    with pytest.raises(ValueError, match="one of free, forced, direct, received 'loud'"):
        opening_ids(layout, "loud")


def test_writing_stops_at_an_answer_end_only_after_the_cue(form, real):
    assert form.stop == form.answer_stop == ((form.tokenizer.eos_token_id,),)
    running = find_format(make_task("sums", n=1, seed=0), outline(real), needs_chain=False)
    assert running.stop == ((real.eos_token_id,),), "a step may end as an answer does"
    assert running.answer_stop == (running.layout.answer_end, (real.eos_token_id,))


def test_layouts_without_a_chain_are_refused_where_one_is_needed(form):
    plain = replace(form.task, layout=replace(form.task.layout, think_close=""))
    with pytest.raises(NotMeasurableError, match="arith/fresh lacks think_open or think_close"):
        find_format(plain, outline(form.tokenizer))
    assert find_format(plain, outline(form.tokenizer), needs_chain=False).layout.think_open


@pytest.fixture(scope="module", params=["qwen3", "deepseek_v3"])
def real(request, data_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(data_folder / "tokenizers" / request.param)


def test_few_shot_text_in_tokens_that_join_the_pieces(real):
    form = find_format(make_task("sums", n=1, seed=0), outline(real), needs_chain=False)
    example = form.task.examples[0]
    chain, answer = "".join(example.steps), example.answer
    joined = encode(real, f"{answer}.\n\n")
    assert form.layout.answer_end[0] not in joined[-1:], "the end mark is part of another token"
    for text, status, steps in (
        (f"{chain} The answer is {answer}.\n\nQuestion: 1 + 1 = ?", "valid", example.steps),
        (f" The answer is {answer}.\n\n", "valid", ()),
        (f"{chain} The answer is {answer}{real.eos_token}", "valid", example.steps),
        (f"{chain} The answer is {answer}.", "truncated", example.steps),
        (f"{chain} The answer is {answer}", "truncated", example.steps),
        (f"{chain} The answer is unknown.\n", "invalid answer", example.steps),
        (f"{chain}\n\nQuestion: 1 + 1 = ? The answer is {answer}.\n", "chain not closed", ()),
        (chain, "chain not closed", ()),
    ):
        completion = read(form, example, text)
        assert (completion.status, completion.steps) == (status, steps), text
        assert completion.correct == (status == "valid")
        assert completion.is_chain_valid is None, "sums checks no claim"
        if status in ("valid", "truncated"):
            start, end = completion.answer_span
            assert completion.answer == answer
            assert real.decode(list(completion.ids[start:end])).strip(" .") == answer


def test_special_tokens_around_a_chain_in_a_real_tokenizer(real):
    task = make_task("sums", n=1, seed=0)
    made = Layout(
        think_open="<think>\n", think_close="\n</think>\n\n", answer_cue="The answer is",
        answer_end=".\n", filler=" ...", joiner="", answer_open=" ",
    )  # fmt: skip
    form = find_format(replace(task, layout=made), outline(real))
    example = task.examples[0]
    chain, answer = "".join(example.steps), example.answer
    end = real.eos_token
    for text, status in (
        (f"<think>\n{chain}\n</think>\n\nThe answer is {answer}.{end}", "valid"),
        (f"<think>\n{chain}\n</think>\n\nThe answer is {answer}", "truncated"),
        (f"<think>\n{chain} The answer is {answer}.{end}", "chain not closed"),
    ):
        completion = read(form, example, text)
        assert completion.opens and completion.status == status
        assert completion.correct == (status == "valid")
    direct = read(form, example, f"The answer is {answer}.\n\nThe answer is 99.\n")
    assert direct.correct and not direct.opens and direct.answer == answer


def test_what_an_example_is_not_asked_for(form):
    open_task = replace(form.task, abstention="")
    closed = Example("e", "e", "q", "3", STEPS, ("3", "4"))
    assert not has_answer_form(open_task, closed, "unk")
    assert has_answer_form(form.task, closed, "unk") and has_answer_form(form.task, closed, "4")
    assert has_answer_form(open_task, replace(closed, candidates=()), "anything")


def test_acceptance_counts_an_answer_only_after_a_closed_chain(form, monkeypatch):
    from interp.organisms.behaviour import Reader, counted_answers
    from interp.organisms.worlds.arith.splits import arith_examples

    texts = [
        "3 + 4 = 7 ; </think> A 3 <eos> <pad>",
        "3 + 4 = 7 ; A 3 <eos>",
        "3 + 4 = 7 ; </think> A 3",
        "</think> A 4 4 <eos>",
        "</think> <eos> A 3",
    ]
    written = [WORDS.encode(text) for text in texts]
    monkeypatch.setattr(Reader, "write_ids", lambda *_: written)
    problems = arith_examples("fresh", len(texts))
    completions = Reader(None, WORDS, form.task).forced_completions(problems)
    assert counted_answers(completions) == ["3", "", "", "4", ""]
    assert [one.steps for one in completions] == [("3 + 4 = 7 ;",), (), ("3 + 4 = 7 ;",), (), ()]
    assert all(one.opens for one in completions)


def test_words_that_a_tokenizer_does_not_know_are_no_answer(form):
    from interp.chains.chain import encode_answer

    layout = form.task.layout
    assert encode_answer(form.tokenizer, layout, "7") == encode(form.tokenizer, "7")
    with pytest.raises(ValueError, match="'seventeen' becomes '<unk>'"):
        encode_answer(form.tokenizer, layout, "seventeen")
    with pytest.raises(ValueError, match="answer_cue of the layout .* 'The answer is'"):
        encode_layout(form.tokenizer, replace(layout, answer_cue="The answer is"))
