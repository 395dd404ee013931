"""Crosscoders on activations made of known features, and latent scaling against least squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.methods.crosscoder import (
    BASE_ONLY,
    POST_ONLY,
    Crosscoder,
    CrosscoderSettings,
    Thresholds,
    inspect_latents,
    load_crosscoder,
    relative_norm,
    save_crosscoder,
    shuffled,
    train_crosscoder,
)

D_IN, N_SHARED, N_EACH = 16, 10, 3
QUICK = CrosscoderSettings(d_sae=24, k=2, steps=1200, batch_size=128, warmup=100, dead_after=5_000)


def planted(n: int, seed: int, *, same: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs [n, 2, d_in] of sparse sums of features, and the features [model, feature, d_in].

    The first features are in both models (turned a little), then some in base alone, some in post.
    """
    fixed = torch.Generator().manual_seed(99)
    n_all = N_SHARED + 2 * N_EACH
    directions = torch.linalg.qr(torch.randn(D_IN, n_all, generator=fixed)).Q.T
    features = torch.stack([directions, directions])
    if not same:
        turned = directions[:N_SHARED] + 0.05 * torch.randn(N_SHARED, D_IN, generator=fixed)
        features[1, :N_SHARED] = turned
        features[1, N_SHARED : N_SHARED + N_EACH] = 0
        features[0, N_SHARED + N_EACH :] = 0
    rng = torch.Generator().manual_seed(seed)
    active = torch.rand(n, n_all, generator=rng) < 0.15
    size = active * (1 + torch.rand(n, n_all, generator=rng))
    return torch.einsum("nf,mfd->nmd", size, features), features


@pytest.fixture(scope="module")
def trained():
    pairs, _ = planted(8192, 0)
    return train_crosscoder(shuffled(pairs, QUICK.batch_size, seed=0), QUICK)


def test_planted_features_are_found_and_told_apart(trained):
    held_out, features = planted(4096, 1)
    report = inspect_latents(trained, held_out.split(1024))
    assert max(report.fvu) < 0.1
    expected = ["shared"] * N_SHARED + [BASE_ONLY] * N_EACH + [POST_ONLY] * N_EACH
    rows = trained.W_dec.transpose(0, 1).flatten(1)
    truth = features.transpose(0, 1).flatten(1)
    used = torch.tensor([n >= 20 for n in report.n_active.tolist()])
    cosine = torch.cosine_similarity(truth[:, None], rows[None], dim=-1).masked_fill(~used, -1)
    assert float(cosine.max(1).values.min()) > 0.9
    assert [report.kinds[j] for j in cosine.argmax(1).tolist()] == expected


def test_a_model_against_itself_has_no_exclusive_latents():
    pairs, _ = planted(8192, 0, same=True)
    found = train_crosscoder(shuffled(pairs, QUICK.batch_size, seed=0), QUICK)
    report = inspect_latents(found, planted(4096, 1, same=True)[0].split(1024))
    assert report.n_judged >= N_SHARED
    assert report.exclusive_rate == 0.0


def test_at_inference_the_threshold_keeps_about_k_latents(trained):
    report = inspect_latents(trained, planted(4096, 1)[0].split(1024))
    assert report.l0 == pytest.approx(QUICK.k, rel=0.15)


def random_crosscoder(seed: int = 0, d_sae: int = 6, d_in: int = 5) -> Crosscoder:
    g = torch.Generator().manual_seed(seed)
    return Crosscoder(
        W_enc=torch.randn(2, d_in, d_sae, generator=g),
        b_enc=torch.randn(d_sae, generator=g),
        W_dec=torch.randn(2, d_sae, d_in, generator=g),
        b_dec=torch.randn(2, d_in, generator=g),
        scale=torch.tensor([1.5, 0.5]),
        threshold=torch.tensor(1.0),
    )


def test_latent_scaling_equals_least_squares():
    found = random_crosscoder()
    x = torch.randn(200, 2, 5, generator=torch.Generator().manual_seed(1))
    report = inspect_latents(found, x.split(64))
    acts = found.encode(x).double().numpy()
    scaled = (x * found.scale[:, None]).double().numpy()
    W = found.W_dec.double().numpy()
    made = np.einsum("tl,mld->tmd", acts, W)
    error = scaled - made - found.b_dec.double().numpy()
    for j in range(6):
        own = int(np.linalg.norm(W[1, j]) >= np.linalg.norm(W[0, j]))
        pattern = np.outer(acts[:, j], W[own, j]).reshape(-1, 1)

        def beta(target, pattern=pattern):
            return np.linalg.lstsq(pattern, target.reshape(-1), rcond=None)[0][0]

        mine = [np.outer(acts[:, j], W[m, j]) for m in range(2)]
        other = 1 - own
        eps = beta(error[:, other] + mine[other]) / beta(error[:, own] + mine[own])
        r = beta(made[:, other] - mine[other]) / beta(made[:, own])
        assert float(report.nu_eps[j]) == pytest.approx(eps, rel=1e-3, abs=1e-4)
        assert float(report.nu_r[j]) == pytest.approx(r, rel=1e-3, abs=1e-4)


def test_shrunk_and_decoupled_latents_are_not_taken_for_exclusive():
    # Both models hold e0 and e1; the crosscoder writes e0 into post alone (shrunk), and e1 by two
    # latents that fire together, one for each model (decoupled). e2 is truly in post alone.
    W_dec = torch.zeros(2, 4, 4)
    W_dec[1, 0, 0] = W_dec[1, 1, 1] = W_dec[0, 2, 1] = W_dec[1, 3, 2] = 1
    W_enc = torch.zeros(2, 4, 4)
    for latent, axis in ((0, 0), (1, 1), (2, 1), (3, 2)):
        W_enc[1, axis, latent] = 1
    found = Crosscoder(
        W_enc, torch.zeros(4), W_dec, torch.zeros(2, 4), torch.ones(2), torch.tensor(0.1)
    )
    size = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    size = size * torch.nn.functional.one_hot(torch.arange(300) % 3, 3)
    x = torch.zeros(300, 2, 4)
    x[:, :, :2] = size[:, None, :2]
    x[:, 1, 2] = size[:, 2]
    report = inspect_latents(found, [x])
    assert relative_norm(found).tolist() == [1, 1, 0, 1]
    assert report.kinds == ("shrunk", "decoupled", "decoupled", "post_only")


def test_files_bring_back_the_same_crosscoder(tmp_path):
    found = random_crosscoder()
    save_crosscoder(tmp_path / "pair.safetensors", found)
    back = load_crosscoder(tmp_path / "pair.safetensors")
    x = torch.randn(7, 2, 5)
    assert torch.equal(back.encode(x), found.encode(x))
    assert torch.equal(back.decode(back.encode(x)), found.decode(found.encode(x)))
    with pytest.raises(ValueError, match="Rename"):
        save_crosscoder(tmp_path / "pair.pt", found)


def test_a_file_of_another_kind_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"W_enc": torch.zeros(1)}, tmp_path / "sae.safetensors")
    with pytest.raises(ValueError, match="no crosscoder"):
        load_crosscoder(tmp_path / "sae.safetensors")


def test_rescaling_a_latent_changes_nothing_that_is_active():
    found = random_crosscoder()
    factor = torch.tensor([3.0, 1, 1, 0.2, 1, 1])
    other = replace(
        found,
        W_enc=found.W_enc * factor,
        b_enc=found.b_enc * factor,
        W_dec=found.W_dec / factor[:, None],
    )
    x = torch.randn(50, 2, 5)
    assert torch.equal(other.encode(x) > 0, found.encode(x) > 0)
    assert torch.allclose(other.decode(other.encode(x)), found.decode(found.encode(x)), atol=1e-4)


def test_duplicates_and_dead_latents_are_counted():
    found = random_crosscoder()
    W_dec = found.W_dec.clone()
    W_dec[:, 3] = 2 * W_dec[:, 1]
    b_enc = found.b_enc.clone()
    b_enc[5] = -1e6
    report = inspect_latents(replace(found, W_dec=W_dec, b_enc=b_enc), [torch.randn(400, 2, 5)])
    assert report.n_duplicates == 1
    assert report.kinds[5] == "dead"
    assert report.nu_eps[5].isnan()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrosscoderSettings(k=600), "1 to d_sae"),
        (lambda: CrosscoderSettings(steps=10), "more steps than warmup"),
        (lambda: Thresholds(exclusive=0.4), "overlap"),
        (lambda: next(shuffled(torch.zeros(4, 2, 3), 8, seed=0)), "needs as many"),
        (lambda: train_crosscoder(iter([torch.ones(8, 2, 4)] * 9), QUICK), "nothing to explain"),
        (lambda: train_crosscoder(iter([torch.ones(8, 4)] * 9), QUICK), "two models"),
        (lambda: inspect_latents(random_crosscoder(), []), "no batch came"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
