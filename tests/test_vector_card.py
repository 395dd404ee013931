"""Vector cards and files of other tools: what is written is what is read, or an error says why."""

import json
import warnings

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from interp.engine import run
from interp.interventions import Intervention, add
from interp.methods.directions import Source, check_fits, make_direction, with_reference
from interp.methods.vector_cards import load_gguf, load_latent, load_vector, save_card, save_gguf
from interp.sites import Site

SITE = Site(1, "resid_post")
SOURCE = Source("mean difference", ("base", "post"), ("a1", "b2"), ("c3", "d4"), "12 positions: é")


def vector(n=32, seed=0):
    return 3.7 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reference", [None, 0.1 + 0.2])
def test_a_card_comes_back_bit_for_bit(tmp_path, reference):
    direction = make_direction(vector(), SITE, SOURCE, reference_norm=reference)
    save_card(tmp_path / "one.safetensors", direction)
    found = load_vector(tmp_path / "one.safetensors")
    assert torch.equal(found.vector, direction.vector)
    assert (found.site, found.length, found.reference_norm, found.source) == (
        SITE, direction.length, reference, SOURCE
    )  # fmt: skip
    save_card(tmp_path / "two.safetensors", found)
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()


def test_a_card_reads_without_this_project(tmp_path):
    from safetensors import safe_open

    direction = make_direction(vector(), SITE, SOURCE, reference_norm=2.5)
    save_card(tmp_path / "one.safetensors", direction)
    with safe_open(str(tmp_path / "one.safetensors"), framework="np") as file:
        card = file.metadata()
        assert np.linalg.norm(file.get_tensor("vector")) == pytest.approx(1, abs=1e-6)
    assert card["site"] == "blocks.1.hook_resid_post"
    assert float(card["norm"]) == direction.length
    assert float(card["reference_norm"]) == 2.5
    assert json.loads(card["source"])["models"] == ["base", "post"]


def test_gguf_round_trip_keeps_the_vector_at_its_length(tmp_path):
    raw = vector()
    save_gguf(tmp_path / "v.gguf", make_direction(raw, SITE, SOURCE), model_hint="llama")
    reader = gguf.GGUFReader(tmp_path / "v.gguf")
    assert [tensor.name for tensor in reader.tensors] == ["direction.1"]
    assert np.allclose(reader.tensors[0].data, raw.numpy(), rtol=1e-6)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    found = load_vector(tmp_path / "v.gguf")
    assert found.site == SITE
    assert torch.allclose(found.vector * found.length, raw, rtol=1e-6)


def test_gguf_with_several_layers_asks_which(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "controlvector")
    for layer in (3, 5):
        writer.add_tensor(f"direction.{layer}", vector(seed=layer).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert sorted(load_gguf(tmp_path / "v.gguf")) == [3, 5]
    with pytest.raises(ValueError, match=r"layers \[3, 5\], received layer=None"):
        load_vector(tmp_path / "v.gguf")
    found = load_vector(tmp_path / "v.gguf", layer=5)
    assert found.site == Site(5, "resid_post")
    assert torch.allclose(found.vector * found.length, vector(seed=5), rtol=1e-6)


def test_gguf_of_a_model_and_places_that_llama_cpp_lacks_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("output_norm.weight", vector().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"output_norm\.weight.*whole model"):
        load_vector(tmp_path / "m.gguf")
    for site in (Site(0, "resid_post"), Site(2, "resid_pre")):
        with pytest.raises(ValueError, match="layer 1 or above"):
            save_gguf(
                tmp_path / "x.gguf", make_direction(vector(), site, SOURCE), model_hint="llama"
            )
    assert not (tmp_path / "x.gguf").exists()


def test_a_latent_is_the_decoder_row_by_which_sae_lens_decodes(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens
        from sae_lens.saes.sae import SAEMetadata
    config = sae_lens.StandardSAEConfig(
        d_in=32, d_sae=64, metadata=SAEMetadata(hook_name=str(SITE), model_name="tiny")
    )
    sae = sae_lens.StandardSAE(config)
    torch.nn.init.normal_(sae.W_dec, generator=torch.Generator().manual_seed(2))
    sae.save_model(tmp_path)
    found = load_latent(tmp_path, 11)
    latents = torch.zeros(2, 64)
    latents[1, 11] = 1.0
    decoded = sae.decode(latents).detach()
    assert torch.allclose(found.vector * found.length, decoded[1] - decoded[0], atol=1e-5)
    assert found.site == SITE
    assert found.source.models == ("tiny",)
    with pytest.raises(ValueError, match="latents 0 to 63, received 64"):
        load_latent(tmp_path, 64)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    for hook, message in ((None, "names no hook"), ("blocks.1.nowhere", "no site here")):
        cfg["metadata"]["hook_name"] = hook
        (tmp_path / "cfg.json").write_text(json.dumps(cfg))
        with pytest.raises(ValueError, match=message):
            load_latent(tmp_path, 11)


def test_bare_vectors_need_a_site_and_one_tensor(tmp_path):
    path, raw = tmp_path / "bare.safetensors", vector()
    save_file({"v": raw[None].half()}, path)
    with pytest.raises(ValueError, match="does not say where it belongs"):
        load_vector(path)
    found = load_vector(path, site=SITE)
    assert torch.allclose(found.vector * found.length, raw.half().float(), rtol=1e-5)
    save_file({"a": raw, "b": 2 * raw}, path)
    with pytest.raises(ValueError, match="the tensors a, b"):
        load_vector(path, site=SITE)
    assert load_vector(path, site=SITE, tensor="b").length == pytest.approx(
        2 * float(raw.norm()), rel=1e-5
    )
    save_file({"m": torch.ones(3, 4)}, path)
    with pytest.raises(ValueError, match="has one axis"):
        load_vector(path, site=SITE)


@pytest.mark.parametrize(
    ("raw", "message"),
    [(torch.zeros(8), "is zero"), (torch.full((8,), float("nan")), "NaN or infinity")],
)
def test_useless_numbers_are_refused(tmp_path, raw, message):
    save_file({"v": raw}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=message):
        load_vector(tmp_path / "bad.safetensors", site=SITE)


def test_nothing_is_unpickled(tmp_path):
    """The file would write a second one if it were."""
    import pickle
    from pathlib import Path

    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (trap,))

    for name in ("v.pt", "v.bin", "v.pkl", "v.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match=r"refused|no safetensors file"):
            load_vector(tmp_path / name, site=SITE)
    assert not trap.exists()


def test_damaged_cards_are_refused(tmp_path):
    path = tmp_path / "one.safetensors"
    good = {
        "format": "posthoc-vector-1", "site": str(SITE), "norm": "1.0", "reference_norm": "",
        "source": json.dumps({"method": "m"}),
    }  # fmt: skip
    unit = vector() / vector().norm()
    for change, message in (
        ({"site": "blocks.1.hook_nowhere"}, "no site here"),
        ({"norm": "0.0"}, "must be above 0"),
        ({"source": json.dumps({"way": "m"})}, "something missing"),
    ):
        save_file({"vector": unit}, path, metadata={**good, **change})
        with pytest.raises(ValueError, match=message):
            load_vector(path)
    save_file({"vector": 2 * unit}, path, metadata=good)
    with pytest.raises(ValueError, match="norm 1, received 2"):
        load_vector(path)
    save_file({"vector": unit}, path, metadata=good)
    with pytest.raises(ValueError, match="but blocks.0.hook_resid_pre was asked for"):
        load_vector(path, site=Site(0, "resid_pre"))
    assert load_vector(path).reference_norm is None


def test_a_vector_of_another_width_or_layer_does_not_fit(tiny):
    for direction, message in (
        (make_direction(vector(24), SITE, SOURCE), "24 wide"),
        (make_direction(vector(), Site(9, "resid_post"), SOURCE), "its last is 2"),
    ):
        with pytest.raises(ValueError, match=message):
            check_fits(tiny, direction)
    check_fits(tiny, make_direction(vector(), SITE, SOURCE))


def test_an_imported_vector_does_what_the_raw_one_did(tiny, tmp_path):
    raw = vector()
    save_gguf(tmp_path / "v.gguf", make_direction(raw, SITE, SOURCE), model_hint="llama")
    found = with_reference(load_vector(tmp_path / "v.gguf"), 1.0)
    edits = [
        Intervention(SITE, add, raw),
        Intervention(SITE, add, found.vector, dose=found.length),
    ]
    logits = [run(tiny, [[1, 6, 17]], interventions=[edit]).logits[0] for edit in edits]
    assert torch.allclose(logits[0], logits[1], atol=1e-4)
    assert not torch.allclose(logits[0], run(tiny, [[1, 6, 17]]).logits[0], atol=1e-2)
