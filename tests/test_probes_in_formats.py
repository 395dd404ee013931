"""Probes of elicitation in other formats than the organisms': they read what is written, or refuse.

The post-trained model is one that knows a few sums by heart in one format, so its accuracy there is
1; the base is random, so that its accuracy is 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from interp.chains.completion_format import find_format, find_shared_format
from interp.chains.texts import decode, encode
from interp.chains.trace_writing import gold_traces
from interp.errors import NotMeasurableError
from interp.methods.decoding.hybrid.categories import find_category, find_step_ends
from interp.models import Model, PromptFormat, find_prompt_format, make_model
from interp.models.outline import Outline
from interp.tasks import make_task
from interp.tasks.presentation import present
from probes import find_probe
from probes.cli import app
from probes.first_token import WRITERS, FirstToken
from probes.hybrid import HybridDecoding
from probes.sae_features import _texts
from tests.chat_tokenizers import make_tokenizer
from tests.test_prompt_formats import TASK, make_random, tuned

MODEL_OPENS = "model opens"
SHORT = 60
"""Token budget of chains here; those known by heart are shorter."""


def ask(model: Model, name: str | None) -> Model:
    """The model in a format of its tokenizer, with short chains."""
    form = find_prompt_format(model.tokenizer, name)
    return replace(model, prompt_format=replace(form, max_chain_tokens=SHORT))


def make_base(template: str | None = MODEL_OPENS) -> Model:
    tokenizer = make_tokenizer(template)
    return make_model(make_random(tokenizer, seed=1).eval(), tokenizer, name="random")


@pytest.mark.parametrize(
    ("base", "post"), [("task", "task"), ("task", "think"), ("think", "task"), ("think", "chat")]
)
@pytest.mark.parametrize("name", ["pre_existence", "hybrid", "elicitation_methods", "sae_features"])
def test_formats_without_tags_are_refused_with_a_reason(name: str, base: str, post: str):
    model = make_base()
    readers = {"base": ask(model, base), "post": ask(replace(model, name="other"), post)}
    items = find_probe(name)().run(readers, TASK, {}, seed=0)
    assert items and all(math.isnan(item.value) for item in items)
    (reason,) = {item.note for item in items}
    lacking = base if base in ("task", "chat") else post
    assert f"lacks think_open or think_close in the prompt format '{lacking}'" in reason
    assert "--base-format think --post-format think" in reason


def test_a_template_that_opens_the_chain_is_named():
    model = Outline("r1", tok := make_tokenizer("template opens"), None, find_prompt_format(tok))
    with pytest.raises(NotMeasurableError, match="Its chat template opens the chain"):
        find_format(TASK, model)


@pytest.mark.parametrize(("base", "post"), [("task", "think"), ("chat", "think")])
def test_a_token_is_transplanted_after_the_same_question_only(base: str, post: str):
    model = make_base()
    readers = {"base": ask(model, base), "post": ask(replace(model, name="other"), post)}
    items = FirstToken().run(readers, TASK, {}, seed=0)
    assert items and all(math.isnan(item.value) for item in items)
    (reason,) = {item.note for item in items}
    assert f"random in '{base}'" in reason and f"other in '{post}'" in reason


def test_another_opening_is_another_format():
    task, model = make_task("arith/fresh", n=2, seed=0), Outline("a", make_tokenizer(), None)
    other = replace(model, name="b", prompt_format=PromptFormat(think_open="z"))
    with pytest.raises(NotMeasurableError, match=r"a in 'task', '<think>' and b in 'task', 'z'"):
        find_shared_format(task, model, other)
    assert find_shared_format(task, model, model) == find_format(task, model)


@pytest.mark.parametrize("kind", ["few-shot", "chat", MODEL_OPENS])
def test_the_first_token_of_one_model_transplanted_into_itself(kind: str):
    """Nothing changes: no divergence, and every mixture is right in its own format."""
    model = tuned(kind)
    traces = {"gold": gold_traces(model.tokenizer, TASK)}
    items = FirstToken().run({"base": model, "post": model}, TASK, traces, seed=0)
    right = {(i.condition, i.reader): i.value for i in items if i.metric == "accuracy"}
    assert len(right) == 2 + len(WRITERS) and set(right.values()) == {1.0}
    kl = [item.value for item in items if item.metric.startswith("kl")]
    assert len(kl) == 2 * len(TASK.examples) and kl == pytest.approx([0.0] * len(kl), abs=1e-6)


def test_hybrid_reads_both_models_in_the_format_that_they_share(monkeypatch: Any):
    """What each writes alone; a random base never ends, so variants would cost minutes."""
    monkeypatch.setattr("probes.hybrid.VARIANTS", ())
    readers = {"base": ask(make_base(), "think"), "post": ask(tuned(MODEL_OPENS), "think")}
    items = HybridDecoding(doses=(1.0,)).run(readers, TASK, {}, seed=0)
    found: dict[tuple[str, str], set[float]] = {}
    for item in items:
        if not item.note:
            found.setdefault((item.reader, item.metric), set()).add(item.value)
    assert found["post", "correct"] == found["post", "opens"] == {1.0}
    assert found["base", "correct"] == {0.0}


TEXT = "<think>\n8 + 6 = 14. 14 + 3 = 17.\n</think>\n\nSo it is \\boxed{17}."
PLACES = {
    "": "open",
    "<think>": "step",
    "<think>\n": "step",
    "<think>\n8": "inside",
    "<think>\n8 + 6 =": "inside",
    "<think>\n8 + 6 = 14.": "step",
    "<think>\n8 + 6 = 14. 14": "inside",
    "<think>\n8 + 6 = 14. 14 + 3 = 17.\n": "step",
    "<think>\n8 + 6 = 14. 14 + 3 = 17.\n</think>": "answer",
    "The answer": "answer",
}
"""What a model has written -> kind of the next token, by hand."""


@pytest.fixture(params=["made", "qwen3"])
def thinking(request: Any) -> Outline:
    if request.param == "made":
        tokenizer = make_tokenizer(MODEL_OPENS)
    else:
        folder = request.getfixturevalue("data_folder")
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizers" / "qwen3")
    return Outline("any", tokenizer, None, find_prompt_format(tokenizer, "think"))


def test_kinds_of_places_in_running_text(thinking: Outline):
    form = find_format(TASK, thinking)
    ends, tokenizer = find_step_ends(form), thinking.tokenizer
    for text, kind in PLACES.items():
        assert find_category(form, ends, encode(tokenizer, text)) == kind, text
    ids = encode(tokenizer, TEXT)
    for n in range(len(ids)):
        written = decode(tokenizer, ids[:n])
        is_closed = "</think>" in written
        assert (find_category(form, ends, ids[:n]) == "answer") == is_closed, written


def test_texts_of_features_are_the_tokens_of_the_whole(thinking: Outline):
    """Encoded in one go, the text is the same; the chain is what stands from tag to tag."""
    task = make_task("sums/two", n=10, seed=0)
    form, tokenizer = find_format(task, thinking), thinking.tokenizer
    for example, text, direct in zip(form.task.examples, *_texts(form), strict=True):
        chain = f"<think>\n{''.join(example.steps).strip()}\n</think>\n\n"
        answer = f"The final answer is \\boxed{{{example.answer}}}"
        whole = example.question + chain + answer
        assert text.ids == encode(tokenizer, whole)
        assert decode(tokenizer, text.ids[text.start : text.end]) == chain
        assert text.ids[text.start] == tokenizer.convert_tokens_to_ids("<think>")
        assert decode(tokenizer, direct) == example.question + answer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: Any) -> list[str]:
    """Two random models whose chat template lets them open a chain."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = make_tokenizer(MODEL_OPENS)
    for seed in (0, 1):
        make_random(tokenizer, seed).save_pretrained(root / str(seed))
        tokenizer.save_pretrained(root / str(seed))
    return [str(root / "0"), str(root / "1")]


@pytest.mark.parametrize(
    ("command", "base", "post", "reason"),
    [
        (["preexist"], "task", "think", "lacks think_open or think_close"),
        (["hybrid"], "task", "think", "lacks think_open or think_close"),
        (["routes"], "think", "chat", "lacks think_open or think_close"),
        (["features"], "think", "chat", "lacks think_open or think_close"),
        (["probe", "first_token"], "task", "chat", "asked in different ways"),
    ],
)  # fmt: skip
def test_commands_end_with_2_and_the_reason(
    command: list[str], base: str, post: str, reason: str, folders: list[str], tmp_path: Path
):
    options = ["--task", "sums/two", "--n", "10", "--out", str(tmp_path / "run")]
    formats = ["--base-format", base, "--post-format", post]
    done = CliRunner().invoke(app, [*command, *folders, *options, *formats])
    assert done.exit_code == 2 and reason in " ".join(done.output.split()), done.output
    assert "nan" not in done.output.lower()


def test_a_task_is_shown_as_it_was_asked(thinking: Outline):
    assert find_shared_format(TASK, thinking, thinking).task == present(TASK, thinking)
