"""CUDA equals CPU: each way in which the engine computes, on bundled organisms, in float32.

A case is a function of a base and a post model that returns anything made of records, numbers and
tensors. It is run on both devices, and everything in what it returns must agree: text, positions
and counts exactly, other numbers to rounding. Needs a CUDA device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.engine import Branch, generate, route, run, score_branches, sweep
from interp.interventions import ClampLatent, add, interpolate, project_out, replace, zero_ablate
from interp.interventions import Intervention as Edit
from interp.methods import attention as st
from interp.methods import crosscoder as cc
from interp.methods import directions as ds
from interp.methods import patching as pt
from interp.methods import saes as sa
from interp.methods import steering
from interp.methods.activation_store import capture
from interp.methods.decoding.hybrid import VARIANTS, HybridSettings, prepare, write_hybrid
from interp.models import Model, ModelPair
from interp.sites import Site
from interp.tasks import make_task
from interp.workers import on_devices
from probes.hybrid import split_task
from probes.model_names import find_model
from tests.benchmarks.sizes import random_model, shape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ATOL, RTOL = 2e-4, 1e-3
"""Float32 without TF32: sums in another order, through four blocks and exponentials."""
HALF = 0.1
"""Log-probabilities (nats) in half precision against float32, random weights."""
SITE = Site(1, "resid_post")
Case = Callable[[Model, Model], Any]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers, texts and tensors in anything, each with its place."""
    if isinstance(value, Model):
        return
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        value = {str(key): part for key, part in value.items()}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}")
    else:
        yield path, value


def check_same(found: Any, expected: Any, atol: float = ATOL, rtol: float = RTOL) -> None:
    pairs = list(zip(leaves(found), leaves(expected), strict=True))
    assert pairs
    for (path, a), (other, b) in pairs:
        assert path == other and type(a) is type(b), (path, other)
        if isinstance(a, Tensor) and a.is_floating_point():
            assert torch.isfinite(a).all() == torch.isfinite(b).all(), path
            torch.testing.assert_close(
                a.cpu().double(), b.cpu().double(), atol=atol, rtol=rtol, equal_nan=True,
                msg=lambda text, path=path: f"{path}: {text}",
            )  # fmt: skip
        elif isinstance(a, Tensor):
            assert torch.equal(a.cpu(), b.cpu()), path
        elif isinstance(a, float):
            assert math.isclose(a, b, abs_tol=atol, rel_tol=rtol) or a != a != b != b, (path, a, b)
        else:
            assert a == b, (path, a, b)


def ids(model: Model, text: str) -> list[int]:
    return model.tokenizer(text)["input_ids"]


def rows(model: Model) -> list[list[int]]:
    texts = ("Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 =", "Q 5 + 4 * 2 ? <think>", "Q 1 + 1 ?")
    return [ids(model, text) for text in texts]


def vector(width: int, seed: int = 0) -> Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def edits(model: Model) -> dict[str, list[Edit]]:
    v, head = vector(model.d_model), vector(model.d_head)
    return {
        "add": [Edit(SITE, add, v, dose=2.0)],
        "norms": [Edit(SITE, add, v, dose=0.3, unit="norms", rows=(0, 2))],
        "project_out": [Edit(SITE, project_out, v, positions=(-1, 0))],
        "interpolate": [Edit(Site(0, "mlp_out"), interpolate, v, dose=0.5)],
        "replace": [Edit(Site(1, "attn_out"), replace, v, positions=(1,))],
        "zero_ablate": [Edit(Site(2, "mlp_post"), zero_ablate)],
        "head": [Edit(Site(1, "z"), replace, head, head=1, positions=(-1,))],
        "several": [Edit(SITE, add, v), Edit(SITE, zero_ablate, positions=(0,))],
    }


def runs(base: Model, _: Model) -> Any:
    sites = [Site(None, "embed"), Site(0, "q"), Site(1, "z"), Site(2, "resid_mid"), SITE]
    read = rows(base)
    found = [run(base, read, capture=sites, pad_side=side) for side in ("left", "right")]
    return found, [run(base, read, interventions=e, capture=[SITE]) for e in edits(base).values()]


def writing(base: Model, _: Model) -> Any:
    steer = Edit(SITE, add, vector(base.d_model), dose=0.5, unit="norms")
    plain = generate(base, rows(base), max_new_tokens=24)
    drawn = generate(base, rows(base), max_new_tokens=24, temperature=1.0, seeds=(1, 2, 3))
    return plain, drawn, generate(base, rows(base), max_new_tokens=24, interventions=[steer])


def branches(base: Model, _: Model) -> Any:
    text = rows(base)[0]
    asked = [Branch(cut, tuple(text[:3]), row_at=1) for cut in range(1, len(text))]
    return score_branches(base, [text, text[:5]], [asked, [Branch(2, (5, 6))]])


def sweeps(base: Model, _: Model) -> Any:
    alone = [[e for e in some if e.rows is None] for some in edits(base).values()]
    return [sweep(base, rows(base)[0], alone, logits_at=at) for at in ("all", "last")]


def routing(base: Model, post: Model) -> Any:
    steer = {n: [Edit(SITE, add, vector(base.d_model, n))] for n in (1, 2)}
    named = {f"v{n}": edit for n, edit in steer.items()}
    return [
        route(
            ModelPair(base, post), rows(base), max_new_tokens=16, candidates=named, window=window,
            choose=lambda step: max(step.candidates, default="base"), capture=[SITE],
        )
        for window in (1, "all")
    ]  # fmt: skip


def patching(base: Model, post: Model) -> Any:
    clean = ids(base, "Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 =")
    other = ids(base, "Q 5 + 4 * 2 ? <think> 5 + 4 = 9 ; 9 * 2 =")
    metric = pt.LogitDiff(*ids(base, "3 7"))
    heads = pt.GridLayout(streams=("z",), by="head")
    streams = pt.GridLayout(streams=("resid_pre", "mlp_out"))
    donor = pt.Donor(base, clean)
    return (
        [verb(base, clean, other, metric, way)
         for verb in (pt.denoise, pt.noise) for way in (heads, streams)],
        pt.patch_across(ModelPair(base, post), clean, metric),
        pt.attribution_grid(base, other, donor, metric, streams),
        pt.path_patch(base, other, donor, [[(0, 0)], [(1, 1)]], receivers=[pt.Receiver(2, "q", 0)]),
    )  # fmt: skip


def states(base: Model, _: Model) -> Any:
    parts = [ids(base, t) for t in ("Q 3 + 4 * 2 ? <think>", "3 + 4 = 7 ;", "7 * 2 = 3 ;")]
    others = [[*parts[0][:-7], *vector(7, n).mul(9).abs().long().add(6).tolist(), *parts[1],
               *parts[2]] for n in range(8)]  # fmt: skip
    text = st.lay_out(parts[0], parts[1:])
    after, answer = tuple(ids(base, "</think> A 3"))[:-1], tuple(ids(base, "3"))
    asked = st.AskedText(text, after, answer)
    edited = [st.StateEdit(step, recompute=again) for step in (0, 1) for again in (True, False)]
    path = st.PathRow(tuple(parts[0]), tuple(parts[1]), (*after, *answer), len(after))
    return (
        st.edit_states(base, [asked], [edited], references=others),
        st.path_logprobs(base, [path]),
        st.suppress_steps(base, text),
        st.step_attention(base, text),
    )


def directions(base: Model, _: Model) -> Any:
    chains, plain = ([ids(base, f"Q {n} + 4 ?{end}") for n in range(8)] for end in (" <think>", ""))
    last = [(-1,)] * 8
    one, other = ds.collect(base, chains, last, SITE), ds.collect(base, plain, last, SITE)
    found = [ds.mean_difference(one, other), ds.first_component(one, other)]
    found.append(ds.opening_gradient(base, plain, ids(base, "<think>")[0], other))
    words = [ds.logit_lens(base, found[0], n=1), ds.token_alignment(base, found[0]).largest]
    settings = steering.SweepSettings(doses=(0.25,), n_random=1)
    doses = steering.sweep(base, make_task("arith/fresh", n=12, seed=0), found[2], settings)
    return one.values, found, words, doses


def saes(base: Model, _: Model) -> Any:
    """The SAE lies on the CPU, then on the model's device."""
    sae = sa.load_sae(sa.find_sae(base))
    results: list[Any] = []
    for device in ("cpu", base.device):
        sae.to(device)
        latents = [part.gt(0.05).sum() for part in sa.sae_reader(sae, base)(rows(base))]
        clamps = [Edit(sa.sae_site(sae), ClampLatent(sae, 3, k), dose=4.0) for k in (True, False)]
        clamped = [run(base, rows(base), interventions=[clamp]).last for clamp in clamps]
        results.append((latents, clamped, sa.measure_fidelity(sae, base, rows(base)[:2])))
    return results


def stores(base: Model, post: Model) -> Any:
    with TemporaryDirectory() as folder:
        found = capture({"base": base, "post": post}, rows(base), [SITE], Path(folder))
        return found.values("post", SITE), next(found.pairs(SITE, 4, seed=0))


def hybrids(base: Model, post: Model) -> Any:
    pair = ModelPair(base, post)
    learn, test = split_task(make_task("arith/fresh", n=40, seed=0), 0.7, seed=0)
    setup = prepare(pair, learn, HybridSettings(), seed=0)
    ways = [v for v in VARIANTS if v.gate != "shuffled"]
    return [
        write_hybrid(pair, test, setup, way, seed=0, dose=None if way.pick != "dose" else 1.0)
        for way in ways
        if way.is_steered or way.pick != "dose"
    ]


CASES = (
    runs, writing, branches, sweeps, routing, patching, states, directions, saes, stores, hybrids,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_cuda_equals_cpu(case: Case):
    found, expected = (
        case(*(find_model(name, device=device) for name in ("base:0", "grpo:0")))
        for device in ("cuda", "cpu")
    )
    check_same(found, expected)


def test_a_crosscoder_is_trained_where_its_batches_are(tmp_path: Path):
    settings = cc.CrosscoderSettings(
        d_sae=32, k=4, steps=60, batch_size=64, warmup=10, dead_after=64
    )
    found: dict[str, Any] = {}
    for device in ("cuda", "cpu"):
        pairs = torch.randn(512, 2, 8, generator=torch.Generator().manual_seed(0)).to(device)
        one = cc.train_crosscoder(cc.shuffled(pairs, 64, seed=0), settings)
        assert {part.device.type for part in vars(one).values()} == {device}
        cc.save_crosscoder(tmp_path / f"{device}.safetensors", one)
        found[device] = cc.load_crosscoder(tmp_path / f"{device}.safetensors")
        assert cc.inspect_latents(one, pairs.split(100)).n_positions == 512
    check_same(vars(found["cuda"]), vars(found["cpu"]), atol=0.01)


def last_logprobs(device: str, examples: list[list[int]]) -> list[float]:
    model = find_model("base:0", device=device)
    return [float(row.log_softmax(-1).max()) for row in run(model, examples).last]


def test_work_is_split_over_processes_on_one_card():
    texts = rows(find_model("base:0"))
    check_same(on_devices(last_logprobs, texts, ["cuda:0"] * 2), last_logprobs("cpu", texts))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near(dtype: str):
    """Weights of the shape of a real model, the same in float32."""
    model = random_model(shape(32_000, 1024, 4096, 8, 16, 4, 2048), "cuda", dtype)
    text = torch.randint(0, 32_000, (600,), generator=torch.Generator().manual_seed(0)).tolist()
    asked = [Branch(cut, tuple(text[:4])) for cut in range(50, 600, 50)]
    site = Site(4, "resid_post")
    push = Edit(site, add, vector(model.d_model), dose=0.1, unit="norms", positions=(-1,))

    def read() -> list[Tensor]:
        scores = score_branches(model, [text], [asked])[0]
        edited = run(model, [text, text[:80]], interventions=[push]).last.log_softmax(-1)
        climbed = sweep(model, text, [[push], []]).last.log_softmax(-1)
        written = generate(model, [text[:80]], max_new_tokens=1, interventions=[push])[0].logprobs
        return [torch.stack([s.logprobs for s in scores]), edited, climbed, torch.tensor(written)]

    half = read()
    model.hf.float()
    check_same(half, read(), atol=HALF)


@contextmanager
def little_memory(gigabytes: float) -> Generator[None, None, None]:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    used = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((used + gigabytes * 1e9) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_too_large_for_the_card_is_halved():
    model = random_model(shape(500, 64, 16_384, 2, 4, 2, 1024), "cuda", "float32")
    drawn = torch.randint(0, 500, (64, 512), generator=torch.Generator().manual_seed(0))
    texts, edit = drawn.tolist(), Edit(Site(0, "resid_post"), add, vector(64))

    def work() -> Any:
        read = run(model, texts, logits_at="last", interventions=[edit], capture=[SITE])
        asked = [[Branch(500, (1, 2, 3))]] * len(texts)
        scores = score_branches(model, texts, asked, token_budget=1 << 20)
        return read, scores, generate(model, texts, max_new_tokens=3, interventions=[edit])

    expected = work()
    before = torch.cuda.memory_stats()["num_ooms"]
    with little_memory(1.5):
        found = work()
    assert torch.cuda.memory_stats()["num_ooms"] >= before + 3
    check_same(found, expected)


def test_what_does_not_fit_is_refused_before_the_card_sees_it():
    """An index out of range on a card would void every later call of the process."""
    model = find_model("base:0", device="cuda")
    for wrong in ([5] * (model.n_ctx + 1), [model.d_vocab]):
        with pytest.raises(ValueError, match="reads at most|knows ids"):
            run(model, [wrong])
    assert run(model, rows(model)).last.isfinite().all()
