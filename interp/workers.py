"""Workers: the same function called on many jobs, in one process for each device.

A worker is a function at the top level of a module, so that a fresh process can import it. It is
called with the name of a device and one job. `run_jobs` gives each job to the first process that is
free and yields results as they come; a job may have to wait for another one. `on_devices` splits
examples that do not depend on each other and returns one result per example, in order::

    def accuracy(device: str, examples: list[Example]) -> list[bool]:
        model = load_model("base", device=device)
        ...

    right = on_devices(accuracy, examples, ["cuda:0", "cuda:1"])

When one worker fails, the others are ended and the failure is reported at once, with its device and
its job. Processes are spawned, not forked: a fork would inherit a device context that does not
survive it. A process on 'cpu' computes with one thread, since several of them share the cores.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

from interp.errors import InputError, is_about_input, one_line

Example = TypeVar("Example")
Result = TypeVar("Result")
Job = TypeVar("Job")
SHOWN_NUMBERS = 8
"""Examples that the message of a failure lists."""


def run_jobs(
    worker: Callable[[str, Job], Result],
    jobs: Sequence[Job],
    devices: Sequence[str],
    *,
    needs: Callable[[Job], Job | None] | None = None,
) -> Iterator[tuple[Job, Result]]:
    """Calls a worker on each job, in one process for each device.

    Args:
        worker: Called with the name of the device and a job. It, the jobs and the results must be
            picklable.
        jobs: In the order in which they are begun; the first ones go to the devices in order.
        devices: For example ('cuda:0', 'cuda:1'); one named twice gets two processes.
        needs: The job that must be finished before this one begins, or None. A job that is not
            among `jobs` counts as finished.

    Yields:
        Each job with its result, as soon as it is finished.

    Raises:
        ValueError: If there are no devices, the worker cannot be sent to a process, or jobs wait
            for each other.
        InputError: If a worker meets an error about the input (`interp.errors`).
        RuntimeError: If a worker raises another one or dies; the message names the device and the
            job.
    """
    if not devices:
        raise ValueError("name at least one device, for example ['cpu']")
    _check_worker(worker)
    waiting = list(jobs)
    running: dict[Future[Result], tuple[Job, int]] = {}
    pids: dict[int, Future[int]] = {}
    with ExitStack() as stack:
        # One pool for each process: a shared pool could not tell which job's process has died.
        pools = [stack.enter_context(_single_process(device)) for device in devices]
        free = deque(range(len(devices)))
        try:
            while waiting or running:
                for job in _ready(waiting, [job for job, _ in running.values()], needs):
                    if not free:
                        break
                    waiting.remove(job)
                    at = free.popleft()
                    # Asked before its first job: once busy, the process could not answer.
                    if at not in pids:
                        pids[at] = pools[at].submit(os.getpid)
                    running[pools[at].submit(_work, worker, devices[at], job)] = job, at
                if not running:
                    raise ValueError(f"jobs must not wait for each other; these do: {waiting}")
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, at = running.pop(future)
                    free.append(at)
                    if error := future.exception():
                        raise _failure(devices[at], job, error) from error
                    yield job, future.result()
        except BaseException:  # also Ctrl-C, and a caller that stops taking results
            _end([*pids.values()])  # leaving the pools waits for their workers
            raise


def on_devices(
    worker: Callable[[str, list[Example]], Sequence[Result]],
    examples: Sequence[Example],
    devices: Sequence[str],
) -> list[Result]:
    """Splits examples over devices and puts the results back in order.

    Each device gets every n-th example, so which example goes where depends on their order and the
    number of devices alone. Work is all or nothing: a failure returns no results.

    Args:
        worker: Called once per device, in a process of its own, with the name of the device and its
            examples; returns one result per example. It and its results must be picklable.
        examples: In any number; a device for which none is left starts no process.
        devices: As for `run_jobs`.

    Returns:
        One result per example, in the order of the examples.

    Raises:
        ValueError: If there are no devices, or the worker cannot be sent to a process.
        RuntimeError: If a worker raises, dies, or returns another number of results; the message
            names the device and its examples.
    """
    split = [range(start, len(examples), len(devices)) for start in range(len(devices))]
    shares = [_Share(numbers, [examples[n] for n in numbers]) for numbers in split if numbers]
    results: dict[int, Result] = {}
    for share, values in run_jobs(partial(_work_share, worker), shares, devices):
        results.update(zip(share.numbers, values, strict=True))
    return [results[number] for number in range(len(examples))]


@dataclass(frozen=True)
class _Share(Generic[Example]):
    """The examples of one device, with their numbers."""

    numbers: range
    examples: list[Example]

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.numbers[:SHOWN_NUMBERS]))
        rest = ", ..." if len(self.numbers) > SHOWN_NUMBERS else ""
        return f"{len(self.numbers)} examples (indices {listed}{rest})"


def _work_share(
    worker: Callable[[str, list[Example]], Sequence[Result]], device: str, share: _Share[Example]
) -> Sequence[Result]:
    results = worker(device, share.examples)
    n = len(results) if isinstance(cast(object, results), Sized) else None
    if n != len(share.numbers):
        received = f"a {type(results).__name__}" if n is None else f"{n} results"
        # No fault of the input: a RuntimeError, which keeps its traceback.
        raise RuntimeError(
            f"it returned {received} for {len(share.numbers)} examples; return one each"
        )
    return results


def _work(worker: Callable[[str, Job], Result], device: str, job: Job) -> Result:
    """One job; an error says here what it is about, since its traceback stays in the process."""
    try:
        return worker(device, job)
    except Exception as error:
        if not is_about_input(error):
            raise
        raise InputError(one_line(error)) from error


def _ready(
    waiting: Sequence[Job], running: Sequence[Job], needs: Callable[[Job], Job | None] | None
) -> list[Job]:
    """The jobs that wait for no other one."""
    if needs is None:
        return [*waiting]
    unfinished = [*waiting, *running]
    return [job for job in waiting if needs(job) not in unfinished]


def _single_process(device: str) -> ProcessPoolExecutor:
    """A pool of one process, which starts with its first job."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare, initargs=(device,))


def _prepare(device: str) -> None:
    """Limits a process on the CPU to one thread, whether or not torch is imported already."""
    if device == "cpu":
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(1)


def _check_worker(worker: Callable[..., object]) -> None:
    try:
        pickle.dumps(worker)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"a worker is sent to other processes by its name, so it must be a function at the top "
            f"level of a module (or functools.partial of one), not a lambda or an inner function; "
            f"received {worker!r} ({error})"
        ) from error


def _failure(device: str, job: Any, error: BaseException) -> Exception:
    reason = (
        "its process ended without a message, most likely killed for lack of memory"
        if isinstance(error, BrokenProcessPool)
        else f"{type(error).__name__}: {error}"
    )
    message = f"the worker on {device} failed on {job}: {reason}; the other workers were ended"
    return InputError(message) if isinstance(error, InputError) else RuntimeError(message)


def _end(pids: Sequence[Future[int]]) -> None:
    """Ends processes in the middle of their work; one that has died already raises nothing."""
    for pid in pids:
        with suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(pid.result(), signal.SIGTERM)
