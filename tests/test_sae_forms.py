"""Dictionaries that are no SAE of one site as it is: refused, or placed where they write."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from interp.engine import run
from interp.interventions import ClampLatent, Intervention
from interp.methods.directions import with_reference
from interp.methods.saes import encode_rows, load_sae, measure_fidelity, sae_reader, splice
from interp.methods.steering import steer
from interp.methods.vector_cards import load_latent
from interp.sites import Site

D, S = 32, 64
ROWS = [[5, 60, 8, 9], [7, 8, 9, 20]]
READS, WRITES = "blocks.1.hook_resid_mid", "blocks.1.hook_mlp_out"


def weights(d_out: int = D) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "W_enc": torch.randn(D, S, generator=generator) / 6,
        "W_dec": torch.randn(S, d_out, generator=generator) / 6,
        "b_enc": torch.randn(S, generator=generator) / 6,
        "b_dec": torch.zeros(d_out),
    }


def make_folder(
    folder: Path, more: dict[str, torch.Tensor] | None = None, about: Any = None, **changes: Any
) -> Path:
    """An SAE as sae-lens keeps it, by default an ordinary one."""
    folder.mkdir()
    config = {
        "architecture": "standard",
        "d_in": D,
        "d_sae": S,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "hook_name": "blocks.1.hook_resid_post",
            **(about or {}),
        },
    }
    (folder / "cfg.json").write_text(json.dumps(config | changes))
    save_file({**weights(), **(more or {})}, folder / "sae_weights.safetensors")
    return folder


def open_sae(folder: Path) -> Any:
    """As somebody who uses sae-lens by itself has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens
    return sae_lens.SAE.load_from_disk(str(folder))


TRANSCODER = {
    "architecture": "transcoder",
    "d_out": D,
    "apply_b_dec_to_input": False,
    "about": {"hook_name": READS, "hook_name_out": WRITES},
}
SKIPPING = {**TRANSCODER, "architecture": "skip_transcoder", "more": {"W_skip": torch.eye(D)}}
SCALED = {"normalize_activations": "expected_average_only_in"}
REFUSED = {
    "one scale": (SCALED, "rescales its input .*fold_activation_norm_scaling_factor"),
    "whitened": ({"normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
    "layer norm": ({"normalize_activations": "layer_norm"}, "rescales its input"),
    "constant norm": ({"normalize_activations": "constant_norm_rescale"}, "rescales its input"),
    "transcoder": (TRANSCODER, "received 'transcoder'"),
    "skip transcoder": (SKIPPING, "received 'skip_transcoder'"),
    "two sites": (
        {"about": {"hook_name": READS, "hook_name_out": WRITES}},
        f"reads {READS} and writes {WRITES}: a transcoder",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_of_another_form_is_refused(tmp_path: Path, name: str):
    changes, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        load_sae(make_folder(tmp_path / "sae", **changes))


@pytest.mark.parametrize("name", REFUSED)
def test_so_is_one_in_memory_wherever_an_sae_is_used(tmp_path: Path, tiny: Any, name: str):
    changes, message = REFUSED[name]
    sae = open_sae(make_folder(tmp_path / "sae", **changes))
    with pytest.raises(ValueError, match=message):
        sae_reader(sae, tiny)
    with pytest.raises(ValueError, match=message):
        measure_fidelity(sae, tiny, ROWS)
    with pytest.raises(ValueError, match=message):
        ClampLatent(sae, 3)


def test_a_folded_scale_reads_what_the_scaled_input_would_give(tmp_path: Path, tiny: Any):
    """The remedy is taken, and the latents compared with those worked out by hand."""
    sae = open_sae(make_folder(tmp_path / "sae", **SCALED))
    sae.fold_activation_norm_scaling_factor(0.5)
    found = encode_rows(sae_reader(sae, tiny), ROWS).acts
    site = Site(1, "resid_post")
    read = torch.cat(run(tiny, ROWS, capture=[site]).captures[site])
    w = weights()
    expected = (0.5 * read @ w["W_enc"] + w["b_enc"]).relu()
    assert torch.allclose(found, expected, atol=1e-5) and bool((found > 0).any())


def test_an_sae_in_training_is_refused_and_its_inference_form_is_not(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens
    training = sae_lens.StandardTrainingSAE(sae_lens.StandardTrainingSAEConfig(d_in=D, d_sae=S))
    with pytest.raises(ValueError, match="received 'standard' in its training form"):
        ClampLatent(training, 3)
    training.save_inference_model(str(tmp_path))
    assert ClampLatent(open_sae(tmp_path), 3).d_in == D


def test_a_folder_of_a_training_form_is_refused(tmp_path: Path):
    folder = make_folder(tmp_path / "sae", architecture="batchtopk", k=4)
    with pytest.raises(ValueError, match="'batchtopk', which sae-lens reads only in training"):
        load_sae(folder)


def test_an_sae_of_heads_takes_them_side_by_side(tmp_path: Path, tiny: Any):
    about = {"hook_name": "blocks.1.attn.hook_z"}
    folder = make_folder(tmp_path / "sae", about=about, reshape_activations="hook_z")
    sae, site = load_sae(folder), Site(1, "z")
    z = torch.cat(run(tiny, ROWS, capture=[site]).captures[site])
    w = weights()
    expected = (z.flatten(1) @ w["W_enc"] + w["b_enc"]).relu()
    assert torch.allclose(encode_rows(sae_reader(sae, tiny), ROWS).acts, expected, atol=1e-5)
    assert splice(sae, z, keep_error=True).shape == z.shape
    clamp = Intervention(site, ClampLatent(sae, 3), dose=2.0)
    assert run(tiny, ROWS, interventions=[clamp]).receipts[0].edit_norm > 0
    with pytest.raises(ValueError, match="turn_off_forward_pass_hook_z_reshaping"):
        sae_reader(open_sae(folder), tiny)


@pytest.mark.parametrize("form", [TRANSCODER, SKIPPING])
def test_a_latent_of_a_transcoder_is_a_direction_where_it_writes(
    tmp_path: Path, tiny: Any, form: Any
):
    found = load_latent(make_folder(tmp_path / "sae", **form), 3)
    assert str(found.site) == WRITES
    assert torch.allclose(found.vector * found.length, weights()["W_dec"][3], atol=1e-6)
    edit = steer(with_reference(found, found.length), 1.0)
    plain = run(tiny, ROWS, capture=[WRITES, READS])
    moved = run(tiny, ROWS, interventions=[edit], capture=[WRITES, READS])
    for row in range(2):
        change = moved.captures[WRITES][row] - plain.captures[WRITES][row]
        assert torch.allclose(change, weights()["W_dec"][3].expand(4, -1), atol=1e-5)
        assert torch.equal(moved.captures[READS][row], plain.captures[READS][row])


def test_a_latent_without_a_known_place_or_length_is_refused(tmp_path: Path):
    nowhere = {**TRANSCODER, "about": {"hook_name": READS}}
    with pytest.raises(ValueError, match="names no hook.*hook_name_out"):
        load_latent(make_folder(tmp_path / "nowhere", **nowhere), 3)
    with pytest.raises(ValueError, match="rescales its input"):
        load_latent(make_folder(tmp_path / "scaled", **SCALED), 3)


def test_a_latent_that_decodes_by_a_normed_row_has_length_one(tmp_path: Path):
    topk = {"architecture": "topk", "k": 4, "rescale_acts_by_decoder_norm": True}
    folder = make_folder(tmp_path / "sae", **topk)
    found, sae = load_latent(folder, 3), load_sae(folder)
    latents = torch.zeros(2, S)
    latents[1, 3] = 1.0
    decoded = sae.decode(latents)
    assert torch.allclose(found.vector * found.length, decoded[1] - decoded[0], atol=1e-6)
    assert found.length == pytest.approx(1.0)


def test_configs_of_earlier_versions_are_read(tmp_path: Path, tiny: Any):
    """They name the hook at the top, as `hook_point`, and may leave the scale out."""
    folder = make_folder(tmp_path / "sae")
    config = json.loads((folder / "cfg.json").read_text())
    del config["metadata"], config["normalize_activations"], config["architecture"]
    (folder / "cfg.json").write_text(json.dumps(config | {"hook_point": READS}))
    assert str(load_latent(folder, 3).site) == READS
    assert encode_rows(sae_reader(load_sae(folder), tiny), ROWS).acts.shape == (8, S)
