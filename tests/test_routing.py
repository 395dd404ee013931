"""Routing between two models against a slow loop that reads everything again with plain calls."""

from __future__ import annotations

import random
from typing import Any

import jaxtyping
import pytest
import torch
from conftest import make_hf
from torch import Tensor

import interp.engine.decoder as decoder_module
import interp.engine.routing as routing_module
from interp.engine import TokenChoice, disagree, generate, route, run
from interp.interventions import Intervention, add, project_out
from interp.models import ModelPair, make_model
from interp.sites import Site

EXACT = 1e-4
SITE = Site(1, "resid_post")


@pytest.fixture(scope="module")
def pair(tiny: Any) -> ModelPair:
    """A model and the same one after small changes: their greedy tokens often agree."""
    hf = make_hf()
    torch.manual_seed(3)
    for weight in hf.parameters():
        weight.data += 0.03 * torch.randn_like(weight)
    return ModelPair(tiny, make_model(hf, tiny.tokenizer, name="post"))


def some_prompts(n: int = 6, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(60) for _ in range(rng.randint(1, 9))] for _ in range(n)]


def vector(seed: int) -> Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed))


def candidates(rows: tuple[int, ...] | None = None) -> dict[str, list[Intervention]]:
    """Two doses of one direction, and an erased direction that only row 0 is offered."""
    return {
        "weak": [Intervention(SITE, add, vector(1), dose=1.0, rows=rows)],
        "strong": [Intervention(SITE, add, vector(1), dose=4.0, rows=rows)],
        "erased": [Intervention(SITE, project_out, vector(2), rows=(0,))],
    }


def guardrail(step: TokenChoice) -> str:
    """Of the candidates the one whose token post finds likeliest (Venhoff et al., 2510.07364)."""
    if not step.candidates:
        return "base"
    return max(step.candidates, key=lambda name: float(step.logprobs["post"][step.proposed[name]]))


def change(name: str, x: Tensor) -> Tensor:
    """What a candidate does to the output [pos, d_model] of block 1, by hand."""
    if name == "erased":
        unit = vector(2) / vector(2).norm()
        return x - (x @ unit)[:, None] * unit
    return x + {"weak": 1.0, "strong": 4.0}[name] * vector(1)


def read_again(model: Any, ids: list[int], name: str = "base", window: int | None = None) -> Tensor:
    """Log-probabilities after `ids`, all read at once; a candidate edits the last positions."""

    def edit(_module: Any, _args: Any, out: Tensor) -> Tensor:
        start = 0 if window is None else max(0, len(ids) - window)
        return torch.cat([out[:, :start], change(name, out[0, start:])[None]], 1)

    hooks = [] if name == "base" else [model.hf.model.layers[1].register_forward_hook(edit)]
    try:
        with torch.no_grad():
            logits = model.hf(torch.tensor([ids]), use_cache=False).logits
        return logits[0, -1].log_softmax(-1)
    finally:
        for hook in hooks:
            hook.remove()


def slow_route(
    pair: Any, prompt: list[int], names: list[str], rule: Any, n: int, window: int | None
) -> tuple[list[int], list[str], list[dict[str, float]]]:
    """Greedy routing of one prompt, every source reading the whole text at every step."""
    ids, sources, logprobs = list(prompt), list[str](), list[dict[str, float]]()
    for _ in range(n):
        said = {"base": read_again(pair.base, ids), "post": read_again(pair.post, ids)}
        if said["base"].argmax() != said["post"].argmax():
            said |= {name: read_again(pair.base, ids, name, window) for name in names}
        proposed = {name: int(row.argmax()) for name, row in said.items()}
        written = tuple(ids[len(prompt) :])
        source = rule(TokenChoice(0, prompt, written, said, proposed, {}))
        ids.append(proposed[source])
        sources.append(source)
        logprobs.append({name: float(row[ids[-1]]) for name, row in said.items()})
    return ids[len(prompt) :], sources, logprobs


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("source", ["base", "post"])
def test_one_source_alone_writes_as_generate_does(pair: Any, source: str, temperature: float):
    prompts, seeds = some_prompts(), range(6) if temperature else None
    steer = [Intervention(SITE, add, vector(4), dose=2.0, rows=(1, 2))]
    model = getattr(pair, source)
    shared: Any = {
        "max_new_tokens": 8, "stop": [[7], [11, 12]], "temperature": temperature, "seeds": seeds,
    }  # fmt: skip
    expected = generate(model, prompts, interventions=steer, **shared)
    own = {f"{source}_interventions": steer}
    found = route(pair, prompts, choose=lambda _: source, candidates=candidates(), **own, **shared)
    for one, two in zip(found, expected, strict=True):
        assert one.ids == two.ids and one.stopped == two.stopped
        assert set(one.sources) == {source}
        assert one.logprobs[source] == pytest.approx(two.logprobs, abs=EXACT)
        assert [r.positions for r in one.receipts[source]] == [r.positions for r in two.receipts]


def test_taking_turns_equals_reading_again(pair: Any):
    def turns(step: TokenChoice) -> str:
        return ("base", "post")[len(step.written) % 2]

    prompts = some_prompts()
    for prompt, found in zip(
        prompts, route(pair, prompts, choose=turns, max_new_tokens=8), strict=True
    ):
        ids, sources, logprobs = slow_route(pair, prompt, [], turns, 8, None)
        assert list(found.ids) == ids and list(found.sources) == sources
        for source in ("base", "post"):
            expected = [at[source] for at in logprobs]
            assert found.logprobs[source] == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("window", [1, 3, 20, "all"])
def test_candidates_equal_reading_again(pair: Any, window: Any):
    """Each candidate's answer is that of a whole uncached read with edits where the window says."""
    prompts, n_new = some_prompts(5, seed=1), 7
    found = route(
        pair, prompts, choose=guardrail, max_new_tokens=n_new, candidates=candidates(),
        window=window,
    )  # fmt: skip
    n_asked, winners = 0, set[str]()
    for row, (prompt, routing) in enumerate(zip(prompts, found, strict=True)):
        names = ["weak", "strong", "erased"][: 3 if row == 0 else 2]
        assert set(routing.receipts) == {"base", "post", *names}
        reach = None if window == "all" else window
        ids, sources, logprobs = slow_route(pair, prompt, names, guardrail, n_new, reach)
        assert list(routing.ids) == ids and list(routing.sources) == sources
        winners |= set(sources)
        for name in names:
            expected = [at.get(name) for at in logprobs]
            assert [value is None for value in routing.logprobs[name]] == [
                value is None for value in expected
            ]
            asked = [(a, b) for a, b in zip(routing.logprobs[name], expected) if a is not None]  # noqa: B905
            assert [a for a, _ in asked] == pytest.approx([b for _, b in asked], abs=EXACT)
            n_asked += len(asked)
            (receipt,) = routing.receipts[name]
            steps = [len(prompt) + n for n, value in enumerate(expected) if value is not None]
            windows = (
                [list(range(len(prompt) + n_new - 1))]
                if reach is None
                else [list(range(max(0, end - reach), end)) for end in steps]
            )
            assert list(receipt.positions) == sum(windows, [])
    assert n_asked > 20 and "base" in winners and len(winners) >= 3


@pytest.mark.parametrize("window", [2, "all"])
def test_a_batch_equals_the_loop(pair: Any, window: Any):
    """Rows of different lengths, candidates, seeds and ends."""
    prompts = some_prompts(7, seed=2)
    offers = candidates(rows=(0, 2, 3, 6))

    def write(numbers: list[int], batch_size: int = 16) -> list[Any]:
        place = {number: at for at, number in enumerate(numbers)}
        here: dict[str, list[Intervention]] = {}
        for name, (edit,) in offers.items():
            rows = tuple(place[row] for row in edit.rows or () if row in place)
            if rows:
                here[name] = [Intervention(SITE, edit.operator, edit.vector, edit.dose, rows=rows)]
        return route(
            pair, [prompts[n] for n in numbers], choose=guardrail, max_new_tokens=9,
            stop=[[n] for n in range(0, 60, 6)], temperature=1.2,
            seeds=[50 + n for n in numbers], candidates=here, window=window,
            batch_size=batch_size,
        )  # fmt: skip

    together = write(list(range(7)))
    assert len({len(routing.ids) for routing in together}) > 1
    loop = [write([n])[0] for n in range(7)]
    for other in (loop, write(list(range(7)), 3), write(list(range(7))[::-1])[::-1]):
        for one, two in zip(together, other, strict=True):
            assert one.ids == two.ids and one.sources == two.sources
            for name in ("base", "post"):
                assert one.logprobs[name] == pytest.approx(two.logprobs[name], abs=EXACT)
            for name, receipts in two.receipts.items():
                assert [r.positions for r in receipts] == [r.positions for r in one.receipts[name]]


def test_own_edits_of_base_reach_its_candidates(pair: Any):
    """Under a base steered throughout, a candidate adds to it: both vectors, at every position."""
    both = [Intervention(SITE, add, vector(4)), Intervention(SITE, add, vector(1), dose=2.0)]
    prompt, new = [1, 6, 17, 30], 6
    expected = generate(pair.base, [prompt], max_new_tokens=new, interventions=both)[0]
    found = route(
        pair, [prompt], choose=lambda _: "more", max_new_tokens=new, base_interventions=both[:1],
        candidates={"more": both[1:]}, window="all", offer=lambda _: True,
    )[0]  # fmt: skip
    assert found.ids == expected.ids
    assert [r.positions for r in found.receipts["more"]] == [r.positions for r in expected.receipts]
    once = route(
        pair, [prompt], choose=lambda _: "more", max_new_tokens=1, base_interventions=both[:1],
        candidates={"more": both[1:]}, window=len(prompt), offer=lambda _: True,
    )[0]  # fmt: skip
    assert once.logprobs["more"][0] == pytest.approx(expected.logprobs[0], abs=EXACT)


def test_rules_see_the_activations_at_the_last_token(pair: Any):
    """Captures equal those of an uncached pass over the text so far; a rule may act on them."""
    prompts, seen = some_prompts(4, seed=3), list[tuple[int, list[int], Any]]()

    def by_base(step: TokenChoice) -> str:
        seen.append((step.row, [*step.prompt, *step.written], step.captures))
        return "post" if float(step.captures["base"][SITE].sum()) > 0 else "base"

    sites = [SITE, Site(2, "z")]
    found = route(pair, prompts, choose=by_base, max_new_tokens=5, capture=sites)
    assert {source for routing in found for source in routing.sources} == {"base", "post"}
    assert len(seen) == 20
    for _, ids, captures in seen:
        for name, model in (("base", pair.base), ("post", pair.post)):
            plain = run(model, [ids], capture=sites).captures
            for site in sites:
                expected = plain[site][0][-1]
                assert torch.allclose(captures[name][site], expected, atol=EXACT)


def test_disagreement_is_recorded(pair: Any):
    """Candidates are asked exactly where base and post propose different tokens."""
    (found,) = route(
        pair, [[1, 6, 17]], choose=guardrail, max_new_tokens=12,
        candidates={"weak": [Intervention(SITE, add, vector(1))]},
    )  # fmt: skip
    differ = [a != b for a, b in zip(*(found.proposed[n] for n in ("base", "post")), strict=True)]
    assert [token is not None for token in found.proposed["weak"]] == differ
    assert True in differ and False in differ


def test_a_rule_may_name_the_token(pair: Any):
    """The control without vectors: the likeliest by post among the base's first three tokens."""

    def top3(step: TokenChoice) -> tuple[str, int]:
        best = step.logprobs["base"].topk(3).indices
        return "base", int(best[step.logprobs["post"][best].argmax()])

    (found,) = route(pair, [[1, 6, 17]], choose=top3, max_new_tokens=6)
    ids = [1, 6, 17]
    for token in found.ids:
        best = read_again(pair.base, ids).topk(3).indices
        assert token == int(best[read_again(pair.post, ids)[best].argmax()])
        ids.append(token)
    assert found.ids != found.proposed["base"]


def test_a_model_paired_with_itself_never_disagrees(tiny: Any):
    """One object in both places: the edits of the base must not reach post."""
    same = ModelPair(tiny, tiny)
    plain = route(same, some_prompts(), choose=lambda _: "post", max_new_tokens=5)
    assert all(routing.proposed["base"] == routing.proposed["post"] for routing in plain)
    steer = Intervention(SITE, add, vector(1), dose=5.0)
    for settings in ({"base_interventions": [steer]}, {"candidates": {"steered": [steer]}}):
        found = route(
            same, some_prompts(), choose=lambda _: "post", offer=lambda _: True, max_new_tokens=5,
            **settings,
        )  # fmt: skip
        assert [r.ids for r in found] == [r.ids for r in plain]
    assert any(None not in r.proposed["steered"] for r in found)


def test_no_prompts_and_defaults(pair: Any):
    assert route(pair, [], choose=guardrail, max_new_tokens=3) == []
    step = TokenChoice(0, [1], (), {}, {"base": 3, "post": 4, "weak": 3}, {})
    assert disagree(step) and step.candidates == ["weak"]


def test_nan_names_row_and_source(pair: Any):
    huge = Intervention(Site(2, "resid_post"), add, vector(1), dose=3e38, rows=(1,))
    with pytest.raises(ValueError, match="not finite for row 1 after 0 new tokens, source 'huge'"):
        route(
            pair, [[1, 2], [3]], choose=guardrail, offer=lambda _: True, max_new_tokens=2,
            candidates={"huge": [huge]},
        )  # fmt: skip


def test_memory_shortage_halves_the_batch(pair: Any, monkeypatch: pytest.MonkeyPatch):
    prompts, sizes = some_prompts(9, seed=6), list[int]()
    settings: Any = {"choose": guardrail, "max_new_tokens": 4, "candidates": candidates((1, 8))}
    expected = route(pair, prompts, **settings)
    plain_writer = routing_module._Writer

    def writer_or_fail(pair: Any, rows: Any, settings: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_writer(pair, rows, settings)

    monkeypatch.setattr(routing_module, "_Writer", writer_or_fail)
    found = route(pair, prompts, **settings)
    assert sizes[0] == 9 and [r.ids for r in found] == [r.ids for r in expected]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": [[1], []]}, "prompt 1 is empty"),
        ({"seeds": [1]}, "choosing the most likely needs none"),
        ({"stop": [7]}, r"received 7 in \[7\]"),
        ({"batch_size": 0}, "batch_size must be at least 1, received 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, received -1"),
        ({"window": 0}, "from 1 up, or is 'all'; received 0"),
        ({"window": "All"}, "from 1 up, or is 'all'; received 'All'"),
        ({"candidates": {"post": []}}, "other than 'base' and 'post'"),
        ({"candidates": {"none": []}}, "received 'none' with 0"),
        (
            {"candidates": {"late": [Intervention(SITE, add, vector(1), positions=(0,))]}},
            r"received \(0,\) at blocks.1.hook_resid_post. Use window='all'",
        ),
        ({"candidates": {"wide": [Intervention(SITE, add, torch.ones(31))]}}, r"received \(31,\)"),
        (
            {"candidates": {"far": [Intervention(SITE, add, vector(1), rows=(2,))]}},
            r"names rows \[2\]",
        ),
        ({"capture": [Site(9, "z")]}, "its last is 2"),
    ],
)
def test_bad_input_is_refused_before_any_pass(
    pair: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, message: str
):
    monkeypatch.setattr(decoder_module, "body", None)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    given = {"prompts": [[1], [2]], "choose": guardrail, "max_new_tokens": 3, **settings}
    with pytest.raises(ValueError, match=message):
        route(pair, given.pop("prompts"), **given)


@pytest.mark.parametrize(
    "choice",
    [
        "nobody", "weak", ("base", 10_000), ("base", -1), ("base",), ("base", 2.5), ("base", True),
        ("base", 1, 2), ("nobody", 1), 3, None,
    ],
)  # fmt: skip
def test_a_choice_that_was_not_read_lists_the_sources(pair: Any, choice: Any):
    """A candidate cannot be chosen where it was not offered."""
    with pytest.raises(ValueError, match=r"read \(base, post\).*row 0 it returned .* 0 new"):
        route(
            pair, [[1, 6, 17]], choose=lambda _: choice, offer=lambda _: False, max_new_tokens=2,
            candidates=candidates(),
        )  # fmt: skip
