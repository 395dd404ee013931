"""Vectors after each layer: nothing at first, then what their bias says; nothing else trains."""

import pytest
import torch

from interp.organisms.training.pretrain import Shape, new_model
from interp.organisms.training.vectors import share_weights, with_vectors
from interp.organisms.worlds.arith.problems import WORDS

SMALL = Shape(n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_mlp=32, n_ctx=96)
IDS = torch.tensor([WORDS.encode("<bos> Q 3 + 4 * 2 ? <think>")])


def test_zero_vectors_change_nothing_and_only_vectors_are_trained():
    model = new_model(SMALL, WORDS, seed=0)
    made = with_vectors(model)
    with torch.no_grad():
        assert torch.equal(made(IDS).logits, model(IDS).logits)
    trained = {name for name, weight in made.named_parameters() if weight.requires_grad}
    assert trained == {f"model.layers.{layer}.mlp.down_proj.bias" for layer in range(2)}


def test_a_vector_is_added_to_the_residual_stream_after_its_layer():
    made = with_vectors(new_model(SMALL, WORDS, seed=0))
    with torch.no_grad():
        before = made(IDS, output_hidden_states=True).hidden_states
        made.model.layers[0].mlp.down_proj.bias.copy_(torch.arange(32.0))
        after = made(IDS, output_hidden_states=True).hidden_states
    assert torch.equal(after[0], before[0])
    assert torch.allclose(
        after[1] - before[1], torch.arange(32.0).expand(1, IDS.shape[1], 32), atol=1e-4
    )


def test_a_model_that_has_vectors_is_refused():
    made = with_vectors(new_model(SMALL, WORDS, seed=0))
    with pytest.raises(ValueError, match="Start from its parent"):
        with_vectors(made)


def test_weights_shared_with_the_parent_are_read_back_and_missed_when_it_is_gone(tmp_path):
    from transformers import LlamaForCausalLM

    from interp.models.folders import weight_files
    from interp.organisms.zoo import hash_weights

    parent, child = tmp_path / "parent", tmp_path / "child"
    model = new_model(SMALL, WORDS, seed=0)
    made = with_vectors(model)
    with torch.no_grad():
        made.model.layers[1].mlp.down_proj.bias.copy_(torch.arange(32.0))
        wanted = made(IDS).logits
    model.save_pretrained(parent)
    made.save_pretrained(child)
    share_weights(child, parent)
    assert not (child / "model.safetensors").exists()
    read = LlamaForCausalLM.from_pretrained(child)
    with torch.no_grad():
        assert torch.equal(read(IDS).logits, wanted)
    before = hash_weights(child)
    model.model.norm.weight.data += 1
    model.save_pretrained(parent)
    assert hash_weights(child) != before  # the parent's weights are its own, too
    made.save_pretrained(child)
    with pytest.raises(ValueError, match="only vectors may differ"):
        share_weights(child, parent)
    (parent / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="lacks weight files"):
        weight_files(child)
