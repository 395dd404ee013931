"""The engine against plain Hugging Face calls: branches, capture, generation.

- *branches*: an early-answering curve over a long text, against one forward pass per prefix (each
  forming logits only where they are needed), and against a single plain pass of the text.
- *capture*: `run` with `resid_post` of every layer, against a plain forward pass.
- *generation*: `generate` with a steering vector on every token, against unsteered `hf.generate`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp.engine import Branch, Generation, generate, run, score_branches
from interp.interventions import Intervention, add
from interp.models import Model, hooked
from interp.sites import Site
from tests.benchmarks.sizes import Size, random_ids
from tests.benchmarks.timing import Ratio, compare, rounds_of_seconds


@torch.no_grad()
def bench_branches(model: Model, size: Size) -> list[Ratio]:
    """An early-answering curve, against separate passes and against one pass of the text."""
    text = random_ids(size, size.n_text).tolist()
    cuts = [(place + 1) * size.n_text // size.n_cuts for place in range(size.n_cuts)]
    # Other tokens after every cut, so that no two branches are the same work.
    suffixes = random_ids(size, size.n_cuts, size.n_suffix).tolist()
    branches = [Branch(cut, tuple(suffix)) for cut, suffix in zip(cuts, suffixes, strict=True)]

    def together() -> Tensor:
        scores = score_branches(model, [text], [branches])[0]
        return torch.stack([score.logprobs for score in scores])

    def one_by_one() -> Tensor:
        found: list[Tensor] = []
        for cut, suffix in zip(cuts, suffixes, strict=True):
            ids = torch.tensor([text[:cut] + suffix], device=model.device)
            logits = model.hf(ids, use_cache=False, logits_to_keep=size.n_suffix + 1).logits[0, :-1]
            logprobs = logits.float().log_softmax(-1)
            found.append(logprobs.gather(1, ids[0, cut:, None])[:, 0].cpu())
        return torch.stack(found)

    def plain() -> Tensor:
        return model.hf(torch.tensor([text], device=model.device), use_cache=False).logits

    difference = float((together() - one_by_one()).abs().max())
    ours, separate, single = rounds_of_seconds(
        [together, one_by_one, plain], size.n_rounds, model.device
    )
    shape = f"{size.n_text} tokens, {size.n_cuts} cuts"
    return [
        compare(
            f"branches ({shape}): times faster than one pass per prefix",
            ours, separate, 10.0, difference, size.tolerance,
        ),
        compare(
            f"branches ({shape}): times the cost of one plain pass",
            ours, single, 1.4, difference, size.tolerance, is_cost=True,
        ),
    ]  # fmt: skip


@torch.no_grad()
def bench_capture(model: Model, size: Size) -> Ratio:
    """Reading the residual stream after every block, against a plain pass."""
    ids = random_ids(size, *size.capture_shape)
    sites = [Site(layer, "resid_post") for layer in range(model.n_layers)]
    rows, on_device = ids.tolist(), ids.to(model.device)

    def ours() -> Any:
        return run(model, rows, capture=sites)

    def plain() -> Any:
        return model.hf(on_device, use_cache=False)

    states = model.hf(on_device, output_hidden_states=True, use_cache=False).hidden_states
    found = ours().captures
    # The last hidden state of Hugging Face is already normed, so it has no counterpart here.
    pairs = [(torch.stack(found[site]), state) for site, state in zip(sites, states[1:-1])]  # noqa: B905
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    mine, other = rounds_of_seconds([ours, plain], 4 * size.n_rounds, model.device)
    return compare(
        "capture of resid_post at all layers: times the cost of a plain pass",
        mine, other, 1.1, difference, size.tolerance, is_cost=True,
    )  # fmt: skip


@torch.no_grad()
def bench_generation(model: Model, size: Size) -> Ratio:
    """Steered writing, against plain `hf.generate`; checked against it with a hand-placed edit."""
    n_rows, n_prompt, n_new = size.generation_shape
    ids = random_ids(size, n_rows, n_prompt)
    rows, on_device = ids.tolist(), ids.to(model.device)
    site = Site(model.n_layers // 2, "resid_post")
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(2)) * 0.1
    steer = Intervention(site, add, vector)

    def ours() -> list[Generation]:
        return generate(model, rows, max_new_tokens=n_new, interventions=[steer])

    def plain() -> Tensor:
        return model.hf.generate(
            on_device,
            attention_mask=torch.ones_like(on_device),
            max_new_tokens=n_new,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[:, n_prompt:]

    push = vector.to(model.device)
    with hooked(model, [(site, lambda activation: (activation.float() + push).to(model.dtype))]):
        expected = plain().cpu()
    found = torch.tensor([generation.ids for generation in ours()])
    mine, other = rounds_of_seconds([ours, plain], size.n_rounds, model.device)
    return compare(
        "steered generation: tokens per second over plain hf.generate",
        mine, other, 0.95, float((found != expected).float().mean()), size.tolerance,
    )  # fmt: skip
