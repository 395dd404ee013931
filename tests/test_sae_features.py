"""Features of the mode: which words, which latents, and what a switch does, against plain hooks."""

import json
import math
import warnings

import pytest
import torch

from interp.chains.texts import encode
from interp.engine import run
from interp.errors import NotMeasurableError
from interp.methods.saes import Injection, save_sae
from interp.methods.saes.features import ChainText, find_features, mode_words
from interp.organisms.worlds.arith.problems import WORDS
from interp.results.summaries import summarise
from interp.sites import Site
from interp.tasks import make_task
from probes.probe import Results
from probes.sae_features import RANDOM, UNSTEERED, SaeFeatures, label

SITE = Site(2, "resid_post")
MODE = [WORDS.ids[word] for word in ("<think>", "</think>", "=", ";")]
THINK = WORDS.ids["<think>"]
N_LATENTS = 12


def texts(n=12):
    task = make_task("arith/fresh", n=n, seed=0)
    thinking, direct = [], []
    for example in task.examples:
        question = WORDS.encode(example.question)
        chain = WORDS.encode(f"<think> {' '.join(example.steps)} </think>")
        answer = WORDS.encode(f"A {example.answer} <eos>")
        start = len(question)
        thinking.append(ChainText((*question, *chain, *answer), start, start + len(chain)))
        direct.append((*question, *answer))
    return task, thinking, direct


def test_words_of_the_mode_are_those_of_chains_only():
    _, thinking, direct = texts()
    assert set(mode_words(thinking, direct, [])) == set(MODE)
    assert set(mode_words(thinking, direct, [THINK])) == set(MODE) - {THINK}
    leaked = [(*row, *MODE, *MODE, *MODE, *MODE, *MODE) for row in direct]
    assert not set(mode_words(thinking, leaked, [])) & {THINK}


def symbolic(rows):
    """Latent 0: words of the mode. Latent 1: an equals sign only. Latent 2: the question."""
    found = []
    for row in rows:
        acts = torch.zeros(len(row), 5)
        asked = row.index(WORDS.ids["?"]) if WORDS.ids["?"] in row else 0
        for at, token in enumerate(row):
            acts[at, 0] = 2.0 * (token in MODE)
            acts[at, 1] = 2.0 * (token == WORDS.ids["="])
            acts[at, 2] = 1.0 * (at <= asked)
            # Known from the context alone: that an answer is two tokens behind a closed chain.
            acts[at, 3] = 0.1 * (at > asked and WORDS.ids["</think>"] in row[:at])
        found.append(acts)
    return found


def test_latents_are_ranked_and_tested():
    _, thinking, direct = texts(40)
    found = find_features(symbolic, thinking, direct, n=2, special=[1, 2], injection=Injection())
    first = found.found[0]
    assert (first.latent, first.max_act, first.falsification.kind) == (0, 2.0, "token-driven")
    assert set(first.falsification.tokens) == set(MODE)
    assert all(one.latent != 1 for one in found.found), "the entropy lowers a latent of one word"
    chosen = {one.latent for one in found.found}
    assert set(found.others) == {0, 1, 2, 3} - chosen, "latent 4 is never active"
    assert set(found.words) == set(MODE)


@pytest.fixture(scope="module")
def planted(tiny, tmp_path_factory):
    """An SAE whose latent 0 reads the words of the mode and writes what opens a chain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
        from sae_lens.saes.sae import SAEMetadata
    task, thinking, direct = texts(16)
    rows = [text.ids for text in thinking] + direct
    x = torch.cat([run(tiny, [row], capture=[SITE]).captures[SITE][0] for row in rows])
    is_mode = torch.isin(torch.tensor([t for row in rows for t in row]), torch.tensor(MODE))
    one = torch.cat([x, torch.ones(len(x), 1)], 1)
    solved = torch.linalg.lstsq(one, is_mode.float()[:, None]).solution[:, 0]
    config = JumpReLUSAEConfig(
        d_in=32,
        d_sae=N_LATENTS,
        apply_b_dec_to_input=False,
        metadata=SAEMetadata(hook_name=str(SITE), model_name="tiny"),
    )
    sae = JumpReLUSAE(config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    sae.W_enc.copy_(torch.randn(32, N_LATENTS, generator=generator) / 60)
    sae.W_dec.copy_(torch.randn(N_LATENTS, 32, generator=generator))
    sae.W_enc[:, 0], sae.b_enc[0] = solved[:-1], solved[-1]
    sae.threshold.fill_(0.05)
    sae.threshold[0] = 0.5
    sae.W_dec[0] = tiny.hf.lm_head.weight[THINK]
    folder = tmp_path_factory.mktemp("saes") / "planted"
    save_sae(folder, sae, dtype="float32")
    return task, sae, folder


def p_think_by_hand(model, task, row, dose):
    """P(think) with a row added at the last token by a plain PyTorch hook."""
    prompts = [encode(model.tokenizer, example.question) for example in task.examples]
    block, found, norms = model.hf.model.layers[SITE.layer], [], []

    def watch(_module, _inputs, out):
        norms.append(float((out[0] if isinstance(out, tuple) else out)[0, -1].norm()))

    def add(_module, _inputs, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, -1] += dose * sum(norms) / len(norms) * row / row.norm()
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    for hook, into in ((watch, []), (add, found)):
        handle = block.register_forward_hook(hook)
        try:
            with torch.no_grad():
                for prompt in prompts:
                    logits = model.hf(torch.tensor([prompt])).logits[0, -1]
                    into.append(float(logits.softmax(-1)[THINK]))
        finally:
            handle.remove()
    return found


def test_the_switch_does_what_a_plain_hook_does(planted, tiny_pair):
    task, sae, folder = planted
    probe = SaeFeatures(sae=str(folder), n_features=1, n_random=2, doses=(-1.0, 2.0))
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    items = probe.run(readers, task, {}, seed=0)
    features, _ = probe.find(readers, task, seed=0)
    (feature,) = features.found
    assert feature.latent == 0
    name = label(0, feature.falsification.kind)
    assert f"({feature.falsification.kind})" in name

    def values(reader, variant, dose, metric="p_think"):
        return [
            item.value
            for item in items
            if (item.reader, item.variant, item.dose, item.metric)
            == (reader, variant, dose, metric)
        ]

    for reader, model in readers.items():
        plain = p_think_by_hand(model, task, sae.W_dec[0], 0.0)
        assert values(reader, UNSTEERED, None) == pytest.approx(plain, abs=1e-5)
        for dose in probe.doses:
            truth = p_think_by_hand(model, task, sae.W_dec[0], dose)
            assert values(reader, name, dose) == pytest.approx(truth, abs=1e-4)
            drawn = [
                p_think_by_hand(model, task, sae.W_dec[latent], dose)
                for latent in features.others[:2]
            ]
            mean = [sum(pair) / 2 for pair in zip(*drawn, strict=True)]
            assert values(reader, RANDOM, dose) == pytest.approx(mean, abs=1e-4)
    on, off, plain = (
        sum(values("base", variant, dose))
        for variant, dose in ((name, 2.0), (name, -1.0), (UNSTEERED, None))
    )
    assert on > 2 * plain > 4 * off, "it writes what opens a chain"
    assert on > 2 * sum(values("base", RANDOM, 2.0)), "other rows of the same length do not"
    keys = [(i.reader, i.example, i.variant, i.metric, i.dose) for i in items]
    assert len(set(keys)) == len(keys)
    assert all(math.isfinite(item.value) and not item.writer for item in items)


def test_no_latent_is_named_without_its_class(planted, tiny, tmp_path):
    task, _, folder = planted
    probe = SaeFeatures(sae=str(folder), n_features=2, n_random=1, doses=(-1.0, 1.0))
    part = probe.examine({"base": tiny}, task, {}, seed=0, folder=tmp_path)
    rows = summarise(part.items, pair="x", chance={task.name: 0.1}, seed=0)
    record = json.loads(json.dumps(part.record))
    results = Results(tuple(rows), part.items, {task.name: record}, (task.name,), "", 0)
    lines = probe.describe(results)
    assert any("words of the mode: " in line and "<think>" in line for line in lines)
    named = [line for line in lines if "latent " in line]
    assert named and all("-d" in line for line in named), "token-driven, context-dependent"
    assert any("ReasonScore" in line for line in named)
    assert any("dose +1.00" in line and "p_think" in line for line in lines)
    of_base, of_post = probe.figures(results)
    steered = {row.variant for row in of_base.data}
    assert UNSTEERED not in steered and RANDOM in steered and not of_post.data
    at_zero = {row.value for row in of_base.data if row.dose == 0}
    (unsteered,) = [r.value for r in rows if (r.variant, r.metric) == (UNSTEERED, "p_think")]
    assert at_zero == {unsteered}, "at dose 0 every latent leaves the model as it is"


def test_what_cannot_be_asked_says_why(planted, tiny):
    task, _, folder = planted
    few = make_task("arith/fresh", n=4, seed=0)
    for probe, readers, asked, reason in (
        (SaeFeatures(sae=str(folder)), {"post": tiny}, task, "there is none"),
        (SaeFeatures(sae=str(folder)), {"base": tiny}, few, "at least 10 examples"),
        (SaeFeatures(), {"base": tiny}, task, "none is bundled for"),
    ):
        items = probe.run(readers, asked, {}, seed=0)
        assert {item.example for item in items} == {example.id for example in asked.examples}
        assert all(math.isnan(item.value) and reason in item.note for item in items)
    with pytest.raises(ValueError, match="an SAE is a folder with") as error:
        SaeFeatures(sae=str(folder.parent)).run({"base": tiny}, task, {}, seed=0)
    assert not isinstance(error.value, NotMeasurableError), "a wrong folder is a mistake in a call"
