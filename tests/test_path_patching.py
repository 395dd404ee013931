"""Path patching against a hook on every head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patch_loops import (
    CLEAN,
    CORRUPTED,
    EXACT,
    Change,
    look,
    plain,
    put,
)
from torch import Tensor

from interp.engine import sweep
from interp.methods.patching import Donor, Receiver, path_patch


def slow_path(
    model: Any,
    senders: list[tuple[int, int]],
    receivers: list[Receiver],
    positions: list[int],
    frozen: bool,
) -> Tensor:
    """Path patching with a hook on every head, by hand."""
    width, n_layers = model.d_head, model.n_layers
    streams = ("z", "mlp_out") if frozen else ("z",)
    keys = [(layer, stream) for layer in range(n_layers) for stream in streams]
    own, given = look(model, CORRUPTED, *keys), look(model, CLEAN, *keys)
    changes: dict[tuple[int, str], Change] = {}
    for layer, stream in keys:
        value = own[layer, stream].clone()
        for at, head in senders:
            if (at, "z") == (layer, stream):
                columns = slice(head * width, (head + 1) * width)
                value[positions, columns] = given[layer, "z"][positions, columns]
        changes[layer, stream] = put(value, slice(None))
    seen: dict[tuple[int, str], Tensor] = {}
    for one in receivers:
        key = (one.layer, one.stream)
        changes[key] = lambda x, key=key: seen.update({key: x.clone()})
    logits = plain(model, CORRUPTED, changes)
    if not receivers:
        return logits
    second: dict[tuple[int, str], Change] = {}
    for one in receivers:
        columns = slice(one.head * width, (one.head + 1) * width)
        second[one.layer, one.stream] = put(
            seen[one.layer, one.stream], list(one.positions or range(len(CLEAN))), columns
        )
    return plain(model, CORRUPTED, second)


RECEIVERS = {
    "logits": [],
    "queries": [Receiver(2, "q", 3)],
    "values at the end": [Receiver(2, "v", 1, (-1, 5)), Receiver(1, "q", 0)],
}


@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
@pytest.mark.parametrize("to", RECEIVERS)
@pytest.mark.parametrize("positions", [None, (2, -1)])
def test_paths_equal_hooks_by_hand(tiny: Any, mlps: Any, to: str, positions: Any):
    receivers = RECEIVERS[to]
    groups = [[(0, 1)], [(0, 2), (0, 3)], [(0, 0), (1, 1), (1, 3)]]
    found = path_patch(
        tiny, CORRUPTED, Donor(tiny, CLEAN), groups, receivers=receivers, positions=positions,
        mlps=mlps, token_budget=20,
    )  # fmt: skip
    listed = [at % len(CLEAN) for at in positions or range(len(CLEAN))]
    for group, logits in zip(groups, found.logits, strict=True):
        expected = slow_path(tiny, group, receivers, listed, mlps == "frozen")
        assert torch.allclose(logits, expected, atol=EXACT)
    difference = found.logits - plain(tiny, CORRUPTED, {})
    assert difference.abs().amax(-1).min() > 1e-4
    assert {receipt.row for receipt in found.receipts} == {0, 1, 2}


def test_all_heads_of_the_donor_at_the_last_layer_are_all_there_is(tiny: Any):
    """In the last layer a direct path is the whole effect: same as patching those heads."""
    group = [(2, 0), (2, 3)]
    found = path_patch(tiny, CORRUPTED, Donor(tiny, CLEAN), [group]).logits[0]
    z = look(tiny, CLEAN, (2, "z"))[2, "z"]
    columns = [*range(8), *range(24, 32)]
    everywhere = list(range(len(CLEAN)))
    index = torch.tensor(everywhere)[:, None], torch.tensor(columns)
    assert torch.allclose(found, plain(tiny, CORRUPTED, {(2, "z"): put(z, *index)}), atol=EXACT)


def test_groups_share_what_is_frozen(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Each further group keeps the z of its own senders in memory, and nothing else."""
    from interp.methods.patching import path_patching

    sizes: list[int] = []

    def weigh(model: Any, ids: Any, cells: Any, **settings: Any) -> Any:
        storages = [edit.vector.untyped_storage() for cell in cells for edit in cell]
        sizes.append(sum({one.data_ptr(): one.nbytes() for one in storages}.values()))
        return sweep(model, ids, cells, **settings)

    monkeypatch.setattr(path_patching, "sweep", weigh)
    donor, groups = Donor(tiny, CLEAN), [[(0, head)] for head in range(4)]
    for n_groups in (1, 4):
        path_patch(tiny, CORRUPTED, donor, groups[:n_groups], mlps="frozen")
    _, one, _, four = sizes
    assert four - one == 3 * len(CLEAN) * tiny.d_head * 4


def test_a_path_from_the_run_itself_leads_nowhere(tiny: Any):
    found = path_patch(tiny, CLEAN, Donor(tiny, CLEAN), [[(0, 1)]], receivers=[Receiver(2, "k", 1)])
    assert torch.allclose(found.logits[0], plain(tiny, CLEAN, {}), atol=EXACT)
