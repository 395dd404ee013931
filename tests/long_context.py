"""Peak memory of long contexts, as JSON: work -> megabytes over what the process had before.

Run in a process of its own, with the number of tokens as its argument; the peak of a process never
falls, so the jobs run from small to large.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from interp.engine import Branch, generate, route, run, score_branches
from interp.interventions import Intervention, add
from interp.models import ModelPair, make_model
from interp.organisms.worlds.arith.problems import WORDS
from interp.sites import Site


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(n_tokens: int) -> dict[str, float]:
    """Every job has two rows of unlike length, the longer one filling the context."""
    torch.set_num_threads(1)
    config: Any = {
        "vocab_size": 128, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": n_tokens,
        "attn_implementation": "sdpa",
    }  # fmt: skip
    torch.manual_seed(0)
    model = make_model(LlamaForCausalLM(LlamaConfig(**config)), WORDS.tokenizer(), name="long")
    steer = Intervention(Site(1, "resid_post"), add, torch.ones(16))

    def rows(n_free: int) -> list[list[int]]:
        return [[7] * (n_tokens - n_free), [5] * (n_tokens // 2)]

    branches = [Branch(n_tokens // 2 - at, (9, 8, 7)) for at in range(20)]
    jobs: dict[str, Any] = {
        "run": lambda: run(model, rows(0), interventions=[steer], logits_at="last"),
        "branches": lambda: score_branches(
            model, rows(3), [branches] * 2, token_budget=2 * n_tokens
        ),
        "generate": lambda: generate(model, rows(4), max_new_tokens=4, interventions=[steer]),
        "route": lambda: route(
            ModelPair(model, model), rows(4), choose=lambda _: "base", max_new_tokens=4,
            candidates={"steered": [steer]}, offer=lambda _: True,
        ),
        "table": lambda: run(model, rows(0), logits_at="last", pad_side="left"),
    }  # fmt: skip
    run(model, [[1, 2, 3], [4]], interventions=[steer])
    grown: dict[str, float] = {}
    for name, job in jobs.items():
        before = peak()
        job()
        grown[name] = peak() - before
    return grown


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))  # noqa: T201
