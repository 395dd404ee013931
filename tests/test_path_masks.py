"""Effects of attention masks on readers whose distributions are planted."""

import math

import pytest
import torch

from interp.chains.trace_writing import gold_traces
from interp.tasks import make_task
from probes.path_masks import PathMasks
from tests.planted_readers import measure

RIGHT, OTHER, UNSURE = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
LN2 = math.log(2)
HALF_WAY = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
"""Jensen-Shannon divergence of a certainty and an even choice."""


PATHS = ("full", "via_cot", "no_cot", "no_prompt", "sink_only")


def setting(monkeypatch, tiny, readers):
    """Task and traces for a reader with these distributions under each mask, a dict a problem."""

    def path_logprobs(_model, rows, *, n_sink, progress):
        del n_sink, progress
        assert len(rows) == len(readers)
        return [
            {path: torch.tensor(p).log() for path, p in distributions.items()}
            for distributions in readers
        ]

    monkeypatch.setattr("probes.path_masks.path_logprobs", path_logprobs)
    task = make_task("arith/fresh", n=len(readers), seed=0)
    return task, {"gold": gold_traces(tiny.tokenizer, task)}


def run(monkeypatch, tiny, distributions):
    """The metrics of one problem, its reader the same in every row."""
    items = PathMasks().run(
        {"base": tiny}, *setting(monkeypatch, tiny, [distributions] * 2), seed=0
    )
    first = items[0].example
    return {item.metric: (item.value, item.note) for item in items if item.example == first}


def find_share(rows):
    (row,) = (row for row in rows if row.metric == "cot_share")
    return row


def reader_of(via_cot, no_cot):
    """A reader, else all but certain, with these probabilities of the answer under two masks."""
    known = {"via_cot": via_cot, "no_cot": no_cot}
    # Not 1: KL against a distribution with a zero is infinite.
    p = {path: min(known.get(path, 1.0), 1 - 1e-6) for path in PATHS}
    return {path: ((p[path], 1 - p[path]),) for path in PATHS}


def js(p, q):
    """Jensen-Shannon divergence of two probabilities of one of two answers, by its definition."""
    total = 0.0
    for a, b in ((p, q), (1 - p, 1 - q)):
        for x in (a, b):
            total += 0.5 * x * math.log(x / ((a + b) / 2)) if x else 0.0
    return total


def test_a_reader_that_uses_the_chain_alone(monkeypatch, tiny):
    """Without the chain the first of two answer tokens becomes another, the second unsure."""
    both = (RIGHT, RIGHT)
    found = run(
        monkeypatch, tiny,
        {"full": both, "via_cot": both, "no_cot": (OTHER, UNSURE), "no_prompt": both,
         "sink_only": (OTHER, OTHER)},
    )  # fmt: skip
    values = {metric: value for metric, (value, _) in found.items()}
    assert values["direct_effect_js"] == values["direct_effect_kl"] == values["leakage_js"] == 0
    assert values["necessity_js"] == pytest.approx((LN2 + HALF_WAY) / 2)
    assert values["sink_control_js"] == pytest.approx(LN2)
    assert values["moved_js"] == values["necessity_js"]


def test_shares_of_two_paths_and_the_direction_of_kl(monkeypatch, tiny):
    """The prompt alone moves the answer to an even choice, as the chain alone does."""
    found = run(
        monkeypatch, tiny,
        {"full": (RIGHT,), "via_cot": (UNSURE,), "no_cot": (UNSURE,), "no_prompt": (OTHER,),
         "sink_only": (UNSURE,)},
    )  # fmt: skip
    assert found["moved_js"][0] == pytest.approx(2 * found["necessity_js"][0])
    assert found["direct_effect_kl"][0] == pytest.approx(LN2)  # KL(full || via_cot)


def test_a_reader_that_no_path_moves_has_no_share(monkeypatch, tiny):
    found = run(monkeypatch, tiny, dict.fromkeys(PATHS, (RIGHT,)))
    assert math.isnan(found["moved_js"][0])
    assert found["moved_js"][1] == "the masks move fewer than half of the answers"


def test_cot_share_is_a_ratio_of_sums_and_leaves_out_answers_that_hardly_move(monkeypatch, tiny):
    """40 problems hang on the chain, 20 on both paths, 20 move by noise that favours the prompt."""
    chain, both, noise = reader_of(1.0, 0.4), reader_of(0.5, 0.6), reader_of(0.995, 0.9999)
    readers = 40 * [chain] + 20 * [both] + 20 * [noise]
    rows, items = measure("path_masks", tiny, *setting(monkeypatch, tiny, readers))
    necessity = 40 * js(1, 0.4) + 20 * js(1, 0.6)
    direct = 20 * js(1, 0.5)
    row = find_share(rows)
    assert row.value == pytest.approx(necessity / (necessity + direct), rel=1e-3)
    assert row.low < row.value < row.high
    assert row.n_missing == 20
    notes = [i.note for i in items if i.metric == "moved_js" and math.isnan(i.value)]
    assert notes == 20 * ["the two masks together move the answer by less than 0.01 nats"]
    # A mean of shares would count the noise as much as the rest.
    share = js(1, 0.9999) / (js(1, 0.9999) + js(1, 0.995))
    mean = (40 * 1 + 20 * js(1, 0.6) / (js(1, 0.6) + js(1, 0.5)) + 20 * share) / 80
    assert row.value - mean > 0.1


@pytest.mark.parametrize(("n_moved", "has_share"), [(0, False), (79, False), (80, True)])
def test_a_reader_has_a_share_if_half_of_its_answers_move(monkeypatch, tiny, n_moved, has_share):
    """The few answers that move say nothing about the others."""
    readers = n_moved * [reader_of(1.0, 0.2)] + (160 - n_moved) * [reader_of(0.999, 0.999)]
    rows, _ = measure("path_masks", tiny, *setting(monkeypatch, tiny, readers))
    row = find_share(rows)
    assert math.isnan(row.value) is not has_share
    assert row.value == pytest.approx(1.0) if has_share else row.n_missing == 160


def test_a_bundled_model_that_answers_alike_under_every_mask_has_no_share():
    from probes.model_names import find_model

    model = find_model("grpo-vectors-no-chains:1")
    task = make_task("arith/fresh", n=60, seed=0)
    rows, _ = measure("path_masks", model, task, {"gold": gold_traces(model.tokenizer, task)})
    assert math.isnan(find_share(rows).value)
