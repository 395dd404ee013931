"""Errors about what was given, kept apart from mistakes in this code.

- `NotMeasurableError`: a number does not exist. Code that turns a failure into an item that is *not
  measurable* catches this class and no other, so that a bug is never reported as a property of a
  model.
- `InputError`: a file, a folder or a device that was named cannot be used. Other libraries raise
  anything from KeyError to a bare Exception when they read one, so each call that lets them read
  stands in `explain_failure`.
- Checks of our own raise plain ValueError. `is_about_input` tells one from a ValueError that
  happened by accident by looking at where it was raised: our checks are `raise` statements.

The command line shows an error about the input as one line, and any other one with its traceback.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from opcode import opmap
from pathlib import Path
from types import TracebackType

_ROOT = Path(__file__).resolve().parents[1]
_OURS = (_ROOT / "interp", _ROOT / "probes")
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"
"""In the RuntimeError of torch on a CPU."""
_LONGEST = 300
"""Characters of another library's message that are shown."""


class NotMeasurableError(ValueError):
    """The models, the task or the texts leave nothing to measure; the message says why."""


class InputError(ValueError):
    """What was named cannot be used; the message says what, why, and what to do."""


@contextmanager
def explain_failure(what: str, remedy: str) -> Generator[None]:
    """Turns whatever another library raises while it reads an input into an `InputError`.

    Only calls of other libraries stand inside; around code of ours it would hide mistakes.

    Args:
        what: What fails, as a sentence without its full stop.
        remedy: The likely cause and what to do, as a sentence without its full stop.

    Raises:
        InputError: If the code inside raises anything but an error about the input.
    """
    try:
        yield
    except Exception as error:
        if is_about_input(error) and not isinstance(error, OSError):
            raise
        text = f"{type(error).__name__}: {one_line(error)}"
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise InputError(f"{what} ({short}). {remedy}") from error


def is_about_input(error: BaseException) -> bool:
    """Whether an error is about what was given (models, files, settings), and no mistake of ours.

    It is if it is of a class of this module, comes from the operating system, asks for a package
    that is not installed or for more memory than there is, or is a ValueError that a `raise`
    statement of this project raised.
    """
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return not package or find_spec(package) is None
    # By its name, since torch is not imported for this: torch.OutOfMemoryError.
    if isinstance(error, InputError | NotMeasurableError | OSError | MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY in str(error):
        return True
    return isinstance(error, ValueError) and _is_raised_here(error.__traceback__)


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    if isinstance(error, OSError) and error.strerror:  # else the number of the error comes first
        place = "" if error.filename is None else f"{error.filename}: "
        return " ".join(f"{place}{error.strerror}".split())
    return " ".join(str(error).split()) or type(error).__name__


def _is_raised_here(trace: TracebackType | None) -> bool:
    """Whether the innermost call is code of this project that was at a `raise` statement."""
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    is_raise = code.co_code[trace.tb_lasti] == opmap["RAISE_VARARGS"]
    return is_raise and any(Path(code.co_filename).resolve().is_relative_to(at) for at in _OURS)
