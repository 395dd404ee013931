"""Operators against their definitions and at every kind of place; senseless ones are refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import interp.engine.single_pass as running_module
from interp.engine import edit_sweep, generate, run, sweep
from interp.interventions import (
    ClampLatent,
    Intervention,
    add,
    interpolate,
    project_out,
    replace,
    zero_ablate,
)
from interp.interventions.ablations import mean_ablation, resample_ablation
from interp.sites import Site

SITE = Site(0, "resid_post")
ACTIVATION = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
VECTOR = torch.tensor([[0.0, 2.0], [5.0, 5.0]])


@pytest.mark.parametrize(
    ("operator", "dose", "expected"),
    [
        (add, [2.0, 0.0], [[3.0, 8.0], [1.0, 0.0]]),
        (project_out, [1.0, 1.0], [[3.0, 0.0], [0.5, -0.5]]),
        (project_out, [2.0, 0.0], [[3.0, -4.0], [1.0, 0.0]]),
        (interpolate, [0.5, 0.0], [[1.5, 3.0], [1.0, 0.0]]),
        (interpolate, [1.0, 1.0], [[0.0, 2.0], [5.0, 5.0]]),
        (replace, [1.0, 1.0], [[0.0, 2.0], [5.0, 5.0]]),
        (zero_ablate, [1.0, 1.0], [[0.0, 0.0], [0.0, 0.0]]),
    ],
)
def test_operators_by_hand(operator: Any, dose: list[float], expected: list[list[float]]):
    before = ACTIVATION.clone()
    result = operator(ACTIVATION, VECTOR, torch.tensor(dose)[:, None])
    assert torch.allclose(result, torch.tensor(expected), atol=1e-6)
    assert torch.equal(ACTIVATION, before) and result is not ACTIVATION


def test_arriving_and_staying_are_exact():
    activation, vector = torch.randn(5, 7), torch.randn(5, 7) * 1e4
    one, zero = torch.ones(5, 1), torch.zeros(5, 1)
    assert torch.equal(interpolate(activation, vector, one), vector)
    assert torch.equal(interpolate(activation, vector, zero), activation)
    assert torch.equal(interpolate(activation, activation, torch.rand(5, 1)), activation)
    assert torch.equal(add(activation, vector, zero), activation)


@dataclass
class UnhashableRecord:
    def __call__(self, activation: Tensor, vector: Tensor, dose: Tensor) -> Tensor:
        return activation + vector * dose


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SITE, add), "needs a vector"),
        ((SITE, zero_ablate, VECTOR[0]), "takes no vector"),
        ((SITE, add, torch.tensor([1.0, float("nan")])), "NaN or infinite.*mean over no examples"),
        ((SITE, project_out, torch.zeros(2)), "has no direction"),
        ((SITE, replace, VECTOR[0], 0.5), "Use `interpolate`"),
        ((SITE, add, VECTOR[0], float("nan")), "a dose is a finite number, received nan"),
        ((SITE, project_out, VECTOR[0], 1.0, "norms"), "the operator `add`"),
        ((SITE, add, VECTOR[0], 1.0, "raw", ()), "at least one index"),
        ((SITE, add, VECTOR[0], 1.0, "raw", (1, 1)), "none twice"),
        ((SITE, add, VECTOR[0], 1.0, "raw", "all", ()), "rows must list"),
        ((SITE, UnhashableRecord(), VECTOR[0]), r"Use @dataclass\(frozen=True\)"),
        ((SITE, add, VECTOR[0], 1.0, "raw", "all", None, 0), "has no heads"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ValueError, match=message):
        Intervention(*arguments)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("positions", [3], r"a tuple of whole numbers, received \[3\]"),
        ("positions", range(3, 4), r"made one by tuple\(...\)"),
        ("positions", "promt", "'all', 'prompt', 'generated' or .*'promt'"),
        ("positions", 3, r"One index is written \(3,\)"),
        ("positions", (True,), "positions must be"),
        ("rows", [0], r"rows must be None \(all\) or a tuple"),
    ],
)
def test_places_of_another_type_never_count_as_all(field: str, value: Any, message: str):
    edit = Intervention(SITE, add, VECTOR[0])
    object.__setattr__(edit, field, value)  # past the checks of annotations, which users lack
    with pytest.raises(ValueError, match=message):
        edit.__post_init__()


def test_the_remedies_work():
    assert Intervention(SITE, interpolate, VECTOR[0], 0.5).dose == 0.5
    assert Intervention(SITE, add, VECTOR[0], 1.0, "norms").unit == "norms"


def make_sae(kind: str, d_in: int = 32, **settings: Any) -> Any:
    """A random SAE of 64 latents, about half of them active, with decoder rows of uneven norm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens imports a deprecated module of TransformerLens
        import sae_lens
        from sae_lens.saes import transcoder

    names = {
        "standard": "StandardSAE", "jumprelu": "JumpReLUSAE", "topk": "TopKSAE",
        "gated": "GatedSAE", "training": "BatchTopKTrainingSAE", "temporal": "TemporalSAE",
    }  # fmt: skip
    if kind == "transcoder":
        config = transcoder.TranscoderConfig(
            d_in=d_in, d_sae=64, d_out=d_in, apply_b_dec_to_input=False
        )
        return transcoder.Transcoder(config)
    config = getattr(sae_lens, names[kind] + "Config")(d_in=d_in, d_sae=64, **settings)
    sae = getattr(sae_lens, names[kind])(config)
    generator = torch.Generator().manual_seed(0)
    for name, weight in sae.named_parameters():
        low = 0.0 if name == "threshold" else -0.5
        weight.data = low + torch.rand(weight.shape, generator=generator)
    return sae.requires_grad_(False)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("standard", {"apply_b_dec_to_input": False}),
    ("jumprelu", {}),
    ("gated", {}),
    ("topk", {"k": 20}),
    ("topk", {"k": 20, "rescale_acts_by_decoder_norm": True}),
]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_clamped_latent_moves_along_its_decoder_row_and_nothing_else(
    kind: str, settings: dict[str, Any]
):
    """The truth is the difference of two decodings by sae-lens, which only that latent can make."""
    sae = make_sae(kind, **settings)
    x = torch.randn(50, 32, generator=torch.Generator().manual_seed(1))
    latents = sae.encode(x)
    values = torch.tensor([0.0, 3.5])
    for latent in (0, 17):
        assert 0 < (latents[:, latent] > 0).sum() < 50, "active in some positions only"
        for value in values:
            clamped = latents.clone()
            clamped[:, latent] = value
            kept, dropped = (ClampLatent(sae, latent, keep) for keep in (True, False))
            doses = value.expand(50, 1)
            moved = sae.decode(clamped) - sae.decode(latents)
            assert torch.allclose(kept(x, x, doses) - x, moved, atol=1e-5)
            assert torch.allclose(dropped(x, x, doses), sae.decode(clamped), atol=1e-6)
        assert torch.equal(ClampLatent(sae, latent)(x, x, latents[:, latent, None]), x)
        own = ClampLatent(sae, latent, keep_error=False)(x, x, latents[:, latent, None])
        assert torch.equal(own, sae.decode(latents)) and not torch.allclose(own, x, atol=0.1)


def test_clamping_in_a_model_equals_a_hook_by_hand(tiny: Any):
    """Different latents, values and error terms per row, in one batch, at a residual site."""
    sae, rows = make_sae("jumprelu"), [[1, 6, 17, 30], [18, 10], [4, 4, 5]]
    edits = [
        Intervention(SITE, ClampLatent(sae, 3), dose=2.0, rows=(0,)),
        Intervention(SITE, ClampLatent(sae, 9, keep_error=False), dose=0.0, rows=(1,)),
    ]
    found = run(tiny, rows, interventions=edits)

    def by_hand(row: int, x: Tensor) -> Tensor:
        if row == 2:
            return x
        latents = sae.encode(x)
        error = x - sae.decode(latents)
        latents[..., (3, 9)[row]] = (2.0, 0.0)[row]
        return sae.decode(latents) + (error if row == 0 else 0)

    for number, row in enumerate(rows):
        handle = tiny.hf.model.layers[0].register_forward_hook(
            lambda _m, _a, out, number=number: by_hand(number, out)
        )
        with torch.no_grad():
            expected = tiny.hf(torch.tensor([row]), use_cache=False).logits[0]
        handle.remove()
        assert torch.allclose(found.logits[number], expected, atol=1e-4)
    assert [receipt.n_positions for receipt in found.receipts] == [4, 2]


@pytest.mark.parametrize("sae_dtype", [torch.float32, torch.bfloat16])
def test_clamping_in_half_precision_does_not_round_the_dose(tiny_folder: Any, sae_dtype: Any):
    """257 is no number of bfloat16 and lies between two; the model's own values stay, bit for bit,
    also when the SAE computes in another format.
    """
    from interp.models import load_model

    model = load_model(tiny_folder, dtype="bfloat16")
    sae, ids = make_sae("standard").to(sae_dtype), [1, 6, 17]
    sae.cfg.dtype = str(sae_dtype).removeprefix("torch.")
    sae.dtype = sae_dtype
    x = run(model, [ids], capture=[SITE]).captures[SITE][0]
    own = sae.encode(x.to(sae_dtype))
    edits = [
        Intervention(SITE, ClampLatent(sae, 3), dose=float(own[at, 3]), positions=(at,))
        for at in range(len(ids))
    ]
    found = run(model, [ids], interventions=edits, capture=[SITE])
    assert torch.equal(found.captures[SITE][0], x)
    assert [receipt.edit_norm for receipt in found.receipts] == [0, 0, 0]
    clamp = Intervention(SITE, ClampLatent(sae, 3), dose=257.0)
    found = run(model, [ids], interventions=[clamp], capture=[SITE]).captures[SITE][0]
    change = (torch.tensor(257.0, dtype=sae_dtype) - own[:, 3, None]) * sae.W_dec[3]
    assert torch.equal(found, (x.float() + change.float()).bfloat16())


@pytest.mark.parametrize("norm", [1e-36, 1.0, 1e37])
@pytest.mark.parametrize("unit", ["raw", "norms"])
def test_the_norm_of_a_direction_does_not_matter(tiny_folder: Any, norm: float, unit: Any):
    """In float16, where norms beyond 65504 are infinite, and where squares leave float32."""
    from interp.models import load_model

    model = load_model(tiny_folder, dtype="float16")
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0))
    x = run(model, [[1, 6, 17]], capture=[SITE]).captures[SITE][0].float()
    unit_vector = vector / vector.norm()
    edit = Intervention(SITE, project_out if unit == "raw" else add, vector * norm, 1.0, unit)
    found = run(model, [[1, 6, 17]], interventions=[edit], capture=[SITE]).captures[SITE][0]
    expected = {
        "raw": x - (x @ unit_vector)[:, None] * unit_vector,
        "norms": x + x.norm(dim=-1, keepdim=True) * unit_vector,
    }[unit]
    assert torch.allclose(found.float(), expected, atol=2e-3, rtol=1e-3)


def test_clamped_latents_are_comparable_settings():
    sae = make_sae("standard")
    assert ClampLatent(sae, 3) == ClampLatent(sae, 3) != ClampLatent(sae, 4)
    assert len({ClampLatent(sae, 3), ClampLatent(sae, 3), ClampLatent(sae, 3, False)}) == 2
    with pytest.raises(AttributeError):
        ClampLatent(sae, 3).latent = 4  # type: ignore[misc]


def test_saes_that_are_no_sum_of_directions_are_refused():
    with pytest.raises(ValueError, match="standard, gated, jumprelu, topk; received 'batchtopk'"):
        ClampLatent(make_sae("training", k=4), 0)
    with pytest.raises(ValueError, match="received 'transcoder'"):
        ClampLatent(make_sae("transcoder"), 0)
    with pytest.raises(ValueError, match="rescales its input \\('layer_norm'\\)"):
        ClampLatent(make_sae("standard", normalize_activations="layer_norm"), 0)
    with pytest.raises(ValueError, match="latents are 0 to 63, received 64"):
        ClampLatent(make_sae("standard"), 64)
    with pytest.raises(ValueError, match="takes no vector"):
        Intervention(SITE, ClampLatent(make_sae("standard"), 0), torch.ones(32))


def test_remedies_for_refused_saes_work(tiny: Any):
    """Folding a scaling factor and switching head reshaping off make an SAE usable."""
    scaled = make_sae("standard", normalize_activations="expected_average_only_in")
    with pytest.raises(ValueError, match="fold_activation_norm_scaling_factor"):
        ClampLatent(scaled, 0)
    scaled.fold_activation_norm_scaling_factor(2.0)
    assert ClampLatent(scaled, 0).d_in == 32
    heads = make_sae("standard", reshape_activations="hook_z")
    with pytest.raises(ValueError, match="turn_off_forward_pass_hook_z_reshaping"):
        ClampLatent(heads, 0)
    heads.turn_off_forward_pass_hook_z_reshaping()
    edit = Intervention(Site(0, "z"), ClampLatent(heads, 0), dose=3.0)
    assert run(tiny, [[1, 6]], interventions=[edit]).receipts[0].edit_norm > 0


def test_an_sae_of_another_width_is_refused_before_any_pass(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(running_module, "body", None)
    narrow = Intervention(SITE, ClampLatent(make_sae("standard", 8), 0))
    with pytest.raises(ValueError, match="reads vectors of width 8, and .* of tiny has 32"):
        run(tiny, [[1]], interventions=[narrow])
    monkeypatch.setattr(edit_sweep, "body", None)
    with pytest.raises(ValueError, match="reads vectors of width 8, and .* of tiny has 32"):
        sweep(tiny, [1], [[narrow]])


ROWS = [[1, 6, 17, 30], [18, 10], [4, 4, 5], [9, 9, 9, 9], [2, 3], [7, 8, 9], [5, 4], [20, 21]]


def logits_by_hand(model: Any, row: list[int], z: Tensor, head: int | None) -> Tensor:
    """Logits when block 0's z (its input to the output weights) is replaced, wholly or one head."""

    def swap(_module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        heads = args[0].unflatten(-1, (model.n_heads, model.d_head)).clone()
        if head is None:
            heads[0] = z
        else:
            heads[0, :, head] = z[:, head]
        return (heads.flatten(-2),)

    handle = model.hf.model.layers[0].self_attn.o_proj.register_forward_pre_hook(swap)
    try:
        with torch.no_grad():
            return model.hf(torch.tensor([row]), use_cache=False).logits[0]
    finally:
        handle.remove()


@pytest.mark.parametrize("head", [None, 2])
def test_zero_mean_and_resample_ablation_by_hand(tiny: Any, head: int | None):
    site = Site(0, "z")
    captures = run(tiny, ROWS, capture=[site]).captures[site]
    tokens = torch.stack([token for capture in captures for token in capture])
    mean = tokens.sum(0) / sum(map(len, ROWS))
    zero = Intervention(site, zero_ablate, head=head)
    averaged = mean_ablation(site, captures, head=head)
    for edit, value in ((zero, torch.zeros_like(mean)), (averaged, mean)):
        found = run(tiny, ROWS, interventions=[edit]).logits
        for row, logits in zip(ROWS, found, strict=True):
            expected = logits_by_hand(tiny, row, value.expand(len(row), -1, -1), head)
            assert torch.allclose(logits, expected, atol=1e-4)
    edits = resample_ablation(site, captures, seed=1, head=head)
    found = run(tiny, ROWS, interventions=edits).logits
    for number, row in enumerate(ROWS):
        matching = [
            donor
            for donor, values in enumerate(captures)
            if donor != number
            and len(values) >= len(row)
            and torch.allclose(
                found[number], logits_by_hand(tiny, row, values[: len(row)], head), atol=1e-4
            )
        ]
        assert matching, f"row {number} took its values from no other row"


def test_ablations_that_would_not_be_one_are_refused(tiny: Any):
    captures = run(tiny, ROWS, capture=[SITE]).captures[SITE]
    with pytest.raises(ValueError, match="at least 8 texts, received 7"):
        mean_ablation(SITE, captures[:7])
    with pytest.raises(ValueError, match=r"row 0 \(4 tokens\) has no other row that is as long"):
        resample_ablation(SITE, captures[:3], seed=0)
    again = [
        [edit.vector for edit in resample_ablation(SITE, captures, seed=seed)] for seed in (0, 0, 1)
    ]
    same = [all(map(torch.equal, again[0], other)) for other in again[1:]]  # type: ignore[arg-type]
    assert same == [True, False]


@pytest.mark.parametrize("operator", [add, project_out, interpolate, replace, zero_ablate])
@pytest.mark.parametrize("positions", ["all", "prompt", "generated", (-1, 0)])
def test_every_operator_at_every_place_while_writing(tiny: Any, operator: Any, positions: Any):
    """Residual, MLP and head sites, each row with its own vector and dose, in one batch.

    The truth is each row alone, read again from the start for every token, with the same edits at
    listed positions and no cache.
    """
    generator = torch.Generator().manual_seed(5)
    prompts = [[1, 6, 17], [18, 10, 4, 4], [9, 9]]
    edits: list[Intervention] = []
    for site, shape, head in (
        (Site(1, "resid_pre"), 32, None), (Site(0, "resid_mid"), 32, None),
        (Site(2, "mlp_post"), 48, None), (Site(1, "v"), 8, 1), (Site(2, "z"), 8, 3),
    ):  # fmt: skip
        for row in range(3):
            vector = None if operator is zero_ablate else torch.randn(shape, generator=generator)
            dose = 1.0 if operator in (replace, zero_ablate) else 0.5 + 0.4 * row
            edits.append(
                Intervention(
                    site, operator, vector, dose, positions=positions, rows=(row,), head=head
                )
            )
    written = generate(tiny, prompts, max_new_tokens=4, interventions=edits)
    for row, (prompt, found) in enumerate(zip(prompts, written, strict=True)):
        n, ids = len(prompt), list(prompt)

        def asked(end: int, n: int = n) -> list[int]:
            spans = {"all": range(end), "prompt": range(n), "generated": range(n, end)}
            return list(spans[positions]) if isinstance(positions, str) else [0, n - 1]

        for token, logprob in zip(found.ids, found.logprobs, strict=True):
            listed = tuple(asked(len(ids)))
            mine = [
                Intervention(e.site, operator, e.vector, e.dose, positions=listed, head=e.head)
                for e in edits
                if e.rows == (row,) and listed
            ]
            logprobs = run(tiny, [ids], interventions=mine, logits_at="last").last[0].log_softmax(0)
            assert token == int(logprobs.argmax())
            assert logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
            ids.append(token)
        assert [list(receipt.positions) for receipt in found.receipts] == [asked(n + 3)] * 5
