"""Failures that gave wrong numbers without a word in other tools, and the guards against them here.

tests/README.md is the table of all of them: what went wrong, and which test would notice;
`test_failure_table.py` holds it to what there is.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from interp.engine import Branch, Generation, generate, route, run, score_branches
from interp.interventions import ClampLatent, Intervention, add
from interp.models import hooked, load_model
from interp.models.checks import all_sites
from interp.sites import Site

TESTS = Path(__file__).parent
EXACT = 1e-4
SITE = Site(1, "resid_post")
PROMPTS = [[1, 6, 17, 30], [18, 10], [4, 4, 5], [9]]


def steer(**settings: Any) -> Intervention:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(3))
    return Intervention(SITE, add, vector, **{"dose": 1.5, **settings})


def read_again(model: Any, prompt: list[int], n: int) -> tuple[list[int], list[float]]:
    """Greedy steered writing by plain passes over the whole text, without a cache."""
    vector, ids, logprobs = 1.5 * steer().vector, list(prompt), list[float]()  # type: ignore[operator]
    layer = model.hf.model.layers[1]
    for _ in range(n):
        handle = layer.register_forward_hook(lambda _m, _a, out: out + vector)
        with torch.no_grad():
            row = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(-1)
        handle.remove()
        ids.append(int(row.argmax()))
        logprobs.append(float(row.max()))
    return ids[len(prompt) :], logprobs


def test_01_steering_is_not_skipped_at_cached_single_token_steps(tiny: Any):
    for prompt, found in zip(
        PROMPTS, generate(tiny, PROMPTS, max_new_tokens=6, interventions=[steer()]), strict=True
    ):
        assert found.receipts[0].positions == tuple(range(len(prompt) + 5))
        assert found.logprobs == pytest.approx(read_again(tiny, prompt, 6)[1], abs=EXACT)


def test_02_an_edit_that_misses_one_decoded_token_of_one_row_voids_the_result(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    """The hook fires at every step, so counting calls would not notice."""
    from interp.engine import decoder

    class Forgetful(decoder.Editor):
        n_moves = 0

        def move(self, rows: Any, first: Any, *, decoding: bool) -> None:
            self.n_moves += 1
            skipped = self.n_moves == 3
            super().move([-1, *rows[1:]] if skipped else rows, first, decoding=decoding)

    generate(tiny, PROMPTS, max_new_tokens=5, interventions=[steer()])
    monkeypatch.setattr(decoder, "Editor", Forgetful)
    with pytest.raises(RuntimeError, match=r"edited 8 positions of row 0 .*, and edited 7"):
        generate(tiny, PROMPTS, max_new_tokens=5, interventions=[steer()])


def test_03_the_cache_does_not_change_steered_text(tiny: Any):
    written = generate(tiny, PROMPTS, max_new_tokens=8, interventions=[steer()])
    assert [list(g.ids) for g in written] == [read_again(tiny, p, 8)[0] for p in PROMPTS]
    assert [g.ids for g in written] != [g.ids for g in generate(tiny, PROMPTS, max_new_tokens=8)]


def test_04_the_first_generated_token_is_steered(tiny: Any):
    plain = generate(tiny, PROMPTS, max_new_tokens=1)
    moved = generate(tiny, PROMPTS, max_new_tokens=1, interventions=[steer()])
    for prompt, one, two in zip(PROMPTS, plain, moved, strict=True):
        assert two.logprobs == pytest.approx(read_again(tiny, prompt, 1)[1], abs=EXACT)
        assert abs(one.logprobs[0] - two.logprobs[0]) > 1e-3 or one.ids != two.ids


@pytest.mark.parametrize("positions", ["all", "prompt", (-1,)])
def test_05_the_last_prompt_token_is_edited_and_the_receipt_says_so(tiny: Any, positions: Any):
    edit = steer(positions=positions)
    for prompt, found in zip(
        PROMPTS, generate(tiny, PROMPTS, max_new_tokens=3, interventions=[edit]), strict=True
    ):
        assert len(prompt) - 1 in found.receipts[0].positions


def test_06_the_error_term_does_not_cancel_an_edit_of_a_latent(tiny: Any):
    """The stream moves by the decoder row times the change of the latent, at every position."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import StandardSAE, StandardSAEConfig
    torch.manual_seed(0)
    sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=64)).requires_grad_(False)
    edit = Intervention(SITE, ClampLatent(sae, 5), dose=7.0)
    before, after = (
        run(tiny, PROMPTS, interventions=edits, capture=[SITE]).captures[SITE]
        for edits in ((), (edit,))
    )
    for x, y in zip(before, after, strict=True):
        change = 7.0 - sae.encode(x)[:, 5, None]
        assert torch.allclose(y - x, change * sae.W_dec[5], atol=EXACT)
        assert (y - x).norm(dim=-1).min() > 1


@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_07_padding_is_not_attended_to(tiny: Any, pad_side: Any):
    found = run(tiny, PROMPTS, pad_side=pad_side)
    for prompt, logits in zip(PROMPTS, found.logits, strict=True):
        with torch.no_grad():
            alone = tiny.hf(torch.tensor([prompt]), use_cache=False).logits[0]
        assert torch.allclose(logits, alone, atol=EXACT)


def test_08_padding_stays_hidden_at_every_step(tiny: Any):
    together = generate(tiny, PROMPTS, max_new_tokens=12)
    for prompt, found in zip(PROMPTS, together, strict=True):
        alone = generate(tiny, [prompt], max_new_tokens=12)[0]
        assert found.ids == alone.ids
        assert found.logprobs == pytest.approx(alone.logprobs, abs=EXACT)


def test_09_a_text_has_one_beginning_of_text():
    """With a tokenizer that adds one by itself, and a question that already has its own."""
    from tokenizers import processors

    from interp.chains.texts import decode, encode
    from interp.organisms.worlds.arith.problems import WORDS

    adding = WORDS.tokenizer()
    adding.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    ids = encode(adding, "<bos> Q 3 + 4 ?")
    assert adding("<bos> Q 3 + 4 ?").input_ids.count(1) == 2 and ids.count(1) == 1
    assert encode(adding, decode(adding, ids)) == ids


def test_10_a_site_that_never_fires_is_an_error(tiny: Any):
    with (
        pytest.raises(RuntimeError, match="never computed"),
        hooked(tiny, [(SITE, lambda activation: activation + 1)]),
    ):
        tiny.hf.model.embed_tokens(torch.tensor([[1]]))


def test_11_no_hook_outlives_its_use(tiny: Any):
    def census() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.hf.modules())

    before = census()
    everywhere = [(site, torch.clone) for site in all_sites(tiny)]
    with pytest.raises(ZeroDivisionError), hooked(tiny, everywhere):
        assert census() > before
        raise ZeroDivisionError
    overdose = [steer(dose=3e38)]
    for work in (
        lambda: run(tiny, PROMPTS, interventions=overdose),
        lambda: generate(tiny, PROMPTS, max_new_tokens=2, interventions=overdose),
    ):
        with pytest.raises(ValueError, match="not finite"):
            work()
    assert census() == before


def test_13_weights_are_used_as_they_are_in_the_file(tiny_folder: Path):
    """Nothing is folded or centred, so both models of a pair are read in the same form."""
    from safetensors.torch import load_file

    model, file = load_model(tiny_folder), tiny_folder / "model.safetensors"
    state = model.hf.state_dict()
    stored = load_file(file)
    assert set(stored) <= set(state) and len(stored) > 20
    assert all(torch.equal(state[name], weight) for name, weight in stored.items())
    assert model.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_14_an_sae_with_scaled_inputs_is_refused_until_it_is_folded():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import StandardSAE, StandardSAEConfig
    scaled = {"normalize_activations": "expected_average_only_in"}
    sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=64, **scaled)).requires_grad_(False)
    with pytest.raises(ValueError, match="rescales its input"):
        ClampLatent(sae, 0)
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    latents = sae.encode(2.0 * x)[:, :1]
    sae.fold_activation_norm_scaling_factor(2.0)
    assert torch.allclose(ClampLatent(sae, 0)(x, x, latents), x, atol=1e-5)


def test_15_a_mean_explains_nothing_and_batches_do_not_matter():
    from interp.methods.crosscoder import Crosscoder, inspect_latents
    from interp.methods.saes.fidelity import unexplained

    rng = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(64, 8, generator=rng)
    assert unexplained(x, x.mean(0).expand_as(x)) == pytest.approx(1)
    assert unexplained(x, x) == 0
    halfway = (x + x.mean(0)) / 2
    assert unexplained(x, halfway) == pytest.approx(0.25)
    assert unexplained(x.repeat(5, 1), halfway.repeat(5, 1)) == pytest.approx(0.25)
    pairs = torch.stack([x, 2 * x], dim=1)
    weights = torch.zeros(2, 8, 4)
    silent = Crosscoder(
        weights, torch.zeros(4), weights.mT, pairs.mean(0), torch.ones(2), torch.tensor(1.0)
    )
    assert inspect_latents(silent, [pairs]).fvu == pytest.approx((1, 1), rel=1e-5)
    W_enc, W_dec = torch.randn(2, 8, 4, generator=rng), torch.randn(2, 4, 8, generator=rng)
    random = replace(silent, W_enc=W_enc, W_dec=W_dec)
    whole, parts = inspect_latents(random, [pairs]), inspect_latents(random, pairs.split(7))
    assert whole.fvu == pytest.approx(parts.fvu, rel=1e-5) and whole.fvu[0] > 1


def test_16_stored_activations_are_shuffled_and_an_sae_comes_back_as_it_was(
    tiny: Any, tmp_path: Path
):
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    from interp.methods.activation_store import capture
    from interp.methods.saes import load_sae, save_sae

    store = capture({"model": tiny}, PROMPTS * 8, [SITE], tmp_path / "store", shard_tokens=20)
    kept = store.values("model", SITE)
    (epoch,) = {next(store.batches("model", SITE, store.n_tokens, seed=0))}
    assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, kept.tolist()))
    assert int((epoch == kept).all(1).sum()) < len(kept) / 2
    config = JumpReLUSAEConfig(d_in=32, d_sae=64)
    config.metadata.hook_name = str(SITE)
    sae = JumpReLUSAE(config).requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for weight in sae.parameters():
        weight.copy_(torch.randn(weight.shape, generator=rng))
    save_sae(tmp_path / "sae", sae, dtype="float32")
    again = load_sae(tmp_path / "sae")
    named = dict(again.named_parameters())
    assert {"b_enc", "b_dec", "threshold"} <= named.keys()
    assert all(torch.equal(named[name], weight) for name, weight in sae.named_parameters())
    assert torch.equal(again(kept), sae(kept))


def test_17_a_result_that_is_there_twice_is_refused():
    from interp.results.rows import Item
    from interp.results.summaries import summarise

    item = Item(
        probe="p", writer="gold", reader="base", task="t", example="e0", problem="e0",
        condition="c", metric="m", value=1.0,
    )  # fmt: skip
    assert summarise([item], pair="a", chance={"t": 0.5}, seed=0)[0].n == 1
    with pytest.raises(ValueError, match="received two for example 'e0'"):
        summarise([item, replace(item, value=0.0)], pair="a", chance={"t": 0.5}, seed=0)


def test_18_ids_out_of_range_are_refused_and_positions_are_those_of_the_row(tiny: Any):
    with pytest.raises(ValueError, match="knows ids 0 to"):
        run(tiny, [[1, tiny.d_vocab]])
    receipts = run(tiny, PROMPTS, interventions=[steer(positions=(-1,))]).receipts
    assert [receipt.positions for receipt in receipts] == [(len(p) - 1,) for p in PROMPTS]


def test_19_information_gain_scores_the_answer_and_divides_by_the_steps(tiny: Any):
    """Two steps: perplexities of the answer 11, 11, 1, a mean drop of (0 + 10) / 2."""
    from math import log

    from probes.information_gain import infogain_ppl

    assert infogain_ppl([-log(11), -log(11), 0.0], 1) == pytest.approx(5.0)
    (score,) = score_branches(tiny, [PROMPTS[0]], [[Branch(3, (7, 8))]])[0]
    ids = torch.tensor([[*PROMPTS[0][:3], 7, 8]])
    with torch.no_grad():
        rows = tiny.hf(ids, use_cache=False).logits[0].log_softmax(-1)
    assert score.logprobs.tolist() == pytest.approx(
        [float(rows[2, 7]), float(rows[3, 8])], abs=EXACT
    )


def test_20_what_cannot_be_checked_is_no_knowledge(tiny: Any):
    from interp.chains.trace_writing import gold_traces
    from interp.organisms.recipes import WORDS
    from interp.tasks import make_task
    from probes.knowledge_index import KnowledgeIndex

    task = make_task("clinic/known", n=4, seed=0)
    tokenizer = WORDS["clinic"].tokenizer()
    traces = {"gold": gold_traces(tokenizer, task)}

    def shares(check: Any) -> dict[str, set[float]]:
        asked = replace(task, check_claim=check)
        items = KnowledgeIndex().run({"base": tiny}, asked, traces, seed=0)
        return {m: {i.value for i in items if i.metric == m} for m in ("ki", "unknown")}

    assert shares(task.check_claim) == {"ki": {1.0}, "unknown": {0.0}}
    assert shares(lambda _example, _step: "unknown") == {"ki": {0.0}, "unknown": {1.0}}

    def broken(_example: Any, _step: str) -> Any:
        raise KeyError("the store of facts is gone")

    with pytest.raises(KeyError, match="facts is gone"):
        shares(broken)


@pytest.mark.parametrize("is_right", [True, False])
def test_21_a_wrong_answer_is_graded_wrong(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, is_right: bool
):
    from interp.chains import trace_writing as writing
    from interp.chains.texts import encode
    from interp.chains.trace_writing import write_traces
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=4, seed=0)

    def answer(_model: Any, prompts: Any, **_settings: Any) -> list[Generation]:
        assert len(prompts) == len(task.examples)
        texts = [
            e.answer if is_right else next(c for c in e.candidates if c != e.answer)
            for e in task.examples
        ]
        ids = [encode(tiny.tokenizer, f"{text} {task.layout.answer_end}") for text in texts]
        return [Generation(one, (0.0,) * len(one), True) for one in ids]

    monkeypatch.setattr(writing, "generate", answer)
    traces = write_traces(tiny, task, mode="direct", writer="base", seed=0)
    assert [trace.correct for trace in traces] == [is_right] * 4


def test_23_doses_in_norms_make_edits_of_equal_size_whatever_the_vector(tiny_folder: Path):
    """A unit vector and one of norm 50, in half precision: receipts give the norm as it landed."""
    model = load_model(tiny_folder, dtype="bfloat16")
    vectors = [torch.randn(32, generator=torch.Generator().manual_seed(n)) for n in (1, 2)]
    edits = [
        Intervention(SITE, add, norm * v / v.norm(), dose=0.4, unit=unit)
        for unit in ("norms", "raw")
        for norm, v in zip((1.0, 50.0), vectors, strict=True)
    ]
    landed = [
        run(model, [[1, 6, 17]], interventions=[edit]).receipts[0].edit_norm for edit in edits
    ]
    assert landed[0] == pytest.approx(landed[1], rel=0.02)
    assert landed[3] == pytest.approx(50 * landed[2], rel=0.05)


def test_24_controls_are_asked_as_often_as_candidates_and_chosen_by_the_same_rule(tiny_pair: Any):
    """Best of two by the post model, for a vector and its control: same steps, same rule."""

    def likeliest(step: Any) -> str:
        post = step.logprobs["post"]
        return max(step.candidates or ["base"], key=lambda name: float(post[step.proposed[name]]))

    vectors = [torch.randn(32, generator=torch.Generator().manual_seed(n)) for n in (1, 2)]
    offers = {
        f"{kind} {dose}": [Intervention(SITE, add, v, dose, "norms", rows=(row,))]
        for row, (kind, v) in enumerate(zip(("vector", "control"), vectors, strict=True))
        for dose in (0.3, 0.6)
    }
    found = route(
        tiny_pair, [PROMPTS[0]] * 2, choose=likeliest, max_new_tokens=8, candidates=offers
    )
    for kind, routing in zip(("vector", "control"), found, strict=True):
        differ = [
            a != b for a, b in zip(routing.proposed["base"], routing.proposed["post"], strict=True)
        ]
        for dose in (0.3, 0.6):
            asked = [token is not None for token in routing.proposed[f"{kind} {dose}"]]
            assert asked == differ and any(asked)
        assert set(routing.sources) <= {"base", f"{kind} 0.3", f"{kind} 0.6"}
        assert [source != "base" for source in routing.sources] == differ
