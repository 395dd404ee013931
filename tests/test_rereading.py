"""A text is captured while it is written, and read again with the same positions edited."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from interp.engine import generate, run
from interp.interventions import Intervention, add, project_out, replace
from interp.sites import Site

AFTER, HEADS, MIDDLE = Site(1, "resid_post"), Site(0, "z"), Site(2, "resid_mid")
SITES = [AFTER, HEADS, MIDDLE, Site(None, "embed"), Site(None, "ln_final")]
PROMPTS = [[1, 6, 17, 30, 12], [1, 6, 20], [1, 6, 18, 22, 9, 14]]
N_NEW = 7


def noise(*shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


EDITS = {
    "none": [],
    "all": [Intervention(AFTER, add, noise(32))],
    "prompt": [Intervention(AFTER, add, noise(32), positions="prompt")],
    "every generated token": [Intervention(AFTER, add, noise(32), positions="generated")],
    "last of the prompt": [Intervention(AFTER, add, noise(32), positions=(-1,))],
    "listed, one vector each": [Intervention(AFTER, replace, noise(2, 32), positions=(0, -1))],
    "a head": [Intervention(HEADS, project_out, noise(8), positions="generated", head=2)],
    "rows of their own": [
        Intervention(MIDDLE, add, noise(32), positions="generated", rows=(1,)),
        Intervention(AFTER, add, noise(32), 0.5, "norms", positions="prompt", rows=(0, 2)),
        Intervention(AFTER, project_out, noise(32), positions="all", rows=(2,)),
    ],
}  # fmt: skip


def write(model: Any, edits: Any, **settings: Any) -> Any:
    stop = [[generate(model, PROMPTS[1:2], max_new_tokens=3)[0].ids[-1]]]  # rows end unequally
    return generate(
        model, PROMPTS, max_new_tokens=N_NEW, interventions=edits, capture=SITES, stop=stop,
        **settings,
    )  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_one_pass_over_the_text_has_the_same_edits_and_activations(
    tiny: Any, name: str, pad_side: Any
):
    written = write(tiny, EDITS[name])
    rows = [[*prompt, *one.ids][:-1] for prompt, one in zip(PROMPTS, written, strict=True)]
    lengths = [len(prompt) for prompt in PROMPTS]
    again = run(
        tiny, rows, interventions=EDITS[name], capture=SITES, prompt_lengths=lengths,
        pad_side=pad_side,
    )  # fmt: skip
    for number, one in enumerate(written):
        for site in SITES:
            assert one.captures[site].shape == again.captures[site][number].shape
            assert torch.allclose(one.captures[site], again.captures[site][number], atol=1e-4)
        logprobs = again.logits[number][lengths[number] - 1 :].log_softmax(-1)
        found = logprobs.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        assert torch.allclose(found, torch.tensor(one.logprobs), atol=1e-4)
        of_row = [receipt for receipt in again.receipts if receipt.row == number]
        assert [r.positions for r in of_row] == [r.positions for r in one.receipts]


def test_the_positions_by_hand(tiny: Any):
    read = {
        name: run(
            tiny, [[1, 6, 20, 5, 9]], interventions=EDITS[name], prompt_lengths=[3]
        ).receipts[0].positions
        for name in ("all", "prompt", "every generated token", "last of the prompt")
    }  # fmt: skip
    assert read == {
        "all": (0, 1, 2, 3, 4),
        "prompt": (0, 1, 2),
        "every generated token": (3, 4),
        "last of the prompt": (2,),
    }


def test_a_whole_text_without_its_prompt_named_counts_from_its_own_end(tiny: Any):
    """What `prompt_lengths` is for: alone the same intervention means another position."""
    edits = EDITS["last of the prompt"]
    assert run(tiny, [[1, 6, 20, 5, 9]], interventions=edits).receipts[0].positions == (4,)
    with pytest.raises(ValueError, match="nothing is generated here.*prompt_lengths"):
        run(tiny, [[1, 6]], interventions=EDITS["every generated token"])


def test_a_row_that_is_all_prompt_has_nothing_generated(tiny: Any):
    edits = EDITS["every generated token"]
    found = run(tiny, [[1, 6], [1, 6, 20]], interventions=edits, prompt_lengths=[2, 2])
    assert [receipt.positions for receipt in found.receipts] == [(), (2,)]
    assert torch.equal(found.logits[0], run(tiny, [[1, 6], [1, 6, 20]]).logits[0])


@pytest.mark.parametrize("lengths", [[2], [0, 2], [2, 4], [2, 2, 2]])
def test_lengths_that_do_not_fit_are_refused(tiny: Any, lengths: list[int]):
    with pytest.raises(ValueError, match="prompt_lengths has one number per row, 1 to the tokens"):
        run(tiny, [[1, 6], [1, 6, 20]], prompt_lengths=lengths)


def test_captures_do_not_depend_on_the_batch(tiny: Any):
    together = write(tiny, EDITS["all"])
    for size in (1, 2):
        for one, other in zip(write(tiny, EDITS["all"], batch_size=size), together, strict=True):
            assert one.ids == other.ids
            for site in SITES:
                assert torch.allclose(one.captures[site], other.captures[site], atol=1e-4)


def test_captures_of_drawn_tokens_and_of_one_token(tiny: Any):
    drawn = generate(
        tiny, PROMPTS, max_new_tokens=4, temperature=1.0, seeds=[1, 2, 3], capture=[AFTER]
    )
    for prompt, one in zip(PROMPTS, drawn, strict=True):
        plain = run(tiny, [[*prompt, *one.ids][:-1]], capture=[AFTER]).captures[AFTER][0]
        assert torch.allclose(one.captures[AFTER], plain, atol=1e-4)
    (single,) = generate(tiny, PROMPTS[:1], max_new_tokens=1, capture=[AFTER])
    assert single.captures[AFTER].shape == (5, 32)
    assert not generate(tiny, PROMPTS[:1], max_new_tokens=1)[0].captures
