"""Work split over processes equals the same work in one, and a dead worker is named."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from interp.workers import on_devices


def process_of(device: str, examples: list[int]) -> list[tuple[str, int, int]]:
    return [(device, os.getpid(), example) for example in examples]


def last_logprobs(folder: Path, device: str, examples: list[list[int]]) -> list[float]:
    import torch

    torch.set_num_threads(1)
    from interp.engine import run
    from interp.models import load_model

    model = load_model(folder, device=device)
    return [float(row.log_softmax(-1).max()) for row in run(model, examples).last]


def die_on_seven(_device: str, examples: list[int]) -> list[int]:
    if 7 in examples:
        os._exit(9)
    return examples


def refuse_seven(_device: str, examples: list[int]) -> list[int]:
    if 7 in examples:
        raise KeyError("seven")
    return examples


def lose_one(_device: str, examples: list[int]) -> list[int]:
    return examples[1:]


def lose_all(_device: str, examples: list[int]) -> None:
    examples.clear()


def wait_for(folder: Path, device: str, examples: list[int]) -> list[int]:
    """The second fails as soon as the first is at work, which then takes a minute."""
    if device == "second":
        while not (folder / "begun").exists():
            time.sleep(0.01)
        raise KeyError("seven")
    (folder / "begun").touch()
    time.sleep(60)
    (folder / "ended").touch()
    return examples


def test_results_are_in_the_order_of_the_examples():
    found = on_devices(process_of, list(range(7)), ("first", "second"))
    assert [example for _, _, example in found] == list(range(7))
    assert [device for device, _, _ in found] == ["first", "second"] * 3 + ["first"]
    assert len({process for _, process, _ in found}) == 2
    assert os.getpid() not in {process for _, process, _ in found}


def test_a_model_on_two_devices_equals_one(tiny_folder: Path):
    rows = [[1, 6, 17], [30], [18, 10, 4, 4], [2, 3], [9]]
    found = on_devices(partial(last_logprobs, tiny_folder), rows, ("cpu", "cpu"))
    assert found == pytest.approx(last_logprobs(tiny_folder, "cpu", rows), abs=1e-4)


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (die_on_seven, r"on second failed on 4 examples \(indices 1, 3, 5, 7\): its process ended"),
        (refuse_seven, r"on second failed on 4 examples \(indices 1, 3, 5, 7\): KeyError: 'seven'"),
        (lose_one, r"failed on 4 examples.*3 results for 4 examples"),
        (lose_all, r"failed on 4 examples.*returned a NoneType for 4 examples; return one each"),
    ],
)
def test_a_failing_worker_is_named_with_its_examples(worker: Any, message: str):
    with pytest.raises(RuntimeError, match=message):
        on_devices(worker, list(range(8)), ("first", "second"))


def test_a_failure_ends_the_other_workers(tmp_path: Path):
    with pytest.raises(RuntimeError, match="on second failed.*the other workers were ended"):
        on_devices(partial(wait_for, tmp_path), [6, 7], ("first", "second"))
    assert (tmp_path / "begun").exists() and not (tmp_path / "ended").exists()


def test_more_devices_than_examples_and_none():
    assert on_devices(process_of, [], ("first",)) == []
    assert [at[0] for at in on_devices(process_of, [5], ("first", "second"))] == ["first"]


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(ValueError, match="top level of a module"):
        on_devices(lambda _device, examples: examples, [1], ("cpu",))
    with pytest.raises(ValueError, match="at least one device"):
        on_devices(process_of, [1], ())
