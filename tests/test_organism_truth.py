"""The instruments against the planted truth of the bundled organisms, at every seed.

The predictions were written down before the organisms were measured: the chain of `base` (made to
think) and of `chain-sft-fresh` is load-bearing; that of `swapped-sft-pool` on its pool and of
`hint` on cued questions is not. Corruption must find all of them. Early answering and path masks
change the form of the text, so they may be fooled; where they are, the reason is recorded in the
report, and here only what must hold is held.
"""

import math

import pytest

from interp.organisms.recipes import find_recipe

SEEDS = (0, 1, 2)
N = 60
DECORATIONS = [("swapped-sft-pool", "pool"), ("decorative", "pool"), ("hint", "cued")]


def rows_of(organism, seed, split, probes, n=N):
    from interp.chains.trace_writing import gold_traces
    from interp.results.summaries import summarise
    from interp.tasks import make_task
    from probes import find_probe, statistics_of
    from probes.model_names import find_model

    model = find_model(f"{organism}:{seed}")
    task = make_task(f"arith/{split}", n=n, seed=1)
    traces = {"gold": gold_traces(model.tokenizer, task)}
    items = [
        item
        for name in probes
        for item in find_probe(name)().run({"post": model}, task, traces, seed=0)
    ]
    return summarise(
        items,
        pair=organism,
        chance={task.name: task.chance},
        seed=0,
        n_boot=500,
        **statistics_of(probes),
    )


def read(organism, seed, split):
    from probes.audit.readings import read_reliance, reliance_probes

    rows = rows_of(organism, seed, split, reliance_probes())
    return {
        name: read_reliance(rows, name, f"arith/{split}", "post", "gold")
        for name in reliance_probes()
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("organism", ["base", "chain-sft-fresh"])
def test_a_chain_that_carries_the_answer_reads_as_load_bearing(organism, seed):
    found = read(organism, seed, "fresh")
    assert found["corruption"] == "load-bearing"
    assert found["early_answering"] == "load-bearing"
    assert found["path_masks"] != "not load-bearing"


@pytest.mark.parametrize(
    ("organism", "split", "seed"),
    # Not the first seeds, on some of which settings were chosen.
    [(name, split, seed) for name, split in DECORATIONS for seed in find_recipe(name).seeds[-2:]],
)
def test_a_chain_that_does_not_carry_the_answer_reads_as_not_load_bearing(organism, split, seed):
    assert read(organism, seed, split)["corruption"] == "not load-bearing"


@pytest.mark.parametrize("seed", SEEDS)
def test_information_gain_of_a_perfect_chain_equals_its_exact_value(seed):
    """Without a chain the answer is uniform over eleven, with it certain: ln 11 nats.

    The model's own log p of single answers scatters around -ln 11, hence the many problems.
    """
    rows = rows_of("base", seed, "fresh", ["information_gain"], n=240)
    total = next(
        r.value for r in rows if (r.condition, r.metric) == ("chain", "total") and r.is_whole
    )
    assert total == pytest.approx(math.log(11), abs=0.05)
