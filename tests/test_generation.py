"""Writing: batches equal single rows, cached equals uncached, and edits land on every token."""

from __future__ import annotations

import random
from typing import Any

import jaxtyping
import pytest
import torch
from conftest import make_hf

import interp.engine.decoder as decoder_module
import interp.engine.generation as generation_module
from interp.engine import generate
from interp.engine.editor import Editor
from interp.interventions import Intervention, add
from interp.models import hooked, make_model
from interp.sites import Site

EXACT = 1e-4
SITE = Site(1, "resid_post")


def some_prompts(model: Any, n: int = 9, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(model.d_vocab) for _ in range(rng.randint(1, 14))] for _ in range(n)]


def push(**settings: Any) -> Any:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(3))
    return Intervention(SITE, add, vector, dose=1.5, **settings)


def greedy_by_hand(
    model: Any, prompt: list[int], n: int, *, edit: Any = None
) -> tuple[list[int], list[float]]:
    """Reads the whole text again for every token; `edit(x, n_prompt)` changes block 1's output."""
    ids, logprobs = list(prompt), list[float]()
    for _ in range(n):
        handle = model.hf.model.layers[1].register_forward_hook(
            lambda _m, _a, out: out if edit is None else edit(out, len(prompt))
        )
        with torch.no_grad():
            row = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(-1)
        handle.remove()
        ids.append(int(row.argmax()))
        logprobs.append(float(row.max()))
    return ids[len(prompt) :], logprobs


def test_greedy_equals_reading_again_for_every_token(tiny: Any):
    prompts = some_prompts(tiny)
    for prompt, found in zip(prompts, generate(tiny, prompts, max_new_tokens=8), strict=True):
        ids, logprobs = greedy_by_hand(tiny, prompt, 8)
        assert list(found.ids) == ids and not found.stopped
        assert found.logprobs == pytest.approx(logprobs, abs=EXACT)


def test_greedy_equals_hugging_face(tiny: Any):
    prompt = [1, 6, 17, 30]
    expected = tiny.hf.generate(
        torch.tensor([prompt]),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    found = generate(tiny, [prompt], max_new_tokens=12)[0]
    assert list(found.ids) == expected[0, 4:].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.7, 2.0])
def test_rows_do_not_notice_each_other(tiny: Any, temperature: float):
    """Rows of a batch, of small batches, alone and in other order write the same."""
    prompts = some_prompts(tiny, seed=1)
    seeds = list(range(100, 109)) if temperature else None
    stop = [[7], [9], [11, 12]]

    def write(numbers: list[int], batch_size: int = 64) -> list[Any]:
        return generate(
            tiny,
            [prompts[n] for n in numbers],
            max_new_tokens=10,
            stop=stop,
            temperature=temperature,
            seeds=[seeds[n] for n in numbers] if seeds else None,
            batch_size=batch_size,
        )

    together = write(list(range(9)))
    others = [write(list(range(9)), 2), write(list(range(9))[::-1])[::-1]]
    others.append([write([n])[0] for n in range(9)])
    for other in others:
        assert [g.ids for g in other] == [g.ids for g in together]
        for one, two in zip(other, together, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=EXACT)


def test_seeds_decide_and_logprobs_are_those_of_the_model(tiny: Any):
    prompts = [[1, 6, 17]] * 200
    written = generate(tiny, prompts, max_new_tokens=2, temperature=2.0, seeds=range(200))
    assert written == generate(tiny, prompts, max_new_tokens=2, temperature=2.0, seeds=range(200))
    assert len({g.ids for g in written}) > 20
    for found in written[:5]:
        ids = torch.tensor([[1, 6, 17, *found.ids]])
        with torch.no_grad():
            row = tiny.hf(ids, use_cache=False).logits[0].log_softmax(-1)
        assert found.logprobs[1] == pytest.approx(float(row[3, found.ids[1]]), abs=EXACT)


def test_draws_follow_the_distribution(tiny: Any):
    """Frequencies of the first token over 4000 seeds, against softmax(logits / 2)."""
    n = 4000
    written = generate(
        tiny, [[1, 6]] * n, max_new_tokens=1, temperature=2.0, seeds=range(n), batch_size=n
    )
    with torch.no_grad():
        expected = (tiny.hf(torch.tensor([[1, 6]])).logits[0, -1] / 2.0).softmax(-1)
    counts = torch.bincount(torch.tensor([g.ids[0] for g in written]), minlength=tiny.d_vocab)
    deviation = (counts - n * expected).abs() / (n * expected * (1 - expected)).sqrt()
    assert float(deviation.max()) < 4.5


def test_stop_sequences(tiny: Any):
    prompt = [1, 6, 17, 30]
    full = generate(tiny, [prompt], max_new_tokens=12)[0].ids
    pair = full[4:6]
    first = next(i for i in range(1, 12) if full[i - 1 : i + 1] == pair)
    found = generate(tiny, [prompt], max_new_tokens=12, stop=[pair, (998, 999)])[0]
    assert found.stopped and found.ids == full[: first + 1]
    at_limit = generate(tiny, [prompt], max_new_tokens=6, stop=[full[5:6]])[0]
    assert at_limit.stopped and at_limit.ids == full[: full.index(full[5]) + 1]
    repeated = generate(tiny, [prompt], max_new_tokens=3, stop=[[prompt[-1], full[0]]])[0]
    assert not repeated.stopped or repeated.ids != full[:1]


def test_finished_rows_cost_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    prompts = some_prompts(tiny, 6, seed=2)
    free = generate(tiny, prompts, max_new_tokens=12)
    stop = [[free[0].ids[2]], [free[1].ids[1]]]
    read: list[int] = []
    plain_body = decoder_module.body

    def count(model: Any, ids: Any, **settings: Any) -> Any:
        read.append(ids.numel() if ids.shape[1] == 1 else 0)
        return plain_body(model, ids, **settings)

    monkeypatch.setattr(decoder_module, "body", count)
    written = generate(tiny, prompts, max_new_tokens=12, stop=stop)
    assert sum(g.stopped for g in written) >= 2
    assert sum(read) == sum(len(g.ids) - 1 for g in written)


@pytest.mark.parametrize("positions", ["all", "prompt", "generated", (-1, 0)])
def test_steered_writing_equals_reading_again(tiny: Any, positions: Any):
    """Cached decoding with edits equals uncached passes with the same edits, row by row."""
    prompts = [prompt for prompt in some_prompts(tiny, 8, seed=4) if len(prompt) > 1]
    rows = (0, 2, 3)
    steer = push(positions=positions, rows=rows)
    written = generate(tiny, prompts, max_new_tokens=6, interventions=[steer])

    def edit(x: torch.Tensor, n_prompt: int) -> torch.Tensor:
        x = x.clone()
        chosen = {"all": slice(None), "prompt": slice(n_prompt), "generated": slice(n_prompt, None)}
        where = chosen[positions] if isinstance(positions, str) else [0, n_prompt - 1]
        x[:, where] += 1.5 * steer.vector
        return x

    n_moved = 0
    for number, (prompt, found) in enumerate(zip(prompts, written, strict=True)):
        ids, logprobs = greedy_by_hand(tiny, prompt, 6, edit=edit if number in rows else None)
        assert list(found.ids) == ids
        assert found.logprobs == pytest.approx(logprobs, abs=EXACT)
        n_moved += number in rows and ids != greedy_by_hand(tiny, prompt, 6)[0]
        n, landed = len(prompt), [receipt.positions for receipt in found.receipts]
        expected = {
            "all": tuple(range(n + 5)),
            "prompt": tuple(range(n)),
            "generated": tuple(range(n, n + 5)),
        }
        one = expected[positions] if isinstance(positions, str) else tuple(sorted({0, n - 1}))
        assert landed == ([one] if number in rows else [])
    assert n_moved > 0


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_edits_and_receipts_under_both_caches_of_hugging_face(tiny: Any, kind: str):
    """`hf.generate` with its own cache, edited through hooks: tokens and receipts of ours.

    The prompts are padded on the left by Hugging Face's rule. A compiled static cache would skip
    hooks that are added later, so compilation is off.
    """
    prompts = [[1, 6, 17, 30], [18, 10], [4, 4, 5]]
    edits = [push(rows=(0,)), push(positions="generated", rows=(0, 1)), push(positions=(-1,))]
    expected = generate(tiny, prompts, max_new_tokens=9, interventions=edits)
    lengths = {row: len(prompt) for row, prompt in enumerate(prompts)}
    editor, passes = Editor(tiny, edits, lengths, writes=True), list[int]()

    def advance(embedded: torch.Tensor) -> None:
        n_read = len(passes)
        first = [length - 4 if n_read == 0 else length + n_read - 1 for length in lengths.values()]
        editor.move(range(3), first, decoding=n_read > 0)
        passes.append(embedded.shape[1])

    padded = torch.tensor([[0] * (4 - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (4 - n) + [1] * n for n in lengths.values()])
    with hooked(tiny, [(Site(None, "embed"), advance), *editor.handlers()]):
        found = tiny.hf.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=9,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            cache_implementation=kind,
            disable_compile=True,
        )
    assert passes == [4] + [1] * 8
    assert found[:, 4:].tolist() == [list(g.ids) for g in expected]
    receipts = editor.receipts(dict.fromkeys(range(3), 8))
    ours = sorted((r for g in expected for r in g.receipts), key=lambda r: (r.intervention, r.row))
    assert [(r.row, r.positions) for r in receipts] == [(r.row, r.positions) for r in ours]
    assert [r.edit_norm for r in receipts] == pytest.approx([r.edit_norm for r in ours], rel=1e-4)


def test_prefill_forms_no_table_of_tokens_against_tokens(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    """Rows of unlike length: the prompts are read causally, later tokens see one row of a table."""
    tables: list[tuple[int, ...] | None] = []
    plain_body = decoder_module.body

    def look(model: Any, ids: Any, **settings: Any) -> Any:
        visible = settings.get("visible")
        tables.append(None if visible is None else tuple(visible.shape))
        return plain_body(model, ids, **settings)

    monkeypatch.setattr(decoder_module, "body", look)
    generate(tiny, [[1, 6, 17, 30], [18, 10]], max_new_tokens=3)
    assert tables == [None, (2, 1, 5), (2, 1, 6)]


def test_first_new_token_moves(tiny: Any):
    plain = generate(tiny, [[1, 6, 17]], max_new_tokens=1)[0]
    moved = generate(tiny, [[1, 6, 17]], max_new_tokens=1, interventions=[push()])[0]
    late = generate(
        tiny, [[1, 6, 17]], max_new_tokens=1, interventions=[push(positions="generated")]
    )[0]
    assert moved.logprobs[0] != pytest.approx(plain.logprobs[0], abs=1e-3)
    assert late.logprobs == plain.logprobs and late.receipts[0].n_positions == 0


def test_own_dose_per_row_with_rows_that_finish(tiny: Any):
    prompts = some_prompts(tiny, 6, seed=5)
    vector = push().vector
    edits = [
        Intervention(SITE, add, vector, dose=dose, rows=(n,))
        for n, dose in enumerate([0.0, 1.0, 2.0, -1.0, 0.5, 3.0])
    ]
    free = generate(tiny, prompts, max_new_tokens=8, interventions=edits)
    stop = [[free[1].ids[2]], [free[4].ids[1]]]
    written = generate(tiny, prompts, max_new_tokens=8, interventions=edits, stop=stop)
    assert len({len(g.ids) for g in written}) > 1
    for number, found in enumerate(written):
        assert found.ids == free[number].ids[: len(found.ids)]
        (receipt,) = found.receipts
        assert receipt.n_positions == len(prompts[number]) + len(found.ids) - 1
        assert receipt.edit_norm == pytest.approx(
            abs(edits[number].dose) * float(vector.norm()), rel=1e-3, abs=1e-6
        )


def test_edit_that_misses_decoding_steps_voids_the_result(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    """A block skipped on single tokens: the failure of hooks that only see the prompt."""
    norm = tiny.hf.model.layers[1].mlp
    layer = tiny.hf.model.layers[1]
    plain_forward = layer.forward

    def skip_single(hidden_states: Any, **settings: Any) -> Any:
        if hidden_states.shape[1] > 1:
            return plain_forward(hidden_states, **settings)
        mlp, layer.mlp = layer.mlp, torch.nn.Identity()
        try:
            return plain_forward(hidden_states, **settings)
        finally:
            layer.mlp = mlp

    monkeypatch.setattr(layer, "forward", skip_single)
    steer = Intervention(Site(1, "mlp_out"), add, push().vector)
    with pytest.raises(RuntimeError, match=r"should have edited 5 .*missed: \[3, 4\]"):
        generate(tiny, [[1, 6, 17]], max_new_tokens=3, interventions=[steer])
    assert layer.mlp is norm


def test_memory_shortage_halves_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    prompts = some_prompts(tiny, 9, seed=6)
    expected = generate(tiny, prompts, max_new_tokens=4, interventions=[push(rows=(1, 8))])
    plain_batch, sizes = generation_module._generate_batch, list[int]()

    def batch_or_fail(model: Any, jobs: Any, settings: Any) -> Any:
        sizes.append(len(jobs))
        if len(jobs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_batch(model, jobs, settings)

    monkeypatch.setattr(generation_module, "_generate_batch", batch_or_fail)
    found = generate(tiny, prompts, max_new_tokens=4, interventions=[push(rows=(1, 8))])
    assert sizes[0] == 9 and [g.ids for g in found] == [g.ids for g in expected]
    assert [len(g.receipts) for g in found] == [1 if n in (1, 8) else 0 for n in range(9)]


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([[1], []], {}, "prompt 1 is empty"),
        ([[1] * 250], {}, r"250 tokens\) with 8 new tokens, of .* never read, is 257 tokens long"),
        ([[1]], {"max_new_tokens": 0}, "at least 1"),
        ([[1]], {"temperature": 1.0}, r"Example: temperature=1.0, seeds=range\(len\(prompts\)\)"),
        ([[1]], {"seeds": [1]}, "choosing the most likely needs none"),
        ([[1]], {"temperature": 1.0, "seeds": [1, 2]}, "received 2 for 1 prompts"),
        ([[1]], {"temperature": -1.0}, "0 \\(greedy\\) or more"),
        ([[1]], {"temperature": float("nan")}, "and finite; received nan"),
        ([[1]], {"temperature": float("inf"), "seeds": [1]}, "and finite; received inf"),
        ([[1]], {"stop": [[]]}, "at least one token"),
        ([[1]], {"stop": [7]}, r"received 7 in \[7\]. Write one token as stop=\[\[7\]\]"),
        ([[1]], {"stop": ["end"]}, "received 'end' .* encode text first"),
        ([[1]], {"batch_size": 0}, "batch_size must be at least 1, received 0"),
        ([[1]], {"batch_size": -1}, "batch_size must be at least 1, received -1"),
        ([[1]], {"interventions": [push(rows=(1,))]}, r"names rows \[1\]"),
    ],
)
def test_bad_input_is_refused_before_any_pass(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, prompts: Any, settings: Any, message: str
):
    monkeypatch.setattr(decoder_module, "body", None)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    with pytest.raises(ValueError, match=message):
        generate(tiny, prompts, **{"max_new_tokens": 8, **settings})


def test_the_context_may_be_filled_to_its_end(tiny: Any):
    """The last token is never read, so it needs no room."""
    for prompt, n_new in (([5] * 256, 1), ([5] * 250, 7)):
        (found,) = generate(tiny, [prompt], max_new_tokens=n_new)
        assert list(found.ids) == greedy_by_hand(tiny, prompt, n_new)[0]


def test_nan_names_the_row(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    model.hf.model.embed_tokens.weight.data[33] = float("nan")
    with pytest.raises(ValueError, match="not finite for row 2 after 0 new tokens"):
        generate(model, [[1, 2], [3], [1, 33]], max_new_tokens=2)


def test_no_prompts(tiny: Any):
    assert generate(tiny, [], max_new_tokens=3) == []
