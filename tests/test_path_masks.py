"""Effects of attention masks on readers whose distributions are planted."""

import math

import pytest
import torch

from interp.chains.trace_writing import gold_traces
from interp.tasks import make_task
from probes.path_masks import PathMasks

RIGHT, OTHER, UNSURE = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
LN2 = math.log(2)
HALF_WAY = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
"""Jensen-Shannon divergence of a certainty and an even choice."""


def run(monkeypatch, tiny, distributions):
    """The metrics of a reader with these distributions under each mask, the same in every row."""

    def path_logprobs(_model, rows, *, n_sink, progress):
        del n_sink, progress
        logprobs = {path: torch.tensor(p).log() for path, p in distributions.items()}
        return [logprobs for _ in rows]

    monkeypatch.setattr("probes.path_masks.path_logprobs", path_logprobs)
    task = make_task("arith/fresh", n=2, seed=0)
    traces = {"gold": gold_traces(tiny.tokenizer, task)}
    items = PathMasks().run({"base": tiny}, task, traces, seed=0)
    first = task.examples[0].id
    return {item.metric: (item.value, item.note) for item in items if item.example == first}


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
    assert values["cot_share"] == 1.0


def test_shares_of_two_paths_and_the_direction_of_kl(monkeypatch, tiny):
    """The prompt alone moves the answer to an even choice, as the chain alone does."""
    found = run(
        monkeypatch, tiny,
        {"full": (RIGHT,), "via_cot": (UNSURE,), "no_cot": (UNSURE,), "no_prompt": (OTHER,),
         "sink_only": (UNSURE,)},
    )  # fmt: skip
    assert found["cot_share"][0] == pytest.approx(0.5)
    assert found["direct_effect_kl"][0] == pytest.approx(LN2)  # KL(full || via_cot)


def test_a_reader_that_no_path_moves_has_no_share(monkeypatch, tiny):
    paths = ("full", "via_cot", "no_cot", "no_prompt", "sink_only")
    found = run(monkeypatch, tiny, dict.fromkeys(paths, (RIGHT,)))
    assert math.isnan(found["cot_share"][0])
    assert found["cot_share"][1] == "neither path moves the answer"
