"""The organisms that come with the project: their folders, their cards, a table of their figures.

An organism is a folder ``<name>-s<seed>`` with a Hugging Face model in half precision, its
tokenizer, and ``card.json``: the recipe, the seed, steps, tokens and time of its training, the
versions of the libraries, the figures measured on the stored weights, the conditions that it
failed (none, for most), and the checksum of the weights. An organism that is its parent with one
vector per layer added stores only the vectors; its index names the parent's file for the other
weights, so the two folders must lie side by side.

Example: ``organism_path("base")`` is a folder that any Hugging Face loader reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from statistics import fmean
from typing import Any

from interp.files import read_json

CARD_FILE = "card.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about one trained organism."""

    name: str
    seed: int
    purpose: str
    parent: str | None
    recipe: dict[str, Any]
    """The method's settings, as in the recipe table."""
    shape: dict[str, int]
    steps: int
    tokens: int
    seconds: float
    """Wall-clock time of the training alone."""
    device: str
    dtype: str
    """Number format of the stored weights; training is in float32."""
    versions: dict[str, str]
    losses: tuple[float, ...]
    extra: dict[str, Any]
    figures: dict[str, float]
    """Measured after loading the stored weights back into float32."""
    failed: tuple[str, ...]
    """Acceptance conditions that do not hold, one sentence each."""
    weights_sha256: str
    data_sha256: str
    """Checksum of the first documents that the recipe draws."""
    series: dict[str, dict[str, float]]
    """Figures along the training, by the number of steps done; empty for most."""
    certificate: dict[str, Any] | None
    """Result of the activation interchange (`certification`); None before it was run."""

    @property
    def is_accepted(self) -> bool:
        """Whether every acceptance condition of the recipe holds."""
        return not self.failed

    def __str__(self) -> str:
        verdict = "accepted" if self.is_accepted else "NOT accepted: " + "; ".join(self.failed)
        return f"{folder_name(self.name, self.seed)}: {self.seconds:.0f} s, {verdict}"

    def write(self, folder: Path) -> None:
        """Writes ``card.json`` into a folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def organisms_folder() -> Path:
    """The folder of the bundled organisms, ``artifacts/organisms`` of the repository."""
    return Path(__file__).resolve().parents[2] / "artifacts" / "organisms"


def read_card(folder: Path) -> Card:
    """The card of the organism in a folder.

    Raises:
        FileNotFoundError: If the folder holds no card.
        ValueError: If it is no card, or one of another version.
    """
    path = folder / CARD_FILE
    fields = read_json(path, "losses", "failed")
    fields |= {"losses": tuple(fields["losses"]), "failed": tuple(fields["failed"])}
    odd = sorted({field.name for field in dataclass_fields(Card)} ^ fields.keys())
    if odd:
        raise ValueError(
            f"{path} is no card of an organism of this version: it lacks, or has too many of, "
            f"{', '.join(odd)}. Train the organism again"
        )
    return Card(**fields)


def read_cards(root: Path | None = None) -> tuple[Card, ...]:
    """The cards of all organisms in a folder (the bundled ones by default), by name and seed."""
    root = root or organisms_folder()
    cards = [read_card(file.parent) for file in root.glob(f"*/{CARD_FILE}")]
    return tuple(sorted(cards, key=lambda card: (card.name, card.seed)))


def find_folders(names: Sequence[str], root: Path | None = None) -> tuple[Path, ...]:
    """The folders of organisms, given by name or by name and seed.

    Args:
        names: ``name`` (every seed) or ``name:seed``; all organisms when empty.
        root: Folder of organisms; the bundled ones unless given.

    Raises:
        ValueError: If a name or seed is unknown; the message lists what there is.
    """
    cards = read_cards(root)
    folders: list[Path] = []
    for text in names or sorted({card.name for card in cards}):
        name, seed = split_name(text)
        seeds = [card.seed for card in cards if card.name == name] if seed is None else [seed]
        # An unknown name has no seed; organism_path refuses it and lists the known ones.
        folders += [organism_path(name, each, root=root) for each in seeds or [0]]
    return tuple(folders)


def split_name(text: str) -> tuple[str, int | None]:
    """The name and the seed of ``name`` or ``name:seed``; None where no seed is given.

    Raises:
        ValueError: If the seed is no whole number.
    """
    name, colon, seed = text.partition(":")
    if not colon:
        return name, None
    if not seed.isdecimal():
        raise ValueError(
            f"an organism is a name, or a name and a seed such as {name}:1; received {text!r}"
        )
    return name, int(seed)


COLUMNS = (
    ("made to think", "forced_think_accuracy"),
    ("no chain", "direct_accuracy"),
    ("opens a chain", "think_share"),
    ("follows a wrong step", "follows_wrong_step"),
    ("same after another chain", "same_after_other_chain"),
)
"""Columns of the table of organisms: the title and the figure of the cards."""


def format_table(cards: Sequence[Card]) -> str:
    """Figures as a Markdown table: means over seeds, a row per organism and set of problems."""
    rows = ["| organism | problems | " + " | ".join(title for title, _ in COLUMNS) + " |"]
    rows.append("| --- " * (2 + len(COLUMNS)) + "|")
    for name in sorted({card.name for card in cards}):
        figures = [card.figures for card in cards if card.name == name]
        for problems in sorted({key.split("/")[0] for key in figures[0]}, reverse=True):
            if not all(f"{problems}/{key}" in figures[0] for _, key in COLUMNS):
                continue
            means = [
                fmean(of_seed[f"{problems}/{key}"] for of_seed in figures) for _, key in COLUMNS
            ]
            numbers = " | ".join(f"{mean:.2f}" for mean in means)
            rows.append(f"| `{name}` | {problems} | {numbers} |")
    return "\n".join(rows)


def organism_path(name: str, seed: int = 0, *, root: Path | None = None) -> Path:
    """The folder of an organism.

    Args:
        name: As in the recipe table, for example ``base`` or ``swapped-sft-pool``.
        seed: Which of the trained copies.
        root: Folder of organisms; the bundled ones unless given.

    Returns:
        A folder that holds weights, tokenizer and card.

    Raises:
        ValueError: If there is no such organism; the message lists what there is.
    """
    folder = (root or organisms_folder()) / folder_name(name, seed)
    if (folder / CARD_FILE).is_file():
        return folder
    cards = read_cards(root)
    known = sorted({card.name for card in cards})
    seeds = [card.seed for card in cards if card.name == name]
    if seeds:
        raise ValueError(f"organism {name!r} has no seed {seed}; its seeds are {seeds}")
    raise ValueError(
        f"unknown organism {name!r}; known: {', '.join(known) or 'none, the folder is empty'}"
    )


def load_organism(folder: Path) -> Any:
    """The stored weights of a folder as a float32 ``LlamaForCausalLM``."""
    import torch
    from transformers import LlamaForCausalLM

    from interp.models.folders import loading_quietly

    with loading_quietly():
        return LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False
        )


def folder_name(name: str, seed: int) -> str:
    """``<name>-s<seed>``."""
    return f"{name}-s{seed}"


def hash_weights(folder: Path) -> str:
    """Checksum of the weights of an organism, those that it shares with its parent included."""
    from interp.models.folders import hash_files, weight_files

    return hash_files(weight_files(folder))
