"""Scale: the same work on several devices, split by example, one process per device.

Examples do not depend on each other, so each device gets every n-th of them with a model of its
own, and the results come back in the order of the examples. A worker is a function at the top level
of a module, so that a fresh process can import it; it loads its model and does its share::

    def accuracy(device: str, examples: list[Example]) -> list[bool]:
        model = load_model("base", device=device)
        ...

    right = on_devices(accuracy, examples, ["cuda:0", "cuda:1"])

Work is all or nothing: when one worker fails, the others are ended and the failure is reported at
once. Which example goes where depends on their order and the number of devices alone. Processes are
spawned, not forked: a fork would inherit a device context that does not survive it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from typing import TypeVar

Example = TypeVar("Example")
Result = TypeVar("Result")


def _check_worker(worker: Callable[..., object]) -> None:
    try:
        pickle.dumps(worker)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"a worker is sent to other processes by its name, so it must be a function at the top "
            f"level of a module (or functools.partial of one), not a lambda or an inner function; "
            f"received {worker!r} ({error})"
        ) from error


def _failure(device: str, numbers: Sequence[int], error: BaseException) -> RuntimeError:
    listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    what = (
        "its process ended without a word, most likely killed for memory"
        if isinstance(error, BrokenProcessPool)
        else f"{type(error).__name__}: {error}"
    )
    return RuntimeError(
        f"the worker on {device} failed on {len(numbers)} examples (indices {listed}): {what}. "
        f"No results are returned; the other workers were ended"
    )


def _end(pids: Sequence[Future[int]]) -> None:
    """Ends processes in the middle of their work; those that died already are no matter."""
    for pid in pids:
        with suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(pid.result(), signal.SIGTERM)


def _check_results(results: object, device: str, numbers: Sequence[int]) -> None:
    n = len(results) if isinstance(results, Sized) else None
    if n != len(numbers):
        found = f"a {type(results).__name__}" if n is None else f"{n} results"
        wrong = ValueError(f"it returned {found} for {len(numbers)} examples; return one each")
        raise _failure(device, numbers, wrong)


def on_devices(
    worker: Callable[[str, list[Example]], Sequence[Result]],
    examples: Sequence[Example],
    devices: Sequence[str],
) -> list[Result]:
    """Splits examples over devices and puts the results back in order.

    Args:
        worker: Called once per device, in a process of its own, with the name of the device and its
            examples; returns one result per example. It and its results must be picklable.
        examples: In any number; a device for which none is left starts no process.
        devices: For example ('cuda:0', 'cuda:1'); one named twice gets two processes.

    Returns:
        One result per example, in the order of the examples.

    Raises:
        ValueError: If there are no devices, or the worker cannot be sent to a process.
        RuntimeError: If a worker raises, dies, or returns another number of results; the message
            names the device and its examples.
    """
    if not devices:
        raise ValueError("name at least one device, for example ['cpu']")
    _check_worker(worker)
    shares = [range(start, len(examples), len(devices)) for start in range(len(devices))]
    found: dict[int, Result] = {}
    with ExitStack() as pools:
        futures: dict[Future[Sequence[Result]], tuple[str, range]] = {}
        pids: list[Future[int]] = []
        for device, numbers in zip(devices, shares, strict=True):
            if numbers:
                # One pool per device: a shared one could not tell whose process has died.
                context = multiprocessing.get_context("spawn")
                pool = pools.enter_context(ProcessPoolExecutor(1, mp_context=context))
                share = [examples[number] for number in numbers]
                pids.append(pool.submit(os.getpid))
                futures[pool.submit(worker, device, share)] = device, numbers
        try:
            for future in as_completed(futures):
                device, numbers = futures[future]
                if error := future.exception():
                    raise _failure(device, numbers, error) from error
                _check_results(future.result(), device, numbers)
                found.update(zip(numbers, future.result(), strict=True))
        except BaseException:
            _end(pids)  # leaving the pools waits for their workers
            raise
    return [found[number] for number in range(len(examples))]
