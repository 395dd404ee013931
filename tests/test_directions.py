"""Directions: each fit and each control against a truth worked out another way."""

import math

import numpy as np
import pytest
import torch

from interp.engine import run
from interp.methods.directions import (
    Activations,
    Direction,
    Source,
    collect,
    cosine,
    first_component,
    fit_linear_probe,
    logit_lens,
    make_direction,
    mean_difference,
    opposite,
    project,
    random_directions,
    span_and_before,
    token_alignment,
    token_direction,
    token_matched_difference,
    window_before,
    with_reference,
)
from interp.models import load_model
from interp.sites import Site
from interp.stats.auroc import area_under_curve

SITE = Site(1, "resid_post")
ROWS = [[1, 6, 17, 30, 12], [1, 6, 20], [1, 6, 18, 22, 9, 14]]
D = 24


def made(values, tokens=None, problems=None, model="m", site=SITE):
    n = len(values)
    return Activations(
        torch.as_tensor(values, dtype=torch.float32),
        tuple(tokens) if tokens is not None else (0,) * n,
        tuple(problems) if problems is not None else tuple(range(n)),
        site, model, f"weights of {model}", "texts",
    )  # fmt: skip


def noise(n, seed, d=D):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_collected_activations_are_those_of_each_text_alone(tiny):
    found = collect(tiny, ROWS, [(0, -1), (), (2, 3)], SITE, problems=["a", "b", "c"])
    expected = []
    for row, at in ((0, 0), (0, 4), (2, 2), (2, 3)):
        expected.append(run(tiny, [ROWS[row]], capture=[SITE]).captures[SITE][0][at])
    assert torch.allclose(found.values, torch.stack(expected), atol=1e-5)
    assert found.tokens == (1, 12, 18, 22)
    assert found.problems == ("a", "a", "c", "c")
    assert found.weights_sha256 == tiny.weights_sha256
    other = collect(tiny, ROWS, [(0, -1), (), (2, 4)], SITE)
    assert other.texts_sha256 != found.texts_sha256


def test_windows_and_spans():
    assert window_before([20]) == (8, 9, 10, 11, 12)
    assert window_before([20, 22], offset=3, length=2) == (17, 18, 19, 20)
    assert window_before([4], offset=4, length=3, first=1) == (1, 2)
    assert span_and_before([(3, 5), (0, 1)]) == (0, 2, 3, 4)
    with pytest.raises(ValueError, match="length may be 1 to 12"):
        window_before([20], offset=3, length=4)


def test_mean_difference_by_a_loop(tiny):
    sides = [collect(tiny, ROWS, [(at,) for _ in ROWS], SITE) for at in (-1, 1)]
    expected = [
        sum(float(x) for x in sides[0].values[:, i]) / 3
        - sum(float(x) for x in sides[1].values[:, i]) / 3
        for i in range(tiny.d_model)
    ]
    found = mean_difference(*sides)
    length = math.sqrt(sum(x * x for x in expected))
    assert found.length == pytest.approx(length, rel=1e-5)
    assert torch.allclose(found.vector, torch.tensor(expected) / length, atol=1e-5)
    norms = [float(x.norm()) for side in sides for x in side.values]
    assert found.reference_norm == pytest.approx(sum(norms) / 6, rel=1e-5)
    assert found.natural_dose == pytest.approx(length / (sum(norms) / 6), rel=1e-5)
    assert found.source.models == (tiny.name,)
    assert float(project(found, sides[0].values).mean()) > float(
        project(found, sides[1].values).mean()
    )


def test_first_component_finds_the_axis_on_which_pairs_differ_in_both_ways():
    axis, bias = torch.eye(D)[3], torch.eye(D)[7]
    signs = torch.tensor([3.0, -3.0] * 20)[:, None]
    base = noise(40, 0)
    positive = base + signs * axis + 0.5 * bias + 0.01 * noise(40, 1)
    component = first_component(made(positive), made(base))
    difference = mean_difference(made(positive), made(base))
    assert abs(float(component.vector @ axis)) > 0.98
    assert float(difference.vector @ bias) > 0.99
    deltas = (positive - base).double()
    largest = torch.linalg.eigh(deltas.T @ deltas / 40).eigenvectors[:, -1]
    assert abs(float(largest @ component.vector.double())) == pytest.approx(1, abs=1e-6)
    assert float((deltas @ component.vector.double()).mean()) > 0


def test_linear_probe_on_planted_classes_and_on_none():
    plant = torch.eye(D)[2]
    problems = [f"{side}{n // 2}" for side in "pn" for n in range(80)]
    positive = made(noise(80, 0) + 3 * plant, problems=problems[:80])
    negative = made(noise(80, 1) - 3 * plant, problems=problems[80:])
    found = fit_linear_probe(positive, negative, seed=0)
    assert found.auroc > 0.99
    assert found.is_decodable
    assert float(found.direction.vector @ plant) > 0.9
    assert found.n_train + found.n_test == 160
    null = fit_linear_probe(made(noise(80, 0)), made(noise(80, 1)), seed=0, n_shuffles=40)
    assert 0.3 < np.mean(null.shuffled) < 0.7
    assert np.mean(null.shuffled) == pytest.approx(0.5, abs=0.06)
    assert null.band[0] <= null.auroc <= null.band[1]


def test_linear_probe_solves_the_penalised_problem():
    """The gradient of the written-out loss is zero at the solution."""
    from interp.methods.directions.linear_probe import _newton

    x = noise(50, 3, 6).double().numpy()
    y = (x[:, 0] + 0.5 * noise(50, 4, 1).double().numpy()[:, 0] > 0).astype(float)
    weights = torch.tensor(_newton(x, y, 0.7), requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    inputs, labels = torch.tensor(x), torch.tensor(y)
    optimiser = torch.optim.LBFGS([bias], max_iter=200, tolerance_grad=1e-12)

    def loss():
        score = inputs @ weights + bias
        return (
            torch.nn.functional.binary_cross_entropy_with_logits(score, labels, reduction="sum")
            + 0.35 * weights.square().sum()
        )

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    weights.grad = None
    loss().backward()
    assert float(weights.grad.abs().max()) < 1e-5


def test_a_linear_probe_never_tests_on_a_problem_that_it_has_seen():
    """Each problem has a fingerprint of its own and no shared signal: only leakage could help."""
    prints = 5 * noise(40, 5, 64)
    values = prints.repeat_interleave(4, 0) + 0.01 * noise(160, 6, 64)
    names = [n // 4 for n in range(160)]
    found = fit_linear_probe(
        made(values[:80], problems=names[:80]), made(values[80:], problems=names[80:]), seed=1
    )
    assert found.auroc < 0.95


def test_auroc_by_counting_pairs():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, 40).astype(float), rng.integers(0, 2, 40).astype(float)
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[labels == 1]
        for b in scores[labels == 0]
    ]
    assert area_under_curve(scores, labels == 1) == pytest.approx(np.mean(pairs))
    assert math.isnan(area_under_curve(scores, np.ones(40, dtype=bool)))


def test_random_directions_have_the_norms_of_what_they_control_for():
    like = make_direction(7 * noise(1, 0)[0], SITE, Source("test"), reference_norm=3.0)
    drawn = random_directions(like, 200, seed=1)
    assert all(abs(float(one.vector.norm()) - 1) < 1e-6 for one in drawn)
    assert {(one.length, one.reference_norm, one.site) for one in drawn} == {
        (like.length, 3.0, SITE)
    }
    again = random_directions(like, 200, seed=1)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(drawn, again, strict=True))
    cosines = torch.tensor([cosine(like, one) for one in drawn])
    assert abs(float(cosines.mean())) < 0.06
    assert float(cosines.std()) == pytest.approx(1 / math.sqrt(D), rel=0.2)


def test_controls_by_tokens_tell_a_word_from_a_behaviour():
    """Activation = token + behaviour: the two controls take it apart."""
    embed, behaviour = 4 * noise(3, 9), torch.nn.functional.normalize(noise(1, 10)[0], dim=0)
    tokens = [0, 0, 0, 1] * 25
    plain = [1, 2] * 50
    everywhere = [0, 1, 2] * 40
    positive = made(embed[tokens] + behaviour + 0.01 * noise(100, 11), tokens)
    negative = made(embed[plain] + 0.01 * noise(100, 12), plain)
    elsewhere = made(embed[everywhere] + 0.01 * noise(120, 13), everywhere)
    raw = mean_difference(positive, negative)
    assert float(raw.vector @ behaviour) < 0.5, "a difference of words hides the behaviour"
    matched = token_matched_difference(positive, elsewhere)
    assert float(matched.vector @ behaviour) > 0.999
    words = token_direction(positive, negative, elsewhere)
    truth = 0.75 * embed[0] + 0.25 * embed[1] - 0.5 * embed[1] - 0.5 * embed[2]
    assert float(words.vector @ truth / truth.norm()) > 0.999
    assert cosine(raw, words) > 0.9
    with pytest.raises(ValueError, match="only 25 of 100 have their token elsewhere"):
        token_matched_difference(positive, made(embed[[1, 1]], [1, 1]))


def test_cosines_between_models_and_refusals(tiny_pair):
    base, post = (
        mean_difference(
            collect(model, ROWS, [(-1,)] * 3, SITE), collect(model, ROWS, [(1,)] * 3, SITE)
        )
        for model in (tiny_pair.base, tiny_pair.post)
    )
    assert -1 <= cosine(base, post) <= 1
    assert cosine(base, base) == pytest.approx(1)
    assert cosine(base, opposite(base)) == pytest.approx(-1)
    other = make_direction(noise(1, 0)[0], Site(0, "resid_post"), Source("test"))
    with pytest.raises(ValueError, match="Fit both at the same one"):
        cosine(base, other)
    with pytest.raises(ValueError, match="one width, received 32 and 24"):
        cosine(base, make_direction(noise(1, 0)[0], SITE, Source("test")))
    both = mean_difference(
        collect(tiny_pair.post, ROWS, [(-1,)] * 3, SITE),
        collect(tiny_pair.base, ROWS, [(-1,)] * 3, SITE),
    )
    assert both.source.models == (tiny_pair.post.name, tiny_pair.base.name)


def test_logit_lens_and_alignment_by_hand(tiny):
    """Width 32: RMSNorm scales a vector to norm sqrt(32), times its weights."""
    weight = tiny.hf.get_output_embeddings().weight
    direction = make_direction(weight[5].clone(), SITE, Source("test"))
    scaled = direction.vector * math.sqrt(32) * tiny.hf.model.norm.weight
    expected = (weight @ scaled).detach()
    lens = logit_lens(tiny, with_reference(direction, 50.0), n=4)
    order = expected.argsort(descending=True).tolist()
    assert [token.id for token in lens.top] == order[:4]
    assert [token.id for token in lens.bottom] == order[::-1][:4]
    assert lens.top[0].score == pytest.approx(float(expected.max()), rel=1e-3)
    assert lens.bottom[0].score == pytest.approx(float(expected.min()), rel=1e-3)
    alignment = token_alignment(tiny, direction)
    assert alignment.unembed[0].id == 5
    assert alignment.unembed[0].text == tiny.tokenizer.decode([5])
    assert alignment.largest == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.zeros(D), "is zero and has no direction"),
        (torch.full((D,), float("nan")), "NaN or infinity"),
    ],
)
def test_vectors_that_are_no_direction_are_refused(vector, message):
    with pytest.raises(ValueError, match=message):
        make_direction(vector, SITE, Source("test"))


def test_other_refusals_name_the_remedy(tiny):
    with pytest.raises(ValueError, match=r"Use make_direction"):
        Direction(torch.ones(D), SITE, Source("test"))
    assert make_direction(torch.ones(D), SITE, Source("test")).length == pytest.approx(math.sqrt(D))
    with pytest.raises(ValueError, match="one per head"):
        collect(tiny, ROWS, [(0,)] * 3, Site(0, "z"))
    with pytest.raises(ValueError, match="text 1 has 3 tokens"):
        collect(tiny, ROWS, [(0,), (3,), (0,)], SITE)
    with pytest.raises(ValueError, match="no position was chosen"):
        collect(tiny, ROWS, [(), (), ()], SITE)
    with pytest.raises(ValueError, match="at least 16 of each class"):
        fit_linear_probe(made(noise(10, 0)), made(noise(10, 1)), seed=0)
    with pytest.raises(ValueError, match="Use mean_difference"):
        first_component(made(noise(10, 0)), made(noise(9, 1)))
    wide = make_direction(noise(1, 0)[0], SITE, Source("test"))
    with pytest.raises(ValueError, match="24 wide"):
        logit_lens(tiny, wide)
    with pytest.raises(ValueError, match="both sides"):
        mean_difference(made(noise(4, 0)), made(noise(4, 0), site=Site(0, "resid_post")))


def test_biases_of_the_final_norm_cancel_in_the_lens(tmp_path):
    """GPT-2 style LayerNorm: the lens of v and of -v are opposite only if the bias is gone."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from interp.organisms.worlds.arith.problems import WORDS

    torch.manual_seed(0)
    size = len(WORDS.vocabulary)
    hf = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=64)
    )
    torch.nn.init.normal_(hf.transformer.ln_f.bias)
    folder = tmp_path / "small"
    hf.save_pretrained(folder)
    WORDS.tokenizer().save_pretrained(folder)
    model = load_model(folder)
    direction = make_direction(noise(1, 0, 32)[0], SITE, Source("test"))
    one, other = logit_lens(model, direction), logit_lens(model, opposite(direction))
    assert [token.id for token in one.top] == [token.id for token in other.bottom]
    assert one.top[0].score == pytest.approx(-other.bottom[0].score, rel=1e-4)


def test_shuffling_tears_no_problem_apart_even_beside_one_that_has_both_labels():
    from interp.methods.directions.linear_probe import _shuffled

    problems = [n // 10 for n in range(410)]
    labels = np.array([float(n // 10 % 2) for n in range(400)] + [0.0] * 4 + [1.0] * 6)
    moved = 0
    for seed in range(20):
        dealt = _shuffled(problems, labels, np.random.default_rng(seed)).reshape(41, 10)
        assert set(dealt[:40].std(1)) == {0.0}
        assert dealt[:40, 0].sum() == 20
        assert dealt[40].sum() == 6
        moved += int((dealt[:40, 0] != labels[:400:10]).sum())
    assert 300 < moved < 500


@pytest.mark.parametrize("settings", [{"n_shuffles": 0}, {"held_out": 1.0}])
def test_a_linear_probe_without_a_null_or_a_test_part_is_refused(settings):
    with pytest.raises(ValueError, match="judged on problems held out"):
        fit_linear_probe(made(noise(40, 0)), made(noise(40, 1)), seed=0, **settings)
