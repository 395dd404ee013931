"""Threads: what one thread edits or captures never shows in the passes of another.

One thread steers again and again while the main thread does something plain with the same model,
which must come out as it did alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.engine import Branch, generate, run, score_branches, sweep
from interp.interventions import Intervention, add
from interp.methods.attention.receiver_heads import step_attention
from interp.methods.attention.stepped_text import SteppedText
from interp.models import hooked, open_bridge
from interp.sites import Site

AFTER, MIDDLE = Site(1, "resid_post"), Site(1, "resid_mid")
IDS = [1, *range(5, 41)]
N_TIMES = 10


def push(site: Site = AFTER) -> Intervention:
    return Intervention(site, add, 5 * torch.randn(32, generator=torch.Generator().manual_seed(0)))


@contextmanager
def meanwhile(work: Callable[[], object]) -> Generator[list[BaseException]]:
    """Does work again and again in another thread; the list receives its errors."""
    stop, errors = threading.Event(), list[BaseException]()
    started = threading.Event()

    def go() -> None:
        while not stop.is_set():
            try:
                work()
            except BaseException as error:
                errors.append(error)
            started.set()

    thread = threading.Thread(target=go)
    thread.start()
    started.wait()
    try:
        yield errors
    finally:
        stop.set()
        thread.join()


def count_hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules())


def plain_run(model: Any) -> Tensor:
    return run(model, [IDS]).logits[0]


def plain_text(model: Any) -> Tensor:
    written = generate(model, [IDS[:6]], max_new_tokens=6)[0]
    return torch.tensor([written.ids, written.logprobs])


def plain_branches(model: Any) -> Tensor:
    return score_branches(model, [IDS], [[Branch(4, (7, 8, 9))]])[0][0].logprobs


def plain_sweep(model: Any) -> Tensor:
    return sweep(model, IDS[:12], [[], [push(Site(2, "attn_out"))]]).logits[0]


def plain_module(model: Any) -> Tensor:
    with torch.no_grad():
        return model.hf(torch.tensor([IDS])).logits[0]


@pytest.mark.parametrize(
    "plain", [plain_run, plain_text, plain_branches, plain_sweep, plain_module]
)
@pytest.mark.parametrize("site", [AFTER, MIDDLE])
def test_a_thread_that_steers_leaves_the_passes_of_another_alone(
    tiny: Any, plain: Callable[[Any], Tensor], site: Site
):
    # Once asked for hidden states, Transformers leaves hooks of its own on a model.
    before = count_hooks(tiny)
    alone = plain(tiny)
    steered = run(tiny, [IDS], interventions=[push(site)]).logits[0]
    found: list[Tensor] = []

    def steer() -> None:
        # Its receipts would be refused if it edited passes of the other thread.
        found[:] = [run(tiny, [IDS], interventions=[push(site)]).logits[0]]

    with meanwhile(steer) as errors:
        assert all(torch.equal(plain(tiny), alone) for _ in range(N_TIMES))
    assert not errors
    assert torch.equal(found[0], steered)
    assert count_hooks(tiny) == before


def test_hooks_of_one_thread_rest_while_another_computes(tiny: Any):
    """No luck with the timing is needed: the other pass runs inside the `with` block."""
    alone = plain_module(tiny)
    seen: list[tuple[int, ...]] = []
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(plain_module(tiny)))
    with hooked(
        tiny, [(AFTER, lambda activation: seen.append(activation.shape) or activation + 9)]
    ):
        thread.start()
        thread.join()
        assert seen == [] and torch.equal(found[0], alone)
        assert not torch.equal(plain_module(tiny), alone) and len(seen) == 1


def test_a_pass_in_another_thread_does_not_count(tiny: Any):
    thread = threading.Thread(target=plain_module, args=(tiny,))
    with (
        pytest.raises(RuntimeError, match="never computed: blocks.1.hook_resid_post.*other thread"),
        hooked(tiny, [(AFTER, lambda _: None)]),
    ):
        thread.start()
        thread.join()


def test_captures_are_of_the_own_rows(tiny: Any):
    short, long = IDS[:7], IDS
    alone = run(tiny, [short], capture=[AFTER]).captures[AFTER][0]
    with meanwhile(lambda: run(tiny, [long, long[:20]], capture=[AFTER])) as errors:
        for _ in range(N_TIMES):
            (found,) = run(tiny, [short], capture=[AFTER]).captures[AFTER]
            assert torch.equal(found, alone)
    assert not errors


def test_patterns_are_read_without_changing_the_kernel_of_other_passes(tiny: Any):
    """Under a mask made for one kernel, the other one would compute something else in silence."""
    text = SteppedText(tuple(IDS), tuple(range(k, k + 6) for k in range(1, 37, 6)))
    alone = plain_branches(tiny)
    with meanwhile(lambda: step_attention(tiny, text)) as errors:
        assert all(torch.equal(plain_branches(tiny), alone) for _ in range(N_TIMES))
    assert not errors


def test_a_bridge_reads_for_one_thread_at_a_time(tiny: Any):
    bridge = open_bridge(tiny.hf)
    ids = torch.tensor([IDS])
    alone = bridge.run_with_hooks(ids, [])

    def steer() -> None:
        bridge.run_with_hooks(ids, [("blocks.1.hook_out", lambda x, hook: x + 9)])  # noqa: ARG005

    with meanwhile(steer) as errors:
        assert all(torch.equal(bridge.run_with_hooks(ids, []), alone) for _ in range(N_TIMES))
    assert not errors
