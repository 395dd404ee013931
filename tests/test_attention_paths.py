"""Attention paths against a slow reference that decides for every pair of tokens."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import make_hf
from torch import Tensor

import interp.methods.attention.attention_paths as states_module
from interp.methods.attention import PATHS, PathRow, path_logprobs
from interp.models import make_model

EXACT = 1e-4
NOTHING = 1e-5
"""Rounding of one kernel on two rows of a batch."""


@pytest.fixture(scope="module")
def eager(tiny: Any) -> Any:
    return make_model(make_hf(attn_implementation="eager"), tiny.tokenizer, name="eager")


def some_rows(model: Any, n: int = 7, seed: int = 0) -> list[PathRow]:
    rng = random.Random(seed)

    def tokens(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randrange(model.d_vocab) for _ in range(rng.randint(low, high)))

    rows: list[PathRow] = []
    for _ in range(n):
        answer = tokens(2, 6)
        rows.append(PathRow(tokens(1, 9), tokens(0, 12), answer, rng.randint(1, len(answer) - 1)))
    return rows


def may_look(path: str, query: int, key: int, regions: str, n_sink: int) -> bool:
    """The definition, for one query and one key; regions is a string such as 'PPPCCAA'."""
    if key > query:
        return False
    if key == query or (regions[key] == "P" and key < n_sink):
        return True
    if path == "via_cot":
        return not (regions[query] == "A" and regions[key] == "P")
    hidden = {"full": "", "no_cot": "C", "no_prompt": "P", "sink_only": "PC"}[path]
    return regions[key] not in hidden


def slow_logprobs(eager: Any, row: PathRow, path: str, n_sink: int) -> Tensor:
    """The whole text in one pass of the eager kernel, under a table filled pair by pair."""
    ids = [*row.prompt, *row.cot, *row.answer]
    regions = "P" * len(row.prompt) + "C" * len(row.cot) + "A" * len(row.answer)
    mask = torch.zeros(1, 1, len(ids), len(ids))
    for query in range(len(ids)):
        for key in range(len(ids)):
            if not may_look(path, query, key, regions, n_sink):
                mask[0, 0, query, key] = torch.finfo(torch.float32).min
    with torch.no_grad():
        logits = eager.hf(
            torch.tensor([ids]),
            attention_mask=mask,
            position_ids=torch.arange(len(ids))[None],
            use_cache=False,
        ).logits[0]
    n_asked = len(row.answer) - row.n_cue
    return logits.log_softmax(-1)[-n_asked - 1 : -1]


@pytest.mark.parametrize("n_sink", [0, 1, 3])
@pytest.mark.parametrize("token_budget", [8192, 1])
def test_every_path_equals_the_slow_reference(
    tiny: Any, eager: Any, n_sink: int, token_budget: int
):
    rows = some_rows(tiny, seed=n_sink)
    found = path_logprobs(tiny, rows, n_sink=n_sink, token_budget=token_budget)
    for row, paths in zip(rows, found, strict=True):
        assert tuple(paths) == PATHS
        for path in PATHS:
            expected = slow_logprobs(eager, row, path, n_sink)
            assert paths[path].shape == (len(row.answer) - row.n_cue, tiny.d_vocab)
            assert torch.allclose(paths[path], expected, atol=EXACT), path


ROW = PathRow((1, 6, 17, 30, 18, 10), (4, 17, 30, 18, 29), (5, 7, 20, 2), 2)


def largest_change(model: Any, one: PathRow, two: PathRow) -> dict[str, float]:
    first, second = path_logprobs(model, [one, two])
    return {path: float((first[path] - second[path]).abs().max()) for path in PATHS}


def test_what_the_chain_says_leaks_through_no_path_that_hides_it(tiny: Any):
    change = largest_change(tiny, ROW, replace(ROW, cot=(9, 40, 41, 42, 43)))
    assert change["no_cot"] < NOTHING and change["sink_only"] < NOTHING
    assert min(change[path] for path in ("full", "via_cot", "no_prompt")) > 1e-2


def test_what_the_prompt_says_leaks_through_no_path_that_hides_it(tiny: Any):
    change = largest_change(tiny, ROW, replace(ROW, prompt=(1, 9, 40, 41, 42, 43)))
    assert change["no_prompt"] < NOTHING and change["sink_only"] < NOTHING
    assert min(change[path] for path in ("full", "via_cot", "no_cot")) > 1e-2


def test_the_sink_stays_visible_everywhere(tiny: Any):
    change = largest_change(tiny, ROW, replace(ROW, prompt=(3, *ROW.prompt[1:])))
    assert min(change.values()) > 1e-3


def test_prompt_reaches_via_cot_only_through_the_chain(tiny: Any):
    """Without a chain the prompt has no way left; with one it has."""
    bare = replace(ROW, cot=())
    change = largest_change(tiny, bare, replace(bare, prompt=(1, 9, 40, 41, 42, 43)))
    assert change["via_cot"] < NOTHING and change["no_cot"] > 1e-2
    paths = path_logprobs(tiny, [bare])[0]
    assert torch.allclose(paths["full"], paths["no_cot"], atol=1e-5)


def test_rows_do_not_notice_each_other(tiny: Any):
    rows = some_rows(tiny, seed=9)
    for row, together in zip(rows, path_logprobs(tiny, rows), strict=True):
        alone = path_logprobs(tiny, [row])[0]
        assert all(torch.allclose(alone[path], together[path], atol=EXACT) for path in PATHS)


def test_memory_shortage_halves_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    rows = some_rows(tiny, seed=10)
    expected = path_logprobs(tiny, rows)
    plain, sizes = states_module._read, list[int]()

    def read_or_fail(model: Any, part: Any, n_sink: int) -> Any:
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(model, part, n_sink)

    monkeypatch.setattr(states_module, "_read", read_or_fail)
    found = path_logprobs(tiny, rows)
    assert sizes[0] == 7
    for one, two in zip(expected, found, strict=True):
        assert all(torch.allclose(one[path], two[path], atol=EXACT) for path in PATHS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(ROW, n_cue=0), "Move the closing token and the answer cue"),
        (replace(ROW, n_cue=4), "fewer than the 4 tokens of the region; row 0 has 4"),
        (replace(ROW, prompt=()), "the prompt of row 0 is empty"),
        (replace(ROW, answer=()), "the answer of row 0 is empty"),
        (replace(ROW, cot=(5,) * 247), "row 0 is 257 tokens long and tiny reads at most 256"),
        (replace(ROW, cot=(999,)), "the chain of row 0 holds the id 999"),
    ],
)
def test_rows_that_do_not_fit(tiny: Any, row: PathRow, message: str):
    with pytest.raises(ValueError, match=message):
        path_logprobs(tiny, [row])
    with pytest.raises(ValueError, match="cannot be negative"):
        path_logprobs(tiny, [ROW], n_sink=-1)


def test_nan_names_row_and_path(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    model.hf.model.embed_tokens.weight.data[33] = float("nan")
    with pytest.raises(ValueError, match="not finite for row 1 under the path 'full'"):
        path_logprobs(model, [ROW, replace(ROW, cot=(33,))])
