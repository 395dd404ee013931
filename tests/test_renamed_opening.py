"""The same weights with another literal that opens a chain read the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from interp.chains.trace_writing import think_probability, write_traces
from interp.models import Model, PromptFormat, make_model
from interp.tasks import make_task
from probes.audit.plan import AuditSettings
from probes.audit.run import audit
from probes.model_names import find_model
from probes.pre_existence.examination import examine
from probes.pre_existence.settings import PreExistenceSettings

OTHER = "z"
TASK = make_task("arith/fresh", n=16, seed=3)


@pytest.fixture(scope="module")
def base() -> Model:
    return find_model("base:1")


@pytest.fixture(scope="module")
def plain() -> Model:
    return find_model("chain-sft-fresh:1")


@pytest.fixture(scope="module")
def renamed(plain: Model) -> Model:
    """Its word for <think> and another word have changed places."""
    hf, words = copy.deepcopy(plain.hf), plain.tokenizer.get_vocab()
    places = [words["<think>"], words[OTHER]]
    tables: Any = (hf.get_input_embeddings().weight, hf.get_output_embeddings().weight)
    with torch.no_grad():
        for table in {id(one): one for one in tables}.values():
            table[places] = table[places[::-1]].clone()
    made = make_model(hf, plain.tokenizer, name="renamed")
    return replace(made, prompt_format=PromptFormat(think_open=OTHER))


def test_free_texts_are_read_in_the_models_own_tags(plain: Model, renamed: Model):
    own, other = (write_traces(model, TASK, mode="free") for model in (plain, renamed))
    assert all(trace.correct and trace.status == "valid" for trace in other)
    assert [t.answer for t in own] == [t.answer for t in other]
    assert think_probability(renamed, TASK) == pytest.approx(think_probability(plain, TASK))
    unaware = replace(renamed, prompt_format=PromptFormat())
    assert not any(t.status == "valid" for t in write_traces(unaware, TASK, mode="free"))


def test_the_two_by_two_test_says_the_same_of_both(base: Model, plain: Model, renamed: Model):
    settings = PreExistenceSettings(doses=(1.0,), layers=(2,), alpha=0.25, n_random=3)
    one, other = (examine(base, post, TASK, settings, seed=0) for post in (plain, renamed))
    assert one.verdict == other.verdict != "absent"
    for name in ("base", "post"):
        for a, b in zip(one.unsteered[name], other.unsteered[name], strict=True):
            assert a.value == pytest.approx(b.value, abs=1e-4)
    right, opens, once = one.unsteered["base"]
    assert once.value == 1.0 and right.value == pytest.approx(opens.value)


def test_the_audit_reads_both_alike(base: Model, plain: Model, renamed: Model, tmp_path: Any):
    settings = AuditSettings(tasks=(TASK,), probes=("accuracy", "corruption"))
    plain_rows, rows = (
        audit({"base": base, "post": post}, settings, tmp_path / name).rows
        for name, post in (("plain", plain), ("renamed", renamed))
    )
    for a, b in zip(plain_rows, rows, strict=True):
        assert (a.condition, a.metric, a.reader, a.writer) == (
            b.condition, b.metric, b.reader, b.writer
        )  # fmt: skip
        assert a.value == pytest.approx(b.value, abs=1e-4, nan_ok=True)
