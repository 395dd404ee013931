"""Patching and hooks against TransformerLens: the same cells, the same edits, two ways to them.

- *grid*: `patch_grid` over all layers and positions of `resid_pre`, against full passes with every
  cell as a row of a batch, and against `transformer_lens.patching`, which reads the text once per
  cell. Bars and exactness refer to the metric of every cell.
- *hooks*: one pass that edits the residual stream at one layer and reads it at all, against
  TransformerBridge with the same hooks.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from contextlib import redirect_stderr
from dataclasses import replace as change
from typing import Any

import torch
from torch import Tensor

from interp.engine import run
from interp.interventions import Intervention, add, replace
from interp.methods.patching import Donor, LogitDiff, patch_grid
from interp.models import Model
from interp.sites import Site
from tests.benchmarks.sizes import Size, random_ids
from tests.benchmarks.timing import Ratio, compare, rounds_of_seconds

N_NAIVE_TOKENS = 2048
"""Tokens of a pass of the naive grid; on a CPU it is faster with 2048 than with 4096."""


def hooked_transformer(model: Model) -> Any:
    """The same weights in HookedTransformer, unprocessed."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="lens") as folder:
        warnings.simplefilter("ignore")
        from transformer_lens import HookedTransformer, loading

        config = copy.deepcopy(model.hf.config)
        config.architectures = [type(model.hf).__name__]
        config.save_pretrained(folder)
        cfg = loading.get_pretrained_model_config(
            folder, device=str(model.device), dtype=model.dtype, fold_ln=False
        )
        cfg.tokenizer_name = None  # token ids only
        weights = loading.get_pretrained_state_dict(folder, cfg, model.hf, dtype=model.dtype)
        with torch.device(model.device):
            found = HookedTransformer(cfg, None, move_to_device=False)
        found.load_and_process_state_dict(
            weights, fold_ln=False, center_writing_weights=False, center_unembed=False,
            fold_value_biases=False,
        )  # fmt: skip
    return found.to(model.device, print_details=False).eval()


def bridge(model: Model) -> Any:
    """The same weights in a TransformerBridge, which changes the module it is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge.sources._bridge_builder import (
            build_bridge_from_module,
        )

        return build_bridge_from_module(
            copy.deepcopy(model.hf), architecture="LlamaForCausalLM", hf_config=model.hf.config,
            tokenizer=None, device=str(model.device), dtype=model.dtype,
        )  # fmt: skip


@torch.no_grad()
def bench_grid(model: Model, size: Size) -> list[Ratio]:
    """Denoising `resid_pre` at every layer and position, three ways."""
    clean, corrupted = random_ids(size, 2, size.n_grid).tolist()
    metric = LogitDiff(right=3, wrong=5)
    sites = [Site(layer, "resid_pre") for layer in range(model.n_layers)]
    stored = run(model, [clean], capture=sites, logits_at="last").captures
    lens = hooked_transformer(model)

    def ours() -> Tensor:
        return patch_grid(model, corrupted, Donor(model, clean), metric).values[0]

    def naive() -> Tensor:
        edits = [
            Intervention(site, replace, stored[site][0][at], positions=(at,))
            for site in sites
            for at in range(len(clean))
        ]
        values: list[Tensor] = []
        n_rows = max(1, N_NAIVE_TOKENS // len(clean))
        for first in range(0, len(edits), n_rows):
            batch = edits[first : first + n_rows]
            found = run(
                model, [corrupted] * len(batch), logits_at="last",
                interventions=[change(edit, rows=(row,)) for row, edit in enumerate(batch)],
            )  # fmt: skip
            values.append(metric(found.last))
        return torch.cat(values).reshape(len(sites), -1).cpu()

    def theirs() -> Tensor:
        from transformer_lens import patching

        with redirect_stderr(io.StringIO()):
            _, cache = lens.run_with_cache(torch.tensor([clean], device=model.device))
            return patching.get_act_patch_resid_pre(
                lens, torch.tensor([corrupted], device=model.device), cache,
                lambda logits: metric(logits[:, -1].float())[0],
            ).cpu()  # fmt: skip

    found = ours()
    differences = [float((found - other()).abs().max()) for other in (naive, theirs)]
    seconds = rounds_of_seconds([ours, naive, theirs], size.n_rounds, model.device)
    cells = f"{model.n_layers} layers x {size.n_grid} positions"
    return [
        compare(
            f"patching grid ({cells}): times faster than {name}",
            seconds[0], seconds[place], bar, differences[place - 1], size.tolerance,
        )
        for place, name, bar in (
            (1, "full passes, cells batched", 2.8),
            (2, "transformer_lens.patching", 8.0),
        )
    ]  # fmt: skip


@torch.no_grad()
def bench_hooks(model: Model, size: Size) -> Ratio:
    """One edit and a reading at every layer, against TransformerBridge."""
    ids = random_ids(size, *size.capture_shape)
    rows, on_device = ids.tolist(), ids.to(model.device)
    sites = [Site(layer, "resid_post") for layer in range(model.n_layers)]
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(2))
    push = vector.to(model.device, model.dtype)
    wrapped = bridge(model)

    def ours() -> Tensor:
        edit = Intervention(sites[0], add, vector)
        found = run(model, rows, interventions=[edit], capture=sites)
        return torch.stack(found.captures[sites[-1]])

    def theirs() -> Tensor:
        store: dict[str, Tensor] = {}

        def keep(activation: Tensor, hook: Any) -> None:
            store[hook.name] = activation.clone()

        def steer(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            return activation + push

        hooks = [(str(sites[0]), steer), *((str(site), keep) for site in sites)]
        wrapped.run_with_hooks(on_device, fwd_hooks=hooks)
        return list(store.values())[-1]

    expected, found = theirs(), ours()
    difference = float((found - expected).abs().max() / expected.abs().max())
    mine, other = rounds_of_seconds([ours, theirs], size.n_rounds, model.device)
    return compare(
        "steered pass read at all layers: times faster than TransformerBridge hooks",
        mine, other, 1.0, difference, size.tolerance,
    )  # fmt: skip
