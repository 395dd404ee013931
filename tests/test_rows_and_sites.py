"""Rows of token ids in every form they come in, and sites by name wherever a site is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from interp.engine import Branch, generate, route, run, score_branches, sweep
from interp.interventions import Intervention, add
from interp.interventions.ablations import mean_ablation, resample_ablation
from interp.methods.activation_store import Store, capture
from interp.methods.crosscoder.comparison import paired_activations
from interp.methods.directions import Source, collect, make_direction
from interp.methods.patching import Donor, LogitDiff, attribution_grid, patch_grid
from interp.methods.steering import write_steered
from interp.methods.vector_cards import load_vector
from interp.models import ModelPair, hooked
from interp.sites import BySite, Site, as_site, as_sites

NAME, SHORT, SITE = "blocks.1.hook_resid_post", "resid_post.1", Site(1, "resid_post")
ROWS = [[1, 6, 17, 30], [1, 8, 9, 20]]


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor(ROWS),
        np.array(ROWS),
        np.array(ROWS, dtype=np.uint16),
        [torch.tensor(row) for row in ROWS],
        [np.array(row, dtype=np.int32) for row in ROWS],
        tuple(map(tuple, ROWS)),
        [[np.int64(token) for token in row] for row in ROWS],
        [range(1, 5), range(5, 9)],
    ],
)
def test_rows_in_other_forms_are_read_as_lists(tiny: Any, rows: Any, monkeypatch: Any):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    lists = [[int(token) for token in row] for row in rows]
    for found, expected in zip(run(tiny, rows).logits, run(tiny, lists).logits, strict=True):
        assert torch.equal(found, expected)
    assert generate(tiny, rows, max_new_tokens=3) == generate(tiny, lists, max_new_tokens=3)
    branches = [[Branch(2, (7, 8))], [Branch(3, (9,))]]
    for one, other in zip(
        score_branches(tiny, rows, branches), score_branches(tiny, lists, branches), strict=True
    ):
        assert torch.equal(one[0].logprobs, other[0].logprobs)


def test_a_tensor_with_one_axis_is_one_row(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    row, suffix = torch.tensor(ROWS[0]), torch.tensor([7, 8])
    plain = run(tiny, ROWS[:1]).logits[0]
    assert torch.equal(run(tiny, row).logits[0], plain)
    swept = sweep(tiny, row, [[]], logits_at="all").logits[0]
    assert torch.allclose(swept, plain, atol=1e-4)
    branch: Any = Branch
    assert branch(2, suffix) == Branch(2, (7, 8))


def test_methods_take_them_too(tiny: Any, tmp_path: Path):
    rows, lists = torch.tensor(ROWS), ROWS
    last = [(-1,), (-1,)]
    assert torch.equal(
        collect(tiny, rows, last, SITE).values, collect(tiny, lists, last, SITE).values
    )
    assert (
        collect(tiny, rows, last, SITE).texts_sha256
        == collect(tiny, lists, last, SITE).texts_sha256
    )
    stored = capture({"m": tiny}, rows, [SITE], tmp_path / "store")
    assert stored.tokens.tolist() == [token for row in lists for token in row]
    metric = LogitDiff(right=5, wrong=7)
    for grid in (patch_grid, attribution_grid):
        found = grid(tiny, rows[0], Donor(tiny, np.array(ROWS[1])), metric)
        expected = grid(tiny, lists[0], Donor(tiny, lists[1]), metric)
        assert torch.equal(found.values, expected.values)


REFUSED = {
    "a text": ("hello", TypeError, r"list of rows of token ids.*received str.*tokenizer\("),
    "texts": (["hello"], TypeError, "row 0 must be token ids, received the text 'hello'"),
    "words": ([["hello"]], TypeError, r"row 0 must hold whole numbers.*'hello' \(str\)"),
    "one row": ([1, 6], TypeError, r"row 0 must be a list of token ids, received int.*\[\[5, 6, 7"),
    "an encoding": ({"input_ids": [[1]]}, TypeError, "received dict"),
    "nothing": (None, TypeError, "received NoneType"),
    "floats": ([[1.0, 6.0]], TypeError, "whole numbers.*received 1.0"),
    "a tensor of floats": (torch.ones(2, 3), TypeError, "row 0 must hold whole numbers"),
    "NaN": ([[float("nan")]], TypeError, "whole numbers"),
    "truth values": ([[True, False]], TypeError, r"received True \(bool\)"),
    "a mask": (torch.ones(1, 3, dtype=torch.bool), TypeError, r"received True \(bool\)"),
    "nested": ([[[1, 6]]], TypeError, r"row 0 must hold whole numbers.*received \[1, 6\]"),
    "three axes": (torch.ones(1, 2, 3, dtype=torch.long), ValueError, r"\(1, 2, 3\)"),
    "a number": (torch.tensor(3), ValueError, r"received \(\)"),
    "rows of two axes": ([torch.tensor([[1, 6]])], ValueError, r"one axis, received .*\(1, 2\)"),
    "negative": ([[1, -6]], ValueError, "holds the id -6"),
    "beyond the vocabulary": (torch.tensor([[1, 10**6]]), ValueError, "holds the id 1000000"),
    "empty": ([[]], ValueError, "row 0 is empty"),
    "no columns": (torch.zeros(2, 0, dtype=torch.long), ValueError, "row 0 is empty"),
    "padded": (torch.tensor([[1, 6, 17], [1, 6, 0]]), ValueError, "row 1 .*padding token 0"),
    "padded left": (np.array([[1, 6, 17], [0, 1, 6]]), ValueError, "row 1 .*padding token 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_row_is_refused(tiny: Any, name: str, monkeypatch: pytest.MonkeyPatch):
    rows, kind, message = REFUSED[name]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(kind, match=message):
        run(tiny, rows)
    prompt_message = message.replace("row 0", "prompt 0").replace("row 1", "prompt 1")
    with pytest.raises(kind, match=prompt_message):
        generate(tiny, rows, max_new_tokens=2)
    with pytest.raises(kind, match=message.replace("row ", "prefix ")):
        score_branches(tiny, rows, [])


def test_the_remedy_for_padding_works(tiny: Any):
    ids = torch.tensor([[1, 6, 17], [1, 6, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    rows = [row[seen.bool()] for row, seen in zip(ids, mask, strict=True)]
    assert [len(logits) for logits in run(tiny, rows).logits] == [3, 2]


def test_a_list_may_hold_the_padding_token(tiny: Any):
    """Who writes a list says where it ends; only the rows of a tensor are as long as each other."""
    assert len(run(tiny, [[1, 6, 0]]).logits[0]) == 3


@pytest.mark.parametrize("name", [NAME, SHORT, "blocks.1.hook_out", "model.layers.1"])
def test_passes_take_a_site_by_name(tiny: Any, name: str):
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0))
    by_name, by_site = Intervention(name, add, vector), Intervention(SITE, add, vector)
    assert by_name.site == SITE
    found = run(tiny, ROWS, interventions=[by_name], capture=[name])
    expected = run(tiny, ROWS, interventions=[by_site], capture=[SITE])
    assert list(found.captures) == [SITE]
    assert torch.equal(found.captures[name][0], expected.captures[SITE][0])
    (written,) = generate(tiny, ROWS[:1], max_new_tokens=2, capture=[name])
    assert written.captures[name].shape == (5, 32)
    swept = sweep(tiny, ROWS[0], [[by_name]], logits_at="all").logits[0]
    assert torch.allclose(swept, found.logits[0], atol=1e-4)
    seen: list[torch.Size] = []
    with hooked(tiny, [(name, lambda activation: seen.append(activation.shape))]):
        run(tiny, ROWS)
    assert seen == [(2, 4, 32)]


def test_rules_of_routing_find_captures_by_name(tiny: Any):
    seen: list[torch.Tensor] = []

    def choose(step: Any) -> str:
        seen.append(step.captures["base"][NAME])
        return "base"

    route(ModelPair(tiny, tiny), ROWS[:1], choose=choose, max_new_tokens=1, capture=[NAME])
    expected = run(tiny, ROWS[:1], capture=[SITE]).captures[SITE][0][-1]
    assert torch.allclose(seen[0], expected, atol=1e-5)


def test_methods_take_a_site_by_name(tiny: Any, tmp_path: Path):
    captures = run(tiny, ROWS * 4, capture=[NAME]).captures[NAME]
    assert mean_ablation(NAME, captures).site == SITE
    assert {edit.site for edit in resample_ablation(SHORT, captures, seed=0)} == {SITE}
    assert collect(tiny, ROWS, [(-1,), (-1,)], NAME).site == SITE
    direction = make_direction(torch.ones(32), SHORT, Source("test"), reference_norm=1.0)
    assert direction.site == SITE
    assert write_steered(tiny, ROWS, direction, 0.5, max_new_tokens=1)[0].receipt.site == SITE
    save_file({"v": torch.ones(32)}, tmp_path / "v.safetensors")
    assert load_vector(tmp_path / "v.safetensors", site=NAME).site == SITE
    store = capture({"m": tiny}, ROWS, [NAME], tmp_path / "store")
    assert store.sites == (SITE,)
    assert torch.equal(store.values("m", SHORT), store.values("m", SITE))
    batches = (Store.open(tmp_path / "store").batches("m", s, 2, seed=0) for s in (NAME, SITE))
    assert torch.equal(*(next(batch) for batch in batches))
    values, _ = paired_activations(ModelPair(tiny, tiny), ROWS, NAME, tmp_path / "pair")
    assert values.shape == (6, 2, 32)


@pytest.mark.parametrize(
    ("take", "kind", "message"),
    [
        (lambda m: run(m, ROWS, capture=["out.3"]), ValueError, "no site is called 'out.3'"),
        (lambda m: run(m, ROWS, capture=["resid_post.9"]), ValueError, "its last is 2"),
        (lambda m: run(m, ROWS, capture=NAME), TypeError, r"Write \['blocks.1.hook_resid_post'\]"),
        (lambda m: run(m, ROWS, capture=SITE), TypeError, r"Write \['blocks.1.hook_resid_post'\]"),
        (lambda m: run(m, ROWS, capture=[1]), TypeError, "a Site or its name, received 1"),
        (lambda m: run(m, [], capture=["resid_post.9"]), ValueError, "its last is 2"),
        (lambda m: generate(m, ROWS, max_new_tokens=1, capture=["resid_post.9"]), ValueError,
         "its last is 2"),
        (lambda _: Intervention("nowhere", add, torch.ones(32)), ValueError, "no site is called"),
        (lambda _: make_direction(torch.ones(32), 5, Source("test")), TypeError, "received 5"),
    ],
)  # fmt: skip
def test_what_is_no_site_is_refused(
    tiny: Any,
    take: Callable[[Any], object],
    kind: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(kind, match=message):
        take(tiny)


def test_values_by_site_are_a_mapping():
    values = BySite({SITE: 1, Site(None, "embed"): 2})
    assert values[NAME] == values[SITE] == values[SHORT] == values.get("model.layers.1") == 1
    assert values["embed"] == 2 and NAME in values and "resid_post.2" not in values
    assert len(values) == 2 and list(values) == [SITE, Site(None, "embed")]
    assert values == {SITE: 1, Site(None, "embed"): 2}
    with pytest.raises(KeyError):
        values["resid_post.2"]
    assert as_site(SITE) is SITE and as_sites([NAME, SITE]) == (SITE, SITE)
