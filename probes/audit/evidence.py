"""Evidence: what a verdict is made of, and how it quotes a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp.results.rows import Item, Measurement
from probes.audit.readings import Reading, find_row, read_chain, reliance_probes
from probes.mixture import Facts, Mixture, read_mixture
from probes.probe import OWN, Headline, Probe

READERS = ("base", "post")
ABSENT = "not measurable"
GOLD = "gold"


@dataclass(frozen=True)
class Evidence:
    """The rows of a run, and whose chains decide."""

    rows: Sequence[Measurement]
    readers: tuple[str, ...]
    """Of the models of a pair."""
    writers: tuple[str, ...]
    probes: Mapping[str, type[Probe]]
    """Those that have rows, by name."""
    items: Sequence[Item]
    facts: Facts

    @property
    def writer(self) -> str:
        """The writer whose chains stand for all in lines that compare readers."""
        return self.writers[0] if self.writers else ""

    @property
    def is_own(self) -> bool:
        """Whether each model has chains that it wrote itself."""
        return set(self.readers) <= set(self.writers)

    def writer_of(self, reader: str) -> str:
        """Whose chains decide what is said of a reader."""
        return reader if self.is_own else self.writer

    def read(self, task: str, reader: str, writer: str = "") -> Reading:
        """What is said of a reader and a writer's chains; its own where none is named."""
        return read_chain(self.rows, task, reader, writer or self.writer_of(reader))

    def mixture(self, task: str, reader: str) -> Mixture | None:
        """Whether a reader follows its chain in part of the problems."""
        return read_mixture(
            self.rows, task, reader, self.writer_of(reader), items=self.items, facts=self.facts
        )

    def find(self, probe: str, condition: str, metric: str, task: str, reader: str) -> Measurement:
        """The row of what a reader does by itself; one without a value if there is none."""
        found = find_row(
            self.rows, probe, condition, metric, task=task, reader=reader, writer=reader
        )
        return found or _NO_ROW

    def unmeasured(self, task: str) -> list[Measurement]:
        """The rows of the probe that decides that have no value, one for each such model."""
        decides, reliance = next(iter(reliance_probes().items()))
        rows = [
            find_row(
                self.rows, decides, reliance.condition, reliance.metric, task=task, reader=reader,
                writer=self.writer_of(reader),
            )
            for reader in self.readers
        ]  # fmt: skip
        return [row for row in rows if row is not None and math.isnan(row.value) and row.note]

    def say(self, probe: str, one: Headline, task: str, writer: str = "") -> str:
        """One number of a probe, of one reader or of each; empty where it has no row."""
        coordinates = {"source": one.source, "variant": one.variant, "position": one.position}
        chains = one.writer or writer or self.writer
        texts = [
            quote(
                find_row(
                    self.rows, probe, one.condition, one.metric, task=task, reader=reader,
                    writer=reader if chains == OWN else chains, **coordinates,
                )
            )
            for reader in ([one.reader] if one.reader else self.readers)
        ]  # fmt: skip
        return f"{one.words} {' -> '.join(texts)}" if any(text != ABSENT for text in texts) else ""


def quote(row: Measurement | None) -> str:
    """A number with its interval, and how many items it is of where some are missing."""
    if row is None or math.isnan(row.value):
        return ABSENT
    of = f" ({row.n} of {row.n + row.n_missing})" if row.n_missing else ""
    return f"{row.describe()}{of}"


_NO_ROW = Measurement(
    probe="", task="", condition="", metric="", pair="", value=math.nan, low=math.nan,
    high=math.nan, n=0, n_missing=0, chance=math.nan, seed=0,
)  # fmt: skip
