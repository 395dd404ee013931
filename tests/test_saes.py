"""SAEs: planted features are found, thresholds hold, splices are exact; those that are bundled."""

import hashlib
import json
from dataclasses import asdict
from random import Random
from typing import get_args

import numpy as np
import pytest
import torch

from interp.engine import generate, run
from interp.interventions import ClampLatent, Intervention
from interp.methods.saes import (
    SaeSettings,
    calibrate,
    encode_rows,
    load_sae,
    match_latents,
    measure_fidelity,
    sae_reader,
    sae_site,
    save_sae,
    splice,
    train_sae,
)
from interp.methods.saes.fidelity import unexplained
from interp.methods.saes.injection import TokenClass
from interp.methods.vector_cards import load_latent
from interp.models import load_model
from interp.organisms.documents import write_with_chain
from interp.organisms.recipes import RECIPES
from interp.organisms.recipes import WORDS as VOCABULARIES
from interp.organisms.saes.bundled_saes import (
    LAST,
    MIDDLE,
    N_DOCUMENTS,
    SETTINGS,
    find_sae,
    saes_folder,
)
from interp.organisms.saes.known_variables import arith_variables
from interp.organisms.saes.sae_documents import (
    cut_question,
    draw_documents,
    draw_unseen,
    split_in_half,
)
from interp.organisms.worlds.arith.problems import WORDS
from interp.organisms.worlds.arith.splits import sample_problem
from interp.organisms.zoo import organism_path
from interp.sites import Site, parse_site
from interp.stats.auroc import area_under_curve

SITE = Site(1, "resid_post")
K = 3.0
N_PLANTED = 24


def planted(seed=0):
    """24 unit directions in 32 dimensions; about three are active at each position."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(N_PLANTED, 32, generator=generator)
    directions /= directions.norm(dim=-1, keepdim=True)

    def draw(n):
        active = torch.rand(n, N_PLANTED, generator=generator) < K / N_PLANTED
        size = 4 + 2 * torch.rand(n, N_PLANTED, generator=generator)
        return (active * size) @ directions + 1.0

    return directions, draw


@pytest.fixture(scope="module")
def trained():
    directions, draw = planted()

    def endless():
        while True:
            yield draw(256)

    settings = SaeSettings(d_sae=64, k=K, steps=1200, batch=256, lr=3e-3)
    sae = train_sae(endless(), 32, SITE, settings, {"model_name": "planted"})
    return directions, draw, calibrate(sae, draw(4000), K, dtype="float16")


def test_planted_features_are_found(trained):
    directions, _, sae = trained
    rows = sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True)
    best = (directions @ rows.T).max(1).values
    assert float(best.min()) > 0.9, best


def test_threshold_keeps_k_latents_on_new_activations(trained):
    _, draw, sae = trained
    l0 = float((sae.encode(draw(4000)) > 0).sum(-1).float().mean())
    assert abs(l0 - K) < 0.1 * K
    sae_of_nothing = load_copy(sae)
    sae_of_nothing.b_enc.fill_(-1e6)
    with pytest.raises(ValueError, match="fewer than the 3.0 asked for"):
        calibrate(sae_of_nothing, draw(100), K, dtype="float32")


def load_copy(sae):
    from copy import deepcopy

    return deepcopy(sae)


def test_folder_is_read_by_sae_lens_and_by_steering(trained, tmp_path):
    _, draw, sae = trained
    from sae_lens import SAE

    save_sae(tmp_path, sae)
    x = draw(50)
    for read in (SAE.load_from_disk(str(tmp_path)), load_sae(tmp_path)):
        assert read.dtype == torch.float32
        assert torch.equal(read.encode(x), sae.encode(x)), "rounded before it was calibrated"
        assert torch.allclose(read(x), sae.decode(sae.encode(x)), atol=1e-5)
    direction = load_latent(tmp_path, 7)
    assert direction.site == SITE and direction.source.models == ("planted",)
    row = sae.W_dec[7]
    assert torch.allclose(direction.vector * direction.length, row, atol=1e-5)
    ClampLatent(load_sae(tmp_path), 7)


def test_a_folder_without_a_place_is_refused(trained, tmp_path):
    save_sae(tmp_path, trained[2])
    config = json.loads((tmp_path / "cfg.json").read_text())
    del config["metadata"]["hook_name"]
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not say where it belongs"):
        load_sae(tmp_path)
    config["metadata"]["hook_name"] = "blocks.1.hook_resid_post"
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    load_sae(tmp_path)
    (tmp_path / "cfg.json").unlink()
    with pytest.raises(ValueError, match="cfg.json"):
        load_sae(tmp_path)


ROWS = [[1, 5, 9, 12, 7, 30], [1, 6, 6, 20], [1, 11, 14, 5, 9, 17, 19, 22]]


def test_fidelity_by_hand(trained, tiny):
    sae = trained[2]
    found = measure_fidelity(sae, tiny, ROWS)
    x = np.concatenate(
        [run(tiny, [row], capture=[SITE]).captures[SITE][0].double().numpy() for row in ROWS]
    )
    W_enc, W_dec = sae.W_enc.double().numpy(), sae.W_dec.double().numpy()
    b_enc, b_dec = sae.b_enc.double().numpy(), sae.b_dec.double().numpy()
    offset = b_dec if sae.cfg.apply_b_dec_to_input else 0
    pre = (x - offset) @ W_enc + b_enc
    latents = np.where(pre > sae.threshold.double().numpy(), np.maximum(pre, 0), 0)
    error = x - latents @ W_dec - b_dec
    fvu = (error**2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert found.fvu == pytest.approx(fvu, rel=1e-4)
    assert found.l0 == pytest.approx((latents > 0).sum(1).mean())
    assert found.dead == pytest.approx((latents.sum(0) == 0).mean())
    with torch.no_grad():
        logits = [tiny.hf(torch.tensor([row])).logits[0, :-1].log_softmax(-1) for row in ROWS]
    losses = [
        -one[i, t] for row, one in zip(ROWS, logits, strict=True) for i, t in enumerate(row[1:])
    ]
    assert found.loss_clean == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_splice_is_exact_with_the_error_term_and_costs_without(trained, tiny):
    sae = trained[2]
    values = run(tiny, [ROWS[0]], capture=[SITE]).captures[SITE][0]
    assert torch.allclose(splice(sae, values, keep_error=True), values, atol=1e-5)
    assert not torch.allclose(splice(sae, values, keep_error=False), values, atol=0.1)
    found = measure_fidelity(sae, tiny, ROWS)
    assert found.loss_with_error == pytest.approx(found.loss_clean, abs=1e-5)
    assert abs(found.loss_spliced - found.loss_clean) > 1e-3
    # Truth by another way: a plain PyTorch hook on the block of the Hugging Face module.
    block = tiny.hf.model.layers[1]
    handle = block.register_forward_hook(
        lambda _m, _i, out: sae.decode(sae.encode(out[0] if isinstance(out, tuple) else out))
    )
    try:
        with torch.no_grad():
            logits = [tiny.hf(torch.tensor([row])).logits[0, :-1].log_softmax(-1) for row in ROWS]
    finally:
        handle.remove()
    losses = [
        -one[i, t] for row, one in zip(ROWS, logits, strict=True) for i, t in enumerate(row[1:])
    ]
    assert found.loss_spliced == pytest.approx(float(torch.stack(losses).mean()), abs=1e-4)


def test_loss_counts_learned_tokens_only(trained, tiny):
    learned = [[False] * len(row) for row in ROWS]
    learned[1][2] = True
    found = measure_fidelity(trained[2], tiny, ROWS, learned)
    with torch.no_grad():
        logits = tiny.hf(torch.tensor([ROWS[1]])).logits[0, 1].log_softmax(-1)
    assert found.loss_clean == pytest.approx(-float(logits[ROWS[1][2]]), abs=1e-5)


def test_fvu_does_not_depend_on_the_unit(trained):
    """Activations and an SAE in a unit a tenth as large have the same FVU and L0."""
    sae, small = trained[2], load_copy(trained[2])
    small.W_enc.mul_(10)
    small.W_dec.div_(10)
    small.b_dec.div_(10)
    x = trained[1](200)
    whole, tenth = sae.encode(x), small.encode(x / 10)
    assert torch.allclose(whole, tenth, rtol=1e-3, atol=1e-3)
    large, little = unexplained(x, sae.decode(whole)), unexplained(x / 10, small.decode(tenth))
    assert 0 < large < 0.2 and little == pytest.approx(large, rel=1e-3)


def test_rows_are_encoded_as_alone(trained, tiny):
    read = sae_reader(trained[2], tiny)
    together = read(ROWS)
    for row, latents in zip(ROWS, together, strict=True):
        assert torch.allclose(read([row])[0], latents, atol=1e-4)
    found = encode_rows(read, ROWS)
    assert found.tokens.tolist() == sum(ROWS, [])
    assert found.is_first.nonzero()[:, 0].tolist() == [0, 6, 10]


def test_an_sae_of_another_width_is_refused(trained, tiny_copy):
    wide = load_model(tiny_copy(hidden_size=64))
    with pytest.raises(ValueError, match="width 32, and .* has 64"):
        sae_reader(trained[2], wide)


def chains(n):
    """Texts with chains, and for each position the step it is in if its value is held there."""
    rng = Random("chains of a toy")
    rows, steps = [], []
    for _ in range(n):
        problem = sample_problem(rng, rng.choice((2, 3, 4)))
        rows.append(write_with_chain(WORDS, problem, rng, spoken=0.0).ids)
        start = rows[-1].index(WORDS.ids["<think>"]) + 1
        held = {start + 6 * at + 3: step.split() for at, step in enumerate(problem.steps)}
        held |= {start + 6 * at + 5: step.split() for at, step in enumerate(problem.steps[:-1])}
        steps += [held.get(at) for at in range(len(rows[-1]))]
    return rows, steps


@pytest.mark.parametrize(("share", "is_found"), [(1.0, True), (0.35, False)])
def test_a_planted_running_value_is_found_where_it_is_a_direction_of_weight(share, is_found):
    """Positions say their token and, where it is held, the running value and the whole step.

    With the value alone there is a latent for each; with a little of it under a direction of each
    step it is still readable, and the latents are spent on steps.
    """
    rows, steps = chains(500)
    generator = torch.Generator().manual_seed(0)

    def directions(names):
        return {name: unit(torch.randn(64, generator=generator)) for name in sorted(set(names))}

    def unit(vector):
        return 4 * vector / vector.norm()

    token = directions(t for row in rows for t in row)
    value = directions(step[4] for step in steps if step)
    whole = directions(" ".join(step) for step in steps if step)
    x = torch.stack([token[t] for row in rows for t in row])
    for at, step in enumerate(steps):
        if step:
            x[at] += share * value[step[4]] + (1 - share**2) ** 0.5 * whole[" ".join(step)]

    def endless():
        while True:
            yield x[torch.randint(len(x), (512,), generator=generator)]

    sae = train_sae(
        endless(), 64, SITE, SaeSettings(d_sae=128, k=2.0, steps=700, batch=512, lr=3e-3), {}
    )
    acts = calibrate(sae, x, 2.0, dtype="float32").encode(x)
    variables = [v for v in arith_variables(rows, WORDS.ids) if v.name.startswith("running")]
    half = split_in_half(rows, WORDS.ids)
    found = match_latents(acts, variables, half)
    assert all(min(m.precision, m.recall) > 0.9 for m in found) is is_found, found
    readable = [readout(x, v, half) for v in variables]
    assert min(readable) > 0.95, readable
    if not is_found:
        assert max(m.precision * m.recall for m in found) < 0.5, found


def readout(x, variable, half):
    """AUROC of a least-squares readout on the problems that did not fit it."""
    one = torch.cat([x, torch.ones(len(x), 1)], 1)
    fit, test = variable.domain & half, variable.domain & ~half
    weights = torch.linalg.lstsq(one[fit], variable.holds[fit].float()[:, None]).solution
    return area_under_curve((one[test] @ weights)[:, 0].numpy(), variable.holds[test].numpy())


def test_clamping_a_saved_latent_moves_the_stream_by_its_row(trained, tiny, tmp_path):
    save_sae(tmp_path, trained[2])
    sae = load_sae(tmp_path)
    clean = run(tiny, [ROWS[0]], capture=[SITE]).captures[SITE][0]
    before = sae.encode(clean)[-1, 5]
    edit = Intervention(SITE, ClampLatent(sae, 5), dose=3.0, positions=(-1,))
    moved = run(tiny, [ROWS[0]], interventions=[edit], capture=[SITE]).captures[SITE][0]
    assert torch.allclose(moved[-1] - clean[-1], (3.0 - before) * sae.W_dec[5], atol=1e-4)
    assert torch.equal(moved[:-1], clean[:-1])
    assert generate(tiny, [ROWS[0]], max_new_tokens=2, interventions=[edit])[0].receipts


def bundled():
    return sorted(path.parent for path in saes_folder().glob("*/card.json"))


def test_every_base_organism_has_an_sae_and_base_one_behind_its_last_layer():
    assert [path.name for path in bundled()] == [
        "base-no-chains-s0",
        "base-s0",
        "base-s0-blocks.2.hook_resid_post",
        "base-s1-blocks.2.hook_resid_post",
        "base-s2-blocks.2.hook_resid_post",
        "clinic-base-s0",
        "dispatch-base-s0",
    ]


@pytest.mark.parametrize("folder", bundled(), ids=lambda path: path.name)
def test_a_bundled_sae_is_the_one_of_its_card(folder):
    card = json.loads((folder / "card.json").read_text())
    weights = folder / "sae_weights.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == card["sae_sha256"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000
    model = load_model(organism_path(card["name"], card["seed"]))
    site = parse_site(card["site"])
    assert find_sae(model, site=site) == folder and sae_site(load_sae(folder)) == site
    assert card["training"] == asdict(SETTINGS[site])
    held_out = draw_documents(card["name"], 150, seed=7)
    rows, learned = [d.ids for d in held_out], [d.learned for d in held_out]
    found = measure_fidelity(load_sae(folder), model, rows, learned)
    assert abs(found.l0 - card["training"]["k"]) < 0.1 * card["training"]["k"]
    assert found.fvu == pytest.approx(card["figures"]["fvu"], rel=0.25)
    assert found.loss_recovered > 0.98 and found.loss_with_error < found.loss_spliced
    assert {match["kind"] for match in card["matches"]} <= set(get_args(TokenClass))


@pytest.mark.parametrize("name", ["base", "clinic-base"])
def test_no_question_of_the_held_out_texts_was_trained_on(name):
    ids = VOCABULARIES[RECIPES[name].world].ids
    trained = draw_documents(name, N_DOCUMENTS, seed=0)
    seen = {cut_question(document.ids, ids) for document in trained}

    def kinds(documents):
        return [(ids["Q"] in d.ids, ids["<think>"] in d.ids) for d in documents]

    drawn = draw_documents(name, 200, seed=1)
    unseen = draw_unseen(name, 200, seed=1, trained=trained)
    assert any(ids["Q"] in d.ids and cut_question(d.ids, ids) in seen for d in drawn)
    assert not any(ids["Q"] in d.ids and cut_question(d.ids, ids) in seen for d in unseen)
    assert kinds(drawn) == kinds(unseen)


def test_texts_with_the_same_question_are_on_one_side():
    asked = [f"Q {a} {sign} {b} ?" for a in range(8) for sign in "+-" for b in range(8)]
    rows = [
        WORDS.encode(f"<bos> {text}{rest} <eos>")
        for text in asked
        for rest in (" A 7", " <think> ; </think> A 7", " <think> ; ; </think> A 7")
    ]
    sides = split_in_half(rows, WORDS.ids).split([len(row) for row in rows])
    assert all(side.unique().numel() == 1 for side in sides)
    first = torch.stack([side[0] for side in sides]).view(len(asked), 3)
    assert bool((first == first[:, :1]).all()) and 0.3 < float(first.float().mean()) < 0.7


def matched(seed, site):
    """Matches of running value and result, on questions that the SAE was not trained on."""
    model = load_model(organism_path("base", seed))
    trained = draw_documents("base", N_DOCUMENTS, seed=0)
    rows = [document.ids for document in draw_unseen("base", 1500, seed=8, trained=trained)]
    half = split_in_half(rows, WORDS.ids)
    variables = [v for v in arith_variables(rows, WORDS.ids) if not v.name.startswith("operator")]
    acts = encode_rows(sae_reader(load_sae(find_sae(model, site=site)), model), rows).acts
    return match_latents(acts, variables, half)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_running_value_is_found_behind_the_last_layer(seed):
    """The settings were chosen on seed 0, where one of the eleven values is split."""
    found = matched(seed, LAST)
    groups = [min(match.group_precision, match.group_recall) for match in found]
    alone = [min(match.precision, match.recall) for match in found]
    assert len(found) == 22 and min(groups) > 0.75 and sum(groups) / 22 > 0.85, groups
    assert sum(least > 0.75 for least in alone) >= (20 if seed == 0 else 22), alone


def test_the_running_value_is_not_found_in_the_middle():
    assert max(min(match.precision, match.recall) for match in matched(0, MIDDLE)) < 0.8


def test_a_model_without_an_sae_is_told_which_there_are(tiny):
    with pytest.raises(ValueError, match="there are: base-no-chains-s0, base-s0"):
        find_sae(tiny)
    with pytest.raises(ValueError, match="pretraining of an organism, and 'grpo' has none"):
        draw_documents("grpo", 1, seed=0)
