"""Position classes, patching of whole classes across a pair, and SAE transfer."""

import copy
import dataclasses
import math
import warnings

import jaxtyping
import pytest
import torch

from interp.chains.chain import encode_layout
from interp.chains.position_classes import POSITION_CLASSES, find_position_classes
from interp.chains.trace_writing import gold_traces
from interp.engine import run
from interp.errors import NotMeasurableError
from interp.interventions import Intervention, replace
from interp.methods.patching import Donor, patch_spans
from interp.methods.patching.span_patching import JOINTLY
from interp.methods.saes.transfer import transfer_errors
from interp.models import ModelPair
from interp.results.summaries import summarise
from interp.sites import Site
from interp.tasks.registry import make_task
from probes import sae_transfer, statistics_of
from probes.cases import cases
from probes.cross_patching import CrossPatching
from probes.probe import Results
from probes.sae_transfer import SaeTransfer, transfer_items

ROUNDING = 1e-4
"""Of log-odds in float32, between a row alone and a row of a batch."""


@pytest.fixture(scope="module")
def task():
    return make_task("arith/fresh", n=3, seed=0)


@pytest.fixture(scope="module")
def gold(tiny, task):
    return gold_traces(tiny.tokenizer, task)


@pytest.fixture(scope="module")
def same_head(tiny, tiny_pair):
    """A pair that differs in its blocks alone: embedding, last norm and unembedding are shared."""
    hf = copy.deepcopy(tiny.hf)
    hf.model.layers.load_state_dict(tiny_pair.post.hf.model.layers.state_dict())
    return ModelPair(tiny, dataclasses.replace(tiny, name="post", hf=hf))


def find_classes(model, task, trace):
    layout = encode_layout(model.tokenizer, task.layout)
    numbers = tuple(tuple(model.tokenizer(str(n))["input_ids"]) for n in range(11))
    return find_position_classes(
        model.tokenizer, layout, task.rewriter, trace.prompt_ids, trace.steps, trace.answer_ids,
        numbers,
    )  # fmt: skip


def test_slots_by_words(tiny, task, gold):
    slots = find_classes(tiny, task, gold[0])
    words = tiny.tokenizer.convert_ids_to_tokens(list(slots.ids))
    by_slot = {name: [words[at] for at in places] for name, places in slots.positions.items()}
    steps = task.examples[0].steps
    assert set(by_slot) == set(POSITION_CLASSES)
    assert by_slot["question"] == task.examples[0].question.split()
    assert by_slot["last_question_token"] == ["?"]
    assert by_slot["think_open"] == ["<think>"]
    assert by_slot["step_operands"] == [word for step in steps for word in step.split()[:3]]
    assert by_slot["step_equals"] == ["="] * len(steps)
    assert by_slot["step_results"] == [step.split()[4] for step in steps]
    assert by_slot["answer_cue"] == ["</think>", "A"]
    named = tiny.tokenizer.convert_ids_to_tokens
    for readout, step in zip(slots.readouts["step"], steps, strict=True):
        assert words[readout.position] == "="
        assert named(readout.token) == step.split()[4]
        assert len(readout.against) == 10 and readout.token not in readout.against
    (mode,) = slots.readouts["mode"]
    assert (words[mode.position], named(mode.token), named(mode.against[0])) == (
        "?",
        "<think>",
        "A",
    )


def test_log_odds_are_those_of_probabilities(tiny, task, gold):
    slots = find_classes(tiny, task, gold[0])
    (logits,) = run(tiny, [slots.ids]).logits
    (readout,) = slots.readouts["answer"]
    p = logits[readout.position].softmax(-1)
    right, wrong = float(p[readout.token]), float(p[list(readout.against)].sum())
    assert float(slots.read("answer", logits)) == pytest.approx(math.log(right / wrong), abs=1e-4)


def test_spans_equal_a_loop_of_single_runs(tiny_pair, task, gold):
    base, post = tiny_pair.base, tiny_pair.post
    slots = find_classes(base, task, gold[1])
    spans = patch_spans(base, slots.ids, Donor(post, slots.ids), slots.positions)
    sites = [Site(layer, "resid_post") for layer in range(3)]
    donor = run(post, [slots.ids], capture=sites)
    for (slot, layer), logits in spans.patched.items():
        at = slots.positions[slot]
        chosen = sites if layer == JOINTLY else [sites[layer]]
        edits = [
            Intervention(s, replace, donor.captures[s][0][list(at)], positions=at) for s in chosen
        ]
        alone = run(base, [slots.ids], interventions=edits).logits[0]
        assert torch.allclose(logits, alone, atol=ROUNDING), (slot, layer)
    assert torch.allclose(spans.plain, run(base, [slots.ids]).logits[0], atol=ROUNDING)


def readers_of(pair):
    return {"base": pair.base, "post": pair.post}


def test_the_last_layer_whole_recovers_all_of_it_and_identity_none(same_head, task, gold):
    items = CrossPatching().run(readers_of(same_head), task, {"gold": gold}, seed=0)
    value = {
        (i.reader, i.example, i.condition, i.metric, i.position, i.layer): i.value for i in items
    }
    n_whole = 0
    for (reader, example, condition, metric, position, layer), moved in value.items():
        is_whole = (condition, position) == ("patched", "all") and layer in (2, None)
        if is_whole and metric.endswith("moved"):
            gap_key = (reader, example, condition, metric.replace("moved", "gap"), position, layer)
            gap = value[gap_key]
            assert moved == pytest.approx(gap, abs=ROUNDING) and gap > 0
            n_whole += 1
        if condition == "identity":
            assert moved == pytest.approx(0, abs=1e-5)
    assert n_whole == 2 * 3 * 3 * 2, "both readers, three texts, three readouts, layer 2 and all"
    assert {i.reader for i in items} == {"base", "post"}


def test_a_class_moves_nothing_before_it(same_head, task, gold):
    items = CrossPatching().run(readers_of(same_head), task, {"gold": gold}, seed=0)
    moved = {(i.position, i.metric) for i in items if i.metric.endswith("moved")}
    assert ("last_question_token", "mode_moved") in moved
    assert ("think_open", "mode_moved") not in moved
    assert ("answer_cue", "step_moved") not in moved
    slots = find_classes(same_head.base, task, gold[0])
    donor = Donor(same_head.post, slots.ids)
    spans = patch_spans(same_head.base, slots.ids, donor, slots.positions)
    before = slots.positions["think_open"][0]
    changed = spans.patched["think_open", JOINTLY]
    assert torch.allclose(changed[:before], spans.plain[:before], atol=ROUNDING)
    assert not torch.allclose(changed[before:], spans.plain[before:], atol=ROUNDING)


def test_a_control_donor_is_measured_on_the_scale_of_the_pair(same_head, tiny_copy, task, gold):
    control = str(tiny_copy(seed=5))
    items = CrossPatching(control=control).run(readers_of(same_head), task, {"gold": gold}, seed=0)
    gaps = {
        (i.condition, i.reader, i.example, i.position, i.layer): i.value
        for i in items
        if i.metric == "answer_gap"
    }
    for (_, *key), gap in gaps.items():
        assert gap == gaps["patched", *key] == gaps["control", *key]
    controls = [
        i.value
        for i in items
        if (i.condition, i.position, i.layer, i.metric) == ("control", "all", 2, "answer_moved")
    ]
    assert controls and all(math.isfinite(value) for value in controls)


def test_ratios_weigh_examples_by_their_gap(tiny):
    task = make_task("arith/fresh", n=60, seed=1)
    made = CrossPatching().run({"base": tiny}, task, {}, seed=0)
    assert {math.isnan(item.value) for item in made} == {True}
    one = dataclasses.replace(made[0], position="all", note="")
    items = []
    for at, example in enumerate(task.examples):
        here = dataclasses.replace(one, example=example.id, problem=example.problem)
        items.append(dataclasses.replace(here, metric="mode_moved", value=1.0 + at))
        items.append(dataclasses.replace(here, metric="mode_gap", value=4.0))
    rows = summarise(
        items, pair="x", chance={task.name: 0.1}, seed=0, **statistics_of(["cross_patching"])
    )
    (row,) = [row for row in rows if row.metric == "mode_recovered"]
    assert row.value == pytest.approx(sum(range(1, 61)) / (4.0 * 60))


def test_candidates_of_several_tokens_are_refused(tiny, task, gold):
    layout = encode_layout(tiny.tokenizer, task.layout)
    with pytest.raises(ValueError, match="one token each"):
        find_position_classes(
            tiny.tokenizer, layout, task.rewriter, gold[0].prompt_ids, gold[0].steps, (5,),
            ((5,), (6, 7)),
        )  # fmt: skip


class Axes:
    """A dictionary that knows some axes and nothing else."""

    def __init__(self, n: int) -> None:
        self.n = n

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, : self.n]

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        rest = torch.zeros(len(feature_acts), 32 - self.n)
        return torch.cat([feature_acts, rest], dim=1)


def test_transfer_errors_by_hand():
    base = torch.randn(50, 32)
    base[:, 20:] = 0
    post = base.clone()
    post[:, 3] += 2  # within the dictionary
    post[10:, 25] += 3  # outside of it
    found = transfer_errors(Axes(20), base, post)
    v = float((base - base.mean(0)).pow(2).sum(-1).mean())
    outside = torch.tensor([0.0] * 10 + [9 / v] * 40)
    assert torch.allclose(found.base, torch.zeros(50), atol=1e-6)
    assert torch.allclose(found.post, outside, atol=1e-5)
    assert torch.allclose(found.shift, outside + 4 / v, atol=1e-5)
    assert torch.allclose(found.shift_error, outside, atol=1e-5)
    with pytest.raises(ValueError, match="without variance"):
        transfer_errors(Axes(20), torch.ones(4, 32), torch.ones(4, 32))


def test_activations_of_other_positions_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="same positions"):
        transfer_errors(Axes(20), torch.randn(50, 32), torch.randn(49, 32))


def test_transfer_items_are_those_of_each_text_alone(tiny_pair, task, gold):
    readers = readers_of(tiny_pair)
    site = Site(1, "resid_post")
    ((_, _, _, readable),) = cases({"base": tiny_pair.base}, task, {"gold": gold}, seed=0)
    items = transfer_items(Axes(8), site, readers, task, readable)
    laid = [find_classes(tiny_pair.base, task, trace) for trace in gold]
    kept = {
        reader: [run(model, [s.ids], capture=[site]).captures[site][0] for s in laid]
        for reader, model in readers.items()
    }
    whole = torch.cat([x[1:] for x in kept["base"]])
    v = float((whole - whole.mean(0)).pow(2).sum(-1).mean())
    for at, (trace, slots) in enumerate(zip(gold, laid, strict=True)):
        for reader in readers:
            for slot, places in slots.positions.items():
                x = kept[reader][at][[p for p in places if p > 0]]
                (item,) = [
                    i
                    for i in items
                    if (i.example, i.reader, i.position, i.metric)
                    == (trace.example, reader, slot, "error")
                ]
                assert item.value == pytest.approx(float(x[:, 8:].pow(2).sum(-1).mean()) / v, 1e-4)


def test_an_answer_that_is_no_candidate_is_said_not_dropped(tiny_pair, task, gold):
    odd = dataclasses.replace(gold[0], answer="?", answer_ids=gold[0].prompt_ids[-1:])
    traces = {"base": [odd, gold[1]]}
    items = CrossPatching().run(readers_of(tiny_pair), task, traces, seed=0)
    missing = [item for item in items if math.isnan(item.value)]
    assert [(item.reader, item.example) for item in missing] == [
        ("base", odd.example),
        ("post", odd.example),
    ]
    assert {item.note for item in missing} == {"the writer's answer is none of the candidates"}
    ((_, _, _, readable),) = cases({"base": tiny_pair.base}, task, traces, seed=0)
    site = Site(1, "resid_post")
    items = transfer_items(Axes(8), site, readers_of(tiny_pair), task, readable)
    assert [item.example for item in items if math.isnan(item.value)] == [odd.example]


def test_one_reader_or_no_sae_is_said_not_measured(tiny, tiny_pair, task, gold):
    for probe in (CrossPatching(), SaeTransfer()):
        items = probe.run({"base": tiny}, task, {"gold": gold}, seed=0)
        assert items and all(math.isnan(item.value) and item.note for item in items)
    items = SaeTransfer().run(readers_of(tiny_pair), task, {"gold": gold}, seed=0)
    assert all(math.isnan(item.value) for item in items)
    assert all("none is bundled for" in item.note for item in items)
    with pytest.raises(ValueError, match="an SAE is a folder with") as error:
        SaeTransfer(sae="nowhere").run(readers_of(tiny_pair), task, {"gold": gold}, seed=0)
    assert not isinstance(error.value, NotMeasurableError), "a wrong folder is a mistake in a call"


def test_an_sae_of_sae_lens_is_read_from_its_folder(tiny_pair, task, gold, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import StandardSAE, StandardSAEConfig
        from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(hook_name="blocks.1.hook_resid_post", model_name="tiny")
    sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=48, metadata=metadata))
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(32, 48, generator=torch.Generator().manual_seed(0)))
    sae.save_model(str(tmp_path / "sae"))
    readers = readers_of(tiny_pair)
    items = SaeTransfer(sae=str(tmp_path / "sae")).run(readers, task, {"gold": gold}, seed=0)
    ((_, _, _, readable),) = cases({"base": tiny_pair.base}, task, {"gold": gold}, seed=0)
    site = Site(1, "resid_post")
    errors = [item for item in items if item.metric != "readable"]
    assert errors == transfer_items(sae, site, readers, task, readable)


def results_of(probe, readers, task, gold):
    """With twenty copies of each example, so that there are enough problems for intervals."""
    made = probe.run(readers, task, {"gold": gold}, seed=0)
    items = [
        dataclasses.replace(item, example=f"{item.example}/{k}", problem=f"{item.problem}/{k}")
        for item in made
        for k in range(20)
    ]
    statistics = statistics_of([probe.name])
    rows = summarise(items, pair="x", chance={task.name: 1 / 11}, seed=0, **statistics)
    return Results(tuple(rows), tuple(items), {}, (task.name,), "gold", 0)


def test_recovered_is_described_and_drawn_for_each_class(same_head, task, gold):
    probe = CrossPatching()
    results = results_of(probe, readers_of(same_head), task, gold)
    lines = probe.describe(results)
    (everywhere,) = [line for line in lines if "post into base, all positions" in line]
    assert all(f"{read} 1.00 [1.00, 1.00]" in everywhere for read in ("mode", "step", "answer"))
    assert len(lines) == 2 * len(POSITION_CLASSES)
    drawings = {drawing.name: drawing for drawing in probe.figures(results)}
    jointly = drawings["cross_patching_answer"].data
    assert {row.position for row in jointly} == set(POSITION_CLASSES)
    assert len(jointly) == 2 * len(POSITION_CLASSES) and all(row.is_whole for row in jointly)
    along = drawings["cross_patching_mode_layers"].data
    assert {row.layer for row in along} == {0, 1, 2} and {row.reader for row in along} == {"base"}


def test_the_error_of_an_sae_is_described_for_both_models(tiny_pair, task, gold):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sae_transfer, "load_sae", lambda _folder: Axes(0))
        patch.setattr(sae_transfer, "sae_site", lambda _sae: Site(1, "resid_post"))
        results = results_of(SaeTransfer(sae="any"), readers_of(tiny_pair), task, gold)
    lines = SaeTransfer().describe(results)
    assert len(lines) == len(POSITION_CLASSES)
    assert all(" base " in line and " post " in line and " post - base " in line for line in lines)
    (drawing,) = SaeTransfer().figures(results)
    assert {(row.reader, row.position) for row in drawing.data} == {
        (reader, position) for reader in ("base", "post") for position in POSITION_CLASSES
    }
