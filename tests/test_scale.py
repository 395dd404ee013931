"""Work split over processes equals the same work in one, and a dead worker is named."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from interp.workers import on_devices, run_jobs


def process_of(device: str, examples: list[int]) -> list[tuple[str, int, int]]:
    return [(device, os.getpid(), example) for example in examples]


def last_logprobs(folder: Path, device: str, examples: list[list[int]]) -> list[float]:
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
    results = on_devices(process_of, list(range(7)), ("first", "second"))
    assert [example for _, _, example in results] == list(range(7))
    assert [device for device, _, _ in results] == ["first", "second"] * 3 + ["first"]
    assert len({process for _, process, _ in results}) == 2
    assert os.getpid() not in {process for _, process, _ in results}


def test_a_model_on_two_devices_equals_one(tiny_folder: Path):
    rows = [[1, 6, 17], [30], [18, 10, 4, 4], [2, 3], [9]]
    logprobs = on_devices(partial(last_logprobs, tiny_folder), rows, ("cpu", "cpu"))
    assert logprobs == pytest.approx(last_logprobs(tiny_folder, "cpu", rows), abs=1e-4)


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


def wait_for_needed(folder: Path, _device: str, job: int) -> bool:
    """Whether the job that this one needs has left its file; the even ones need the one before."""
    is_finished = job % 2 == 1 or (folder / str(job - 1)).exists()
    time.sleep(0.3 if job % 2 else 0)
    (folder / str(job)).touch()
    return is_finished


def count_threads(_device: str, _job: int) -> int:
    import torch

    return torch.get_num_threads()


def fail_on_three(_device: str, job: int) -> int:
    if job == 3:
        raise KeyError("three")
    return job


def needed(job: int) -> int | None:
    return job - 1 if job % 2 == 0 else None


def test_a_job_begins_after_the_one_that_it_needs(tmp_path: Path):
    jobs = [2, 4, 1, 3, 6]  # 5 is not among them and counts as finished
    finished = list(
        run_jobs(partial(wait_for_needed, tmp_path), jobs, ("a", "b", "c"), needs=needed)
    )
    order = [job for job, _ in finished]
    assert sorted(order) == sorted(jobs)
    assert order.index(1) < order.index(2) and order.index(3) < order.index(4)
    assert dict(finished) == {1: True, 2: True, 3: True, 4: True, 6: False}


def test_jobs_that_wait_for_each_other_are_refused():
    with pytest.raises(ValueError, match=r"must not wait for each other; these do: \[1, 2\]"):
        list(run_jobs(count_threads, [1, 2], ("cpu",), needs=lambda job: 3 - job))


def test_results_come_until_a_job_fails_and_is_named():
    results = run_jobs(fail_on_three, [1, 2, 3, 4], ("only",))
    assert [next(results), next(results)] == [(1, 1), (2, 2)]
    with pytest.raises(RuntimeError, match="the worker on only failed on 3: KeyError: 'three'"):
        next(results)


def test_a_process_on_the_cpu_has_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(run_jobs(count_threads, [0], ("cpu",))) == [(0, 1)]
