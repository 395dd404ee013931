"""The 2 x 2 test: what an arm measures, and what is found in organisms of known truth."""

import json
import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from interp.chains.chain import encode_steps
from interp.chains.texts import encode
from interp.engine import generate, run
from interp.interventions import Intervention, add
from interp.methods.directions import Source, collect, make_direction, random_directions
from interp.models import load_model
from interp.organisms.zoo import organism_path
from interp.results.plots.steering_cells import CellDose, four_cells
from interp.sites import Site
from interp.tasks import make_task
from probes.pre_existence import (
    PreExistence,
    PreExistenceSettings,
    describe_record,
    examine,
)
from probes.pre_existence.arms import Arm, AskedModel
from probes.pre_existence.decodability import find_before_result, judge_decodable
from probes.pre_existence.directions import find_directions
from probes.pre_existence.examination import CHOOSING
from probes.pre_existence.steering_cells import SteeredModel, match_ablations, split_halves
from probes.pre_existence.verdict import estimate_rate
from probes.probe import Results

SITE = Site(1, "resid_post")
FAST = PreExistenceSettings(doses=(1.0,), layers=(2,), bound=0.2)


@pytest.fixture(scope="module")
def models():
    names = ("base", "grpo:1", "base:1", "base-no-chains:1", "grpo-no-chains:1")
    found = {}
    for name in names:
        organism, _, seed = name.partition(":")
        found[name] = load_model(organism_path(organism, int(seed or 0)))
    return found


@pytest.fixture(scope="module")
def asked(models):
    return AskedModel(models["base"], make_task("arith/fresh", n=5, seed=0), batch_size=64)


def planted(seed=0, reference=50.0):
    raw = torch.randn(128, generator=torch.Generator().manual_seed(seed))
    return make_direction(raw, SITE, Source("test"), reference_norm=reference)


# --- what an arm measures -----------------------------------------------------------------------


def test_an_arm_of_dose_0_is_the_unedited_model_exactly(asked):
    still, also = asked.measure([Arm(planted(), 0.0), Arm(planted(1), 0.0, "ablate")])
    moved = asked.measure([Arm(planted(), 2.0)])[0]
    assert set(still.kl) == {0.0} and moved.kl.min() > 1e-6
    assert np.array_equal(still.opens, also.opens) and np.array_equal(still.reasons, also.reasons)


def test_what_an_arm_reads_is_what_single_passes_read(asked):
    direction, dose = planted(), 0.7
    found = asked.measure([Arm(direction, 0.2), Arm(direction, dose)])[1]
    for at, question in enumerate(asked.questions):
        edit = Intervention(
            SITE, add, direction.vector * 50.0, dose, positions=(len(question) - 1,)
        )
        opened = question + asked.layout.think_open
        plain = run(asked.model, [question]).logits[0][-1].log_softmax(-1)
        logp = run(asked.model, [question], interventions=[edit]).logits[0][-1].log_softmax(-1)
        p = float(logp[asked.layout.think_open[0]].exp())
        assert found.opens[at] == pytest.approx(p, abs=1e-5)
        (text,) = generate(
            asked.model, [opened], max_new_tokens=60, stop=((2,),), interventions=[edit]
        )
        example = asked.task.examples[at]
        expected = f"{' '.join(example.steps)} </think> A {example.answer} <eos>"
        is_gold = text.ids == encode(asked.model.tokenizer, expected)
        assert found.reasons[at] == pytest.approx(p * is_gold, abs=1e-5)
        (own,) = generate(asked.model, [opened], max_new_tokens=60, stop=((2,),))
        row = [*opened, *own.ids][:-1]
        ends = [
            run(asked.model, [row], interventions=edits).logits[0][len(opened) - 1 :]
            for edits in ([], [edit])
        ]
        p, q = (logits.double().log_softmax(-1) for logits in ends)
        assert found.kl[at] == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), abs=1e-5)
        assert plain.shape == logp.shape


def test_many_arms_at_once_are_arms_one_by_one(asked):
    arms = [Arm(planted(n), 0.5, op) for n in (0, 1) for op in ("add", "ablate")]
    small = AskedModel(asked.model, asked.task, batch_size=3)
    for one, together in zip(arms, asked.measure(arms), strict=True):
        (alone,) = small.measure([one])
        for field in ("opens", "reasons", "kl"):
            assert np.allclose(getattr(alone, field), getattr(together, field), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{steps} </think> A {answer} <eos>", True),
        ("{steps} A {answer} <eos>", False),  # never closed
        ("</think> A {answer} <eos>", False),  # no chain
        ("{steps} </think> A {other} <eos>", False),  # another answer
        ("{wrong} </think> A {answer} <eos>", False),  # right by luck
        ("3 + 4 = 7 ; </think> A {answer} <eos>", False),  # true, and leads elsewhere
    ],
)
def test_right_reasoning_is_a_right_chain_and_its_answer(asked, monkeypatch, text, expected):
    example = next(e for e in asked.task.examples if len(e.steps) > 2 and e.answer != "7")
    other = str((int(example.answer) + 1) % 11)
    wrong = asked.task.rewriter.mistake(example, example.steps, 0, propagate=False, rng=Random(0))
    said = text.format(
        steps=" ".join(example.steps), wrong=" ".join(wrong), answer=example.answer, other=other
    )
    one = AskedModel(asked.model, replace(asked.task, examples=(example,)), batch_size=64)
    monkeypatch.setattr(one, "_write", lambda _: [encode(asked.model.tokenizer, said)])
    (outcome,) = one.measure([Arm(planted(), 0.0)])
    assert outcome.opens[0] > 0
    assert outcome.reasons[0] == (outcome.opens[0] if expected else 0)


def test_random_axes_are_projected_out_to_the_same_mean_edit(asked):
    direction = planted()
    arms = [Arm(direction, 1.0, "ablate")]
    arms += match_ablations(asked, direction, random_directions(direction, 3, seed=0))
    norms = []
    for arm in arms:
        edit = arm.edit((-1,), tuple(range(len(asked.questions))))
        receipts = run(asked.model, asked.questions, interventions=[edit]).receipts
        norms.append(np.mean([receipt.edit_norm for receipt in receipts]))
    assert norms == pytest.approx([norms[0]] * 4, rel=1e-4)


# --- directions ---------------------------------------------------------------------------------


def test_the_gradient_is_the_slope_of_the_log_odds(asked):
    pair = {"base": asked, "post": asked}
    found = find_directions(pair, (SITE,), "gradient")["base"][SITE]
    direction, token = found["base"], asked.layout.think_open[0]

    def odds(step):
        edit = Intervention(SITE, add, direction.vector, step, positions=(-1,))
        logits = run(asked.model, asked.questions, interventions=[edit]).last.double()
        p = logits.softmax(-1)[:, token]
        return float((p.log() - (1 - p).log()).mean())

    assert (odds(0.5) - odds(-0.5)) == pytest.approx(direction.length, rel=0.02)
    assert "pair" not in found  # a model does not differ from itself
    assert torch.equal(found["base"].vector, found["post"].vector)


def test_leaning_is_what_sampling_would_give(asked):
    found = find_directions({"base": asked, "post": asked}, (SITE,), "leaning")["base"][SITE]
    where = [(-1,)] * len(asked.questions)
    x = collect(asked.model, asked.questions, where, SITE).values.double()
    p = run(asked.model, asked.questions).logits
    p = torch.stack([row[-1].double().softmax(-1)[asked.layout.think_open[0]] for row in p])
    n = 40_000
    counts = torch.round(n * p)  # so many openings among n samples of each question
    opened = (counts[:, None] * x).sum(0) / counts.sum()
    closed = ((n - counts)[:, None] * x).sum(0) / (n - counts).sum()
    by_counts = (opened - closed) / (opened - closed).norm()
    assert float(by_counts @ found["base"].vector.double()) > 0.999


# --- decoding -----------------------------------------------------------------------------------


def test_the_place_before_a_result_is_found(asked):
    (step,) = encode_steps(asked.model.tokenizer, ["3 + 4 = 7 ;"])
    at = find_before_result(asked.model.tokenizer, step, "7")
    assert at is not None and asked.model.tokenizer.decode([step.ids[at]]) == "="
    assert find_before_result(asked.model.tokenizer, step, "9") is None
    assert find_before_result(asked.model.tokenizer, step, "3") is None  # nothing stands before it


# --- organisms ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(models):
    task = make_task("arith/fresh", n=40, seed=1)
    return {
        post: examine(models[base], models[post], task, FAST, seed=0)
        for base, post in (("base:1", "grpo:1"), ("base-no-chains:1", "grpo-no-chains:1"))
    }


def test_grpo_brought_out_what_its_base_could_do(found):
    one = found["grpo:1"]
    assert one.verdict in ("latent-usable", "expressed") and one.is_explained
    assert one.findings["usable"].answer == "yes"
    assert all(item.value == item.value or item.note == CHOOSING for item in one.items)


def test_in_a_base_without_chains_reasoning_is_absent(found):
    one = found["grpo-no-chains:1"]
    assert one.verdict == "absent" and not one.is_explained
    assert "nothing to explain" in "\n".join(describe_record(one.record()))
    raised = next(c for c in one.cells if (c.source, c.steered) == ("base", "base"))
    assert raised.outcome.opens.mean() > 1e3 * raised.unsteered.opens.mean()
    assert set(raised.outcome.reasons) == {0.0}  # it opens more, and reasons no more


def test_a_record_holds_what_was_declared_and_found(found):
    one = found["grpo:1"]
    saved = json.loads(json.dumps(one.record()))
    assert saved["declared"]["bound"] == 0.2 and saved["declared"]["n_test"] == 20
    assert saved["verdict"] == one.verdict and len(saved["findings"]) == 4
    assert {row["steered"] for row in saved["curves"]} == {"base", "post"}
    assert len(saved["cells"]) == len(one.cells)
    results = Results((), one.items, {one.task: saved}, (one.task,), "", 0)
    assert PreExistence().describe(results) == describe_record(one.record())
    (drawing,) = PreExistence().figures(results)
    assert list(drawing.data) == list(one.curves)


def test_items_are_rates_on_the_second_half_only(found, models):
    one = found["grpo:1"]
    task = make_task("arith/fresh", n=40, seed=1)
    first, second = ({e.id for e in half.examples} for half in split_halves(task))
    assert {item.example for item in one.items if item.note == CHOOSING} == first
    known = [item for item in one.items if item.value == item.value]
    assert {item.example for item in known} == second
    mine = [i.value for i in known if (i.source, i.reader, i.condition, i.metric)
            == ("base", "base", "up", "reasons")]  # fmt: skip
    assert all(i.writer == i.reader and (i.source == "") == (i.condition == "unsteered")
               for i in one.items)  # fmt: skip
    assert np.mean(mine) - one.unsteered["base"][0].value == pytest.approx(
        next(c for c in one.curves if (c.source, c.steered) == ("base", "base")).value
    )
    for item in (
        PreExistence().run({"base": models["base"]}, task, {}, seed=0)
        + PreExistence().run({"base": models["base"], "post": models["base"]},
                             make_task("sums", n=4, seed=0), {}, seed=0)
    ):  # fmt: skip
        assert math.isnan(item.value) and item.note


def test_too_few_problems_are_not_measurable_and_a_bug_is_not_hidden(models, monkeypatch):
    readers = {"base": models["base"], "post": models["grpo:1"]}
    few = PreExistence().run(readers, make_task("arith/fresh", n=3, seed=0), {}, seed=0)
    assert all(math.isnan(item.value) and "at least 4" in item.note for item in few)

    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("probes.pre_existence.examination.find_directions", broken)
    with pytest.raises(ValueError, match="a bug"):
        PreExistence().run(readers, make_task("arith/fresh", n=8, seed=0), {}, seed=0)


def test_results_that_too_few_problems_state_are_undecided_and_a_bug_is_not_hidden(
    asked, monkeypatch
):
    few = judge_decodable(asked, asked, [SITE], FAST, seed=0)
    assert few.answer == "undecided" and "needs at least" in few.control
    silent = replace(asked.task, examples=tuple(
        replace(example, steps=("so ;",)) for example in asked.task.examples
    ))  # fmt: skip
    assert AskedModel(asked.model, silent, batch_size=8).questions

    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("probes.pre_existence.decodability.fit_linear_probe", broken)
    with pytest.raises(ValueError, match="a bug"):
        judge_decodable(asked, asked, [SITE], FAST, seed=0)


def test_without_a_helpful_dose_the_model_is_left_as_it_is(asked):
    directions = {SITE: {"base": planted(), "token": planted(1)}}
    steered = SteeredModel("base", asked, asked, directions, replace(FAST, kl_budget=0.0), seed=0)
    one = steered.measure_cell("base", "up")
    assert one.dose == 0 and np.array_equal(one.outcome.opens, steered.unsteered.opens)
    assert estimate_rate(one.outcome.opens, ["p"] * 3 + ["q"] * 2, FAST).n == 2


def test_the_figure_draws_each_cell_once():
    row = CellDose("base", "post", "opens", -1.0, -0.5, -0.6, -0.4, -0.1, 0.0, True, 50)
    figure = four_cells([row, replace(row, steered="base", dose=1.0), replace(row, dose=-0.5)])
    assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="one row for each dose"):
        four_cells([row, row])
    with pytest.raises(ValueError, match="received none"):
        four_cells([])
