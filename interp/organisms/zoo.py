"""The organisms that come with the project: where they are, what their cards say, whether intact.

An organism is a folder ``<name>-s<seed>`` with a Hugging Face model in half precision, its
tokenizer, and ``card.json``: the recipe, the seed, steps, tokens and time of its training, the
versions of the libraries, the figures measured on the stored weights, the conditions that it
failed (none, for most), and the checksum of the weights. An organism that is its parent with one
vector per layer added stores the vectors alone; its index names the parent's file for the rest, so
the two folders belong side by side.

Example: ``organism_path("base")`` is a folder that any Hugging Face loader reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"


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
    """Acceptance conditions that do not hold, in words."""
    weights_sha256: str
    data_sha256: str
    """Checksum of the first documents that the recipe draws."""
    series: dict[str, dict[str, float]]
    """Figures along the training, by the number of steps done; empty for most."""
    certificate: dict[str, Any] | None
    """What activation interchange showed (`certification`); None before it was examined."""

    @property
    def is_accepted(self) -> bool:
        """Whether every acceptance condition of the recipe holds."""
        return not self.failed

    def __str__(self) -> str:
        verdict = "accepted" if self.is_accepted else "NOT accepted: " + "; ".join(self.failed)
        return f"{folder_name(self.name, self.seed)}: {self.seconds:.0f} s, {verdict}"

    def write(self, folder: Path) -> None:
        """Write ``card.json`` into a folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def organisms_folder() -> Path:
    """The folder of the bundled organisms, ``artifacts/organisms`` of the repository."""
    return Path(__file__).resolve().parents[2] / "artifacts" / "organisms"


def read_card(folder: Path) -> Card:
    """The card of the organism in a folder.

    Raises:
        FileNotFoundError: If the folder holds no card.
    """
    fields = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    fields |= {"losses": tuple(fields["losses"]), "failed": tuple(fields["failed"])}
    return Card(**fields)


def bundled(root: Path | None = None) -> tuple[Card, ...]:
    """The cards of all organisms in a folder, by name and seed."""
    root = root or organisms_folder()
    cards = [read_card(file.parent) for file in root.glob(f"*/{CARD_FILE}")]
    return tuple(sorted(cards, key=lambda card: (card.name, card.seed)))


def chosen(names: Sequence[str], root: Path | None = None) -> tuple[Path, ...]:
    """The folders of these organisms, by name and seed.

    Args:
        names: ``name`` (every seed) or ``name:seed``; all organisms when empty.
        root: Folder of organisms; the bundled ones unless given.

    Raises:
        ValueError: If a name or seed is unknown; the message lists what there is.
    """
    found: list[Path] = []
    for text in names or sorted({card.name for card in bundled(root)}):
        name, _, seed = text.partition(":")
        seeds = [int(seed)] if seed else [c.seed for c in bundled(root) if c.name == name] or [0]
        found += [organism_path(name, each, root=root) for each in seeds]
    return tuple(found)


TABLE = (
    ("made to think", "forced_think_accuracy"),
    ("no chain", "direct_accuracy"),
    ("opens a chain", "think_share"),
    ("follows a wrong step", "follows_wrong_step"),
    ("same after another chain", "same_after_other_chain"),
)
"""Columns of the table of organisms: their titles and the figures of the cards they show."""


def table(cards: Sequence[Card]) -> str:
    """What organisms do, as a Markdown table: means over seeds, a row per name and problem set."""
    lines = ["| organism | problems | " + " | ".join(title for title, _ in TABLE) + " |"]
    lines.append("| --- " * (2 + len(TABLE)) + "|")
    for name in sorted({card.name for card in cards}):
        figures = [card.figures for card in cards if card.name == name]
        for problems in sorted({key.split("/")[0] for key in figures[0]}, reverse=True):
            if not all(f"{problems}/{key}" in figures[0] for _, key in TABLE):
                continue
            means = [fmean(of_seed[f"{problems}/{key}"] for of_seed in figures) for _, key in TABLE]
            numbers = " | ".join(f"{mean:.2f}" for mean in means)
            lines.append(f"| `{name}` | {problems} | {numbers} |")
    return "\n".join(lines)


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
    cards = bundled(root)
    known = sorted({card.name for card in cards})
    seeds = [card.seed for card in cards if card.name == name]
    if seeds:
        raise ValueError(f"organism {name!r} has no seed {seed}; its seeds are {seeds}")
    raise ValueError(
        f"unknown organism {name!r}; known: {', '.join(known) or 'none, the folder is empty'}"
    )


def folder_name(name: str, seed: int) -> str:
    """``<name>-s<seed>``."""
    return f"{name}-s{seed}"


def weights_sha256(folder: Path) -> str:
    """Checksum of the weights of an organism, those that it shares with its parent included."""
    from interp.models.loading import hash_files, weight_files

    return hash_files(weight_files(folder))


def damaged(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Those folders whose weights are not the ones that their card describes."""
    return tuple(f for f in folders if weights_sha256(f) != read_card(f).weights_sha256)
