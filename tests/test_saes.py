"""SAEs: planted features are found, thresholds hold, splices are exact, and injection can tell."""

import hashlib
import json
import math
from dataclasses import asdict
from random import Random
from typing import get_args

import numpy as np
import pytest
import torch

from interp.directions import auroc
from interp.engine import generate, run
from interp.interventions import ClampLatent, Intervention
from interp.models import load_model
from interp.organisms.arith.documents import chain_document
from interp.organisms.arith.problems import WORDS
from interp.organisms.arith.splits import sample_problem
from interp.organisms.zoo import organism_path
from interp.saes import (
    Injection,
    Latents,
    TopToken,
    Training,
    Variable,
    calibrate,
    encode_rows,
    falsify,
    find_sae,
    load_sae,
    match_latents,
    measure_fidelity,
    reason_score,
    sae_reader,
    sae_site,
    saes_folder,
    save_sae,
    score_latents,
    splice,
    top_tokens,
    train_sae,
)
from interp.saes.bundled import LAST, MIDDLE, SETTINGS, draw_documents
from interp.saes.fidelity import unexplained
from interp.saes.injection import Class, classify, cohens_d, inject
from interp.saes.variables import arith_variables, chain_variable
from interp.sites import Site, parse_site
from interp.vectors import load_latent

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

    settings = Training(d_sae=64, k=K, steps=1200, batch=256, lr=3e-3)
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


def test_reason_score_by_hand():
    # Two texts; words 7 and 8 are two groups of reasoning words; window: the word itself.
    tokens = torch.tensor([1, 7, 8, 5, 1, 5, 7, 5])
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    acts = torch.zeros(8, 3)
    acts[tokens == 7, 0] = 2.0  # one word only
    acts[tokens == 7, 1] = 2.0
    acts[tokens == 8, 1] = 2.0  # both words alike
    acts[tokens == 5, 2] = 3.0  # elsewhere
    found = reason_score(Latents(acts, tokens, rows), [{7}, {8}], ignored={1}, window=(0, 0))
    # m+ over the three words: 4/3, 2, 0; H = 0, 1; m- over the three fives: 0, 0, 3.
    assert found.tolist() == pytest.approx([0.0, 2 / (4 / 3 + 2), -1.0])
    one = reason_score(Latents(acts, tokens, rows), [{7}], ignored={1}, window=(0, 0))
    assert float(one[0]) == pytest.approx(2 / 4), "with one group nothing is divided by entropy"


def test_windows_stay_in_their_text():
    tokens, rows = torch.tensor([5, 5, 7, 5, 5, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    acts = torch.tensor([[0.0], [1.0], [1.0], [4.0], [0.0], [0.0]])
    found = reason_score(Latents(acts, tokens, rows), [{7}], window=(-1, 2))
    assert float(found[0]) == pytest.approx(0.0), "both shares are 1"
    with pytest.raises(ValueError, match="none of the 1 groups"):
        reason_score(Latents(acts, tokens, rows), [{9}])


def test_scores_agree_with_their_definitions():
    generator = torch.Generator().manual_seed(0)
    acts = torch.randn(80, 5, generator=generator).relu()
    acts[:, 4] = 0
    holds = torch.rand(80, generator=generator) < 0.3
    found = score_latents(acts, holds)
    for latent in range(5):
        says, truth = (acts[:, latent] > 0).tolist(), holds.tolist()
        both = sum(a and b for a, b in zip(says, truth, strict=True))
        if any(says):
            assert float(found.precision[latent]) == pytest.approx(both / sum(says))
        assert float(found.recall[latent]) == pytest.approx(both / sum(truth))
        true, false = acts[holds, latent].tolist(), acts[~holds, latent].tolist()
        wins = sum((a > b) + (a == b) / 2 for a in true for b in false)
        assert float(found.auroc[latent]) == pytest.approx(wins / len(true) / len(false))
    assert math.isnan(float(found.precision[4])) and float(found.f1[4]) == 0
    assert float(found.auroc[4]) == 0.5


def test_the_best_latent_is_scored_where_it_was_not_chosen():
    generator = torch.Generator().manual_seed(1)
    holds = torch.rand(400, generator=generator) < 0.5
    chooses = torch.arange(400) < 40
    acts = (torch.rand(400, 300, generator=generator) < 0.5).float()
    domain = torch.ones(400, dtype=torch.bool)
    (noise,) = match_latents(acts, [Variable("v", holds, domain)], chooses)
    assert abs(noise.auroc - 0.5) < 0.1, "the best of 300 by luck falls back"
    on_its_own = score_latents(acts[chooses], holds[chooses])
    assert float(on_its_own.auroc[noise.latent]) > 0.65, "on the side that chose it looked better"
    acts[:, 17] = holds.float()
    (true,) = match_latents(acts, [Variable("v", holds, domain)], chooses)
    assert (true.latent, true.precision, true.recall, true.auroc) == (17, 1, 1, 1)
    with pytest.raises(ValueError, match="not both true and false"):
        match_latents(acts, [Variable("v", domain, domain)], chooses)


def test_a_variable_that_is_split_among_latents_is_found_by_their_group():
    """One latent has two thirds of the truth, one the rest, and noise is often wrong."""
    generator = torch.Generator().manual_seed(3)
    holds = torch.arange(400) % 2 == 0
    acts = (torch.rand(400, 20, generator=generator) < 0.5).float()
    acts[:, 4], acts[:, 9] = (
        (holds & (torch.arange(400) % 6 != 0)).float(),
        (holds & (torch.arange(400) % 6 == 0)).float(),
    )
    domain = torch.ones(400, dtype=torch.bool)
    (found,) = match_latents(acts, [Variable("v", holds, domain)], torch.arange(400) < 200)
    assert (found.latent, found.group) == (4, (4, 9))
    assert found.precision == 1 and found.recall == pytest.approx(2 / 3, abs=0.01)
    assert (found.group_precision, found.group_recall) == (1, 1)
    acts[:, 4] = holds.float()
    (whole,) = match_latents(acts, [Variable("v", holds, domain)], torch.arange(400) < 200)
    assert whole.group == (4,) and whole.group_recall == whole.recall == 1


def test_variables_of_a_chain_by_hand():
    text = "<bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 times 2 is 3 ; </think> A 3 <eos>"
    rows = [WORDS.encode(text), WORDS.encode("<bos> Q 3 + 4 ? A 7 <eos>")]
    inside = chain_variable(rows, WORDS.ids)
    words = text.split()
    start, end = words.index("<think>"), words.index("</think>")
    assert inside is not None
    assert inside.holds.nonzero()[:, 0].tolist() == list(range(start, end))
    assert int(inside.domain.sum()) == len(rows[0]) + len(rows[1]) - 2
    found = {variable.name: variable for variable in arith_variables(rows, WORDS.ids)}
    assert len(found) == 11 + 11 + 3

    def where(name):
        return [at - start - 1 for at in found[name].holds.nonzero()[:, 0].tolist()]

    assert where("running value 7") == [3, 5] and where("running value 3") == [9]
    assert int(found["running value 7"].domain.sum()) == 3
    assert where("result 7 at =") == [3] and where("result 3 at =") == [9]
    assert where("operator +") == [1, 2, 3] and where("operator *") == [7, 8, 9]
    assert int(found["operator -"].domain.sum()) == 6 and where("operator -") == []


def chains(n):
    """Texts with chains, and for each position the step it is in if its value is held there."""
    rng = Random("chains of a toy")
    rows, steps = [], []
    for _ in range(n):
        problem = sample_problem(rng, rng.choice((2, 3, 4)))
        rows.append(chain_document(problem, rng, spoken=0.0).ids)
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
        endless(), 64, SITE, Training(d_sae=128, k=2.0, steps=700, batch=512, lr=3e-3), {}
    )
    acts = calibrate(sae, x, 2.0, dtype="float32").encode(x)
    variables = [v for v in arith_variables(rows, WORDS.ids) if v.name.startswith("running")]
    half = torch.cat([torch.full((len(row),), n % 2 == 0) for n, row in enumerate(rows)])
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
    return auroc((one[test] @ weights)[:, 0].numpy(), variable.holds[test].numpy().astype(int))


# A reader without a model: latent 0 is active on the token "=", latent 1 where the sum so far is 7
# modulo 11, whatever the token, latent 2 never. The first token says where the sum starts.
N_NUMBERS, EQUALS, ASK = 44, 90, 91
STARTS = range(100, 111)


def symbolic(rows):
    found = []
    for row in rows:
        acts = torch.zeros(len(row), 3)
        total = row[0]
        for at, token in enumerate(row):
            total += token if token < N_NUMBERS else 0
            acts[at, 0] = float(token == EQUALS)
            acts[at, 1] = float(total % 11 == 7 and at > 0)
        found.append(acts)
    return found


def make_texts(n, *, chains):
    rng = Random(f"texts {chains}")
    rows = []
    for _ in range(n):
        numbers = [rng.randrange(N_NUMBERS) for _ in range(4)]
        rows.append(
            [rng.choice(STARTS), *numbers, ASK] + ([EQUALS, rng.randrange(N_NUMBERS)] * 3) * chains
        )
    return rows


def test_injection_flags_the_cue_and_not_what_is_computed():
    settings = Injection()
    at_home = encode_rows(symbolic, make_texts(600, chains=True))
    tokens = {latent: top_tokens(at_home, latent, settings, STARTS) for latent in range(3)}
    assert [one.token for one in tokens[0]] == [EQUALS] and tokens[2] == ()
    cue, computed, dead = falsify(symbolic, tokens, make_texts(600, chains=False), settings)
    assert cue.kind == "token-driven" and cue.d == math.inf and cue.p < 1e-6
    assert cue.d_alike == 0, "other words do not wake it"
    assert computed.d_alike > 0.2, "any number changes the sum: without a control it is flagged"
    assert computed.kind == "context-dependent" and computed.d < 0.2, computed
    assert dead.kind == "context-dependent" and math.isnan(dead.d)
    again = falsify(symbolic, tokens, make_texts(600, chains=False), settings)
    assert again[1] == computed


def test_what_words_wake_by_absence_is_not_driven_by_them():
    """Latent 0 is active unless a foreign word follows: others silence it, its own leave it be."""

    def silenced(rows):
        quiet = [any(token > 50 for token in row) for row in rows]
        return [torch.full((len(row), 1), float(not q)) for row, q in zip(rows, quiet, strict=True)]

    own = TopToken(3, (60, 61))
    (found,) = falsify(silenced, {0: (own,)}, [[1, 2, 4]] * 20, Injection())
    assert found.d == 0 and found.d_alike == -math.inf and found.kind == "context-dependent"


def test_controls_have_nearly_the_frequency_of_their_token():
    tokens = torch.tensor([1] * 400 + [2] * 200 + [3] * 190 + [4] * 8 + [5] * 7 + [6] * 2)
    acts = torch.isin(tokens, torch.tensor([2, 4])).float()[:, None]
    latents = Latents(acts, tokens, torch.zeros_like(tokens))
    found = {one.token: one.alike for one in top_tokens(latents, 0, Injection(), {1})}
    assert found == {2: (3, 5), 4: (5, 3)}, "6 is too rare, 1 is special, top tokens are none"
    with pytest.raises(ValueError, match="none to compare with"):
        top_tokens(latents, 0, Injection(), {1, 3, 5})


def test_ways_of_injection():
    row, rng = [99, 1, 2, 3, 4], Random(0)
    assert inject(row, [7, 8], "first", rng) == [99, 7, 8, 1, 2, 3, 4]
    assert inject(row, [7, 8], "last", rng) == [99, 1, 2, 3, 4, 7, 8]
    for way, n in (("spread", 7), ("replace", 5)):
        found = inject(row, [7, 8], way, rng)
        assert len(found) == n and found[0] == 99 and {7, 8} <= set(found)
        kept = [token for token in found[1:] if token not in (7, 8)]
        assert kept == [token for token in row[1:] if token in kept]
    assert row == [99, 1, 2, 3, 4]


def test_effect_sizes_and_classes():
    after, before = torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])
    assert cohens_d(after, before) == pytest.approx(2 / math.sqrt((4 + 1) / 2))
    same = torch.ones(5)
    assert cohens_d(same, same) == 0 and cohens_d(same, 0 * same) == math.inf
    assert classify(0.8, 0.001) == "token-driven" and classify(0.8, 0.02) != "token-driven"
    assert classify(0.6, 0.02) == "partially token-driven"
    assert classify(0.3, 0.02) == "weakly token-driven"
    assert classify(0.3, 0.2) == classify(-2.0, 0.001) == "context-dependent"
    with pytest.raises(ValueError, match="at least 10 texts"):
        tokens = {0: (TopToken(EQUALS, (1,)),)}
        falsify(symbolic, tokens, make_texts(3, chains=False), Injection())


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
    assert {match["kind"] for match in card["matches"]} <= set(get_args(Class))


def matched(seed, site):
    """Matches of running value and result, on texts that neither training nor card has seen."""
    model = load_model(organism_path("base", seed))
    rows = [document.ids for document in draw_documents("base", 1500, seed=8)]
    half = torch.cat([torch.full((len(row),), n % 2 == 0) for n, row in enumerate(rows)])
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


def test_auroc_agrees_with_that_of_directions():
    generator = torch.Generator().manual_seed(2)
    acts = torch.randn(60, 1, generator=generator).relu()
    holds = torch.rand(60, generator=generator) < 0.5
    expected = auroc(acts[:, 0].numpy(), holds.numpy().astype(int))
    assert float(score_latents(acts, holds).auroc[0]) == pytest.approx(expected)
