"""Models spread over devices: modules kept on the disk until used, and devices that are pretended.

A machine with one device can run neither of two devices, so parts of the model are kept on the disk
(the hooks of accelerate are those of several devices), and activations are told apart by hand.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save_tiny
from torch import Tensor

import interp.models.loading as loading_module
from interp.engine import Branch, generate, run, score_branches, sweep
from interp.interventions import Intervention, add
from interp.models import Model, ModelPair, hooked, load_model
from interp.models.checks import all_sites
from interp.models.hooks import recorded_blocks
from interp.models.identity import describe_model
from interp.sites import Site
from probes.model_names import find_model

pytest.importorskip("accelerate", reason="spreading a model needs the extra train")

IDS = [1, 6, 17, 30, 18, 10]
ON_DISK = {
    "model.embed_tokens": "cpu",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.norm": "cpu",
    "lm_head": "disk",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("spread") / "whole")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Model:
    return load_model(folder)


@pytest.fixture(scope="module")
def spread(folder: Path) -> Model:
    return load_model(folder, device_map=ON_DISK)


def test_its_notes_say_where_it_is_and_what_was_not_checked(spread: Model, whole: Model):
    # 9 tensors in a block, and the unembedding.
    assert sum(weight.is_meta for weight in spread.hf.parameters()) == 2 * 9 + 1
    assert spread.device == torch.device("cpu") and not whole.notes
    assert spread.notes == (
        "placed by device_map; modules of the map on each device: cpu (4), disk (3)",
        "19 weights are kept outside the device until they are used, so they were not searched "
        "for NaN one by one; the other checks of a model ran",
    )
    assert describe_model(spread)["notes"].startswith("placed by device_map")
    assert ModelPair(whole, spread).notes == ()


def test_sites_are_read_and_edited_as_in_the_whole_model(spread: Model, whole: Model):
    sites = all_sites(whole)
    ours, theirs = (run(m, [IDS, IDS[:3]], capture=sites) for m in (spread, whole))
    for site in sites:
        for found, expected in zip(ours.captures[site], theirs.captures[site], strict=True):
            assert torch.equal(found, expected), str(site)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(1))
    for stream in ("resid_pre", "resid_mid", "attn_out", "resid_post"):
        edit = [Intervention(Site(1, stream), add, vector)]
        found, expected = (run(m, [IDS], interventions=edit).logits[0] for m in (spread, whole))
        assert torch.equal(found, expected)
        assert not torch.equal(found, theirs.logits[0])


def test_the_engine_runs_on_it(spread: Model, whole: Model):
    rows = [IDS, IDS[:4]]
    written = [generate(m, rows, max_new_tokens=8) for m in (spread, whole)]
    assert [row.ids for row in written[0]] == [row.ids for row in written[1]]
    branches = [[Branch(3, (7, 8))], [Branch(2, (9,))]]
    scored = [score_branches(m, rows, branches) for m in (spread, whole)]
    for ours, theirs in zip(*scored, strict=True):
        assert torch.equal(ours[0].logprobs, theirs[0].logprobs)
    vector = torch.ones(32)
    cells = [[Intervention(Site(n, "resid_post"), add, vector, positions=(2,))] for n in range(3)]
    swept = [sweep(m, IDS, cells).logits for m in (spread, whole)]
    assert all(torch.equal(a, b) for a, b in zip(*swept, strict=True))


def test_a_broken_weight_on_the_disk_shows_in_the_activations(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = save_tiny(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"blocks\.1\..* holds NaN"):
        load_model(folder, device_map=ON_DISK)


def test_auto_takes_what_there_is(folder: Path, whole: Model, monkeypatch: pytest.MonkeyPatch):
    for model in (load_model(folder, device_map="auto"), find_model(str(folder), device="auto")):
        assert torch.equal(run(model, [IDS]).logits[0].cpu(), run(whole, [IDS]).logits[0])
        assert "placed by device_map" in model.notes[0]
    monkeypatch.setattr(loading_module, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"accelerate: pip install 'posthoc\[train\]'"):
        load_model(folder, device_map="auto")


@pytest.mark.parametrize(
    "wrong", [{**ON_DISK, "model.norm": "nowhere"}, "somewhere", {"model.layers.0": "disk"}]
)
def test_a_map_that_names_no_device_or_leaves_modules_out(folder: Path, wrong: Any):
    with pytest.raises(ValueError, match=r"the weights in .* cannot be loaded"):
        load_model(folder, device_map=wrong)


class Elsewhere(Tensor):
    """A tensor that refuses to be computed with one on the home device, as two GPUs do."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.to:  # the way home
            return args[0].as_subclass(Tensor)
        if func in (Tensor.add, torch.add, torch.where) and any(t is not cls for t in types):
            raise RuntimeError("tensors on two devices")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_activations_come_home_before_handlers_see_them(whole: Model):
    """Blocks 1 and 2 get their input from elsewhere; what handlers compute with is at home."""
    seen: dict[str, type] = {}

    def note(name: str, activation: Tensor) -> Tensor:
        seen[name] = type(activation)
        return activation + torch.ones(32)

    def send(_module: Any, args: Any, kwargs: Any) -> Any:
        return (args[0].as_subclass(Elsewhere), *args[1:]), kwargs

    block = whole.hf.get_submodule("model.layers.1")
    handle = block.register_forward_pre_hook(send, with_kwargs=True)
    sites = [Site(1, "resid_pre"), Site(1, "resid_mid")]
    try:
        with torch.no_grad(), recorded_blocks(whole) as calls:
            whole.hf(torch.tensor([IDS]), use_cache=False)
        assert [type(call.entered) for call in calls] == [Tensor] * 3
        with torch.no_grad(), hooked(whole, [(site, partial(note, str(site))) for site in sites]):
            whole.hf(torch.tensor([IDS]), use_cache=False)
    finally:
        handle.remove()
    assert set(seen.values()) == {Tensor} and len(seen) == 2
