"""Patching one pass at a time with plain PyTorch hooks: the reference that patching is held to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from interp.methods.patching import GridLayout, LogitDiff

EXACT = 2e-5
"""Logit differences of the tiny model go up to about 20; float32 sums in another order."""

CLEAN = [1, 6, 17, 30, 18, 10, 27, 4, 19]
CORRUPTED = [1, 6, 23, 30, 18, 12, 27, 4, 19]
UNRELATED = [9, 8, 7, 33, 40, 41, 12, 13, 14]
METRIC = LogitDiff(right=18, wrong=30)
PER_HEAD = GridLayout(streams=("z",), by="head")

MODULES: dict[str, tuple[str, str]] = {
    "resid_pre": ("", "in"),
    "z": (".self_attn.o_proj", "in"),
    "v": (".self_attn.v_proj", "out"),
    "q": (".self_attn.q_proj", "out"),
    "attn_out": (".self_attn", "out"),
    "mlp_out": (".mlp", "out"),
    "resid_post": ("", "out"),
}
"""Where a Llama has each stream, written down anew."""

Change = Callable[[Tensor], None]
"""Writes into an activation [pos, width]."""


def plain(model: Any, ids: list[int], changes: dict[tuple[int, str], Change]) -> Tensor:
    """Last logits of a pass with hooks that write into activations, or just look at them."""

    def hook_for(change: Change, side: str) -> Any:
        def hook(_module: Any, args: Any, output: Any = None) -> Any:
            found = args if side == "in" else output
            whole = isinstance(found, Tensor)
            copy = (found if whole else found[0]).clone()
            change(copy[0])
            return copy if whole else (copy, *found[1:])

        return hook

    with ExitStack() as stack, torch.no_grad():
        for (layer, stream), change in changes.items():
            suffix, side = MODULES[stream]
            module = model.hf.get_submodule(f"model.layers.{layer}{suffix}")
            add = module.register_forward_pre_hook if side == "in" else module.register_forward_hook
            stack.callback(add(hook_for(change, side)).remove)
        return model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]


def look(model: Any, ids: list[int], *keys: tuple[int, str]) -> dict[tuple[int, str], Tensor]:
    found: dict[tuple[int, str], Tensor] = {}

    def keep(key: tuple[int, str]) -> Change:
        return lambda x: found.update({key: x.clone()})

    plain(model, ids, {key: keep(key) for key in keys})
    return found


def put(values: Tensor, *index: Any) -> Change:
    def change(x: Tensor) -> None:
        x[index] = values[index]

    return change


def slow_grid(
    model: Any, ids: list[int], source: Any, donor_ids: list[int], layout: GridLayout
) -> Any:
    """Metric of every cell, one pass each; heads are columns of the flat activation."""
    rows = []
    for stream in layout.streams:
        for layer in range(model.n_layers):
            values = look(source, donor_ids, (layer, stream))[layer, stream]
            indices: list[Any] = [(at,) for at in range(len(ids))]
            if layout.by == "head":
                n_heads = values.shape[-1] // model.d_head
                columns = [slice(h * model.d_head, (h + 1) * model.d_head) for h in range(n_heads)]
                at = list(layout.positions or range(len(ids)))
                indices = [(at, column) for column in columns]
            rows.append(
                [plain(model, ids, {(layer, stream): put(values, *index)}) for index in indices]
            )
    logits = torch.stack([torch.stack(row) for row in rows])
    return METRIC(logits.flatten(0, 1)).reshape(len(layout.streams), model.n_layers, -1)
