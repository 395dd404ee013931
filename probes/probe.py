"""The form of a probe: one class holds everything that is particular to one question.

A probe is a frozen dataclass. Its *fields* are its settings: they make its command-line flags and
are kept in the manifest. Its *class attributes* say what it asks, how its numbers are read, which
statistics are made of its items, what the headline says of it and what calibration can check it
against. Its *methods* measure (`run`), draw (`figures`) and put the result into words (`describe`).
A probe must set name, title, question, reading, headline, and claims or no_truth, draw at least one
figure and describe its numbers.

A probe is given the readers (models), a task and the traces of each writer, and returns `Item`s:
one number per example, condition and metric. It never touches a hook and never averages: means,
intervals and contrasts are made from the items in one place,
`interp.results.summaries.summarise`.

**Writer x reader.** Any model's chains can be read by any model. What changes with the writer at
a fixed reader is the quality of the text; what changes with the reader at a fixed text is the
reliance on it. So every probe of chains runs over all writers and all readers.

To add a probe, write a module `probes/<name>.py` with such a class and add its line to
`probes.PROBES`; `posthoc check-probe <name>` says what it lacks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from interp.chains.trace import Trace
from interp.models import Model
from interp.results.plots import Figure
from interp.results.rows import Item, Measurement, PooledStatistic, Ratio
from interp.results.run_folder import Part
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.setting_bounds import Bounds, check_settings

Traces = Mapping[str, Sequence[Trace]]
"""Writer name -> the traces that it wrote."""
Readers = Mapping[str, Model]
"""Reader name -> model."""
READABLE = "readable"
"""Metric of every probe of chains: 1 for a trace with a readable chain, else 0."""
OWN = "own"
"""In a `Headline` or a `Claim`: each reader on the chains that it wrote itself."""


@dataclass(frozen=True)
class Headline:
    """One number that the headline says of a run of this probe, with the words before it."""

    condition: str
    metric: str
    words: str
    reader: str = ""
    """One model of the pair; every reader in turn where empty."""
    writer: str = ""
    """Whose chains: a role, `OWN`, or the writer that the readers are compared on where empty."""
    source: str = ""
    variant: str = ""
    position: str = ""


@dataclass(frozen=True)
class VerdictLine:
    """A line of the verdict about one task, where this probe was run."""

    opening: str
    """What the numbers are; ``{readers}`` and ``{chains}`` stand for the names of both."""
    numbers: tuple[Headline, ...]
    """Those that have a row."""


@dataclass(frozen=True)
class Reliance:
    """How one number tells whether the answer depends on the chain.

    Read is the interval, never the point: above the threshold it says *load-bearing*, below it
    *not load-bearing*, around it *undecided*.
    """

    condition: str
    metric: str
    threshold: float
    against: str = ""
    """A metric that says *not load-bearing* by its interval above the threshold; `metric` below the
    threshold says nothing then."""
    sensitive: str = ""
    """A metric that says *read but not followed* by its interval above the threshold."""
    doubt: str = ""
    """Why it may be wrong where the probe that decides says the opposite; empty for that probe."""


@dataclass(frozen=True)
class Claim:
    """What one number is claimed to tell about organisms whose truth is known (calibration)."""

    condition: str
    metric: str
    construct: str
    """A key of `probes.calibration.constructs.CONSTRUCTS`."""
    direction: Literal[1, -1] = 1
    """-1 where a larger number says less of the construct."""
    is_primary: bool = False
    writer: str = "gold"
    """Whose chains: the task's own correct ones ('gold'), `OWN`, or none ('')."""
    reader: str = OWN
    """The organism alone (`OWN`); 'base' or 'post' where it is judged as a pair with its parent."""
    source: str = ""
    variant: str = ""
    tasks: tuple[str, ...] = ()
    """Only these tasks; all on which the truth is known when empty."""
    why: str = ""
    """Why it does not tell the construct, where it was found not to."""


@dataclass(frozen=True)
class Drawing:
    """One figure: its file name, which begins with the probe's, and what to draw."""

    name: str
    draw: Callable[..., Figure]
    data: Sequence[Any]
    """First argument of `draw`, rows as a rule; nothing is drawn of an empty one."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """What a run has of one probe, read from its folder: enough to draw and describe it."""

    rows: tuple[Measurement, ...]
    items: tuple[Item, ...]
    records: Mapping[str, Mapping[str, Any]]
    """Task -> `Part.record`."""
    tasks: tuple[str, ...]
    """In the order of the report."""
    writer: str
    """Whose chains the readers are compared on."""
    seed: int


class Probe:
    """One question, asked of all readers about all writers' chains. Subclasses are dataclasses."""

    name: ClassVar[str]
    """The module's name."""
    title: ClassVar[str]
    question: ClassVar[str]
    """The question, in one sentence."""
    reading: ClassVar[tuple[str, ...]]
    """How to read the numbers, a paragraph each: meaning, source, known traps."""

    is_in_audit: ClassVar[bool] = False
    """Whether it is part of `posthoc audit`: quick, and about one model or two."""
    n: ClassVar[int] = 100
    """Examples of each task, unless the user gives another number."""
    tasks: ClassVar[tuple[str, ...]] = ("arith/fresh",)
    """Tasks that are asked, unless the user names others."""
    writers: ClassVar[tuple[str, ...]] = ("gold",)
    """Whose chains it reads when it is asked for by name; empty if it reads none."""
    takes_many: ClassVar[bool] = False
    """Whether readers are 'base' and any number of post-trained models under their own names."""
    check_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings with which `check-probe` runs it in seconds."""
    bounds: ClassVar[Mapping[str, Bounds]] = {}
    """Bounds of settings, where they are not the usual ones (`probes.setting_bounds`)."""

    ratios: ClassVar[tuple[Ratio, ...]] = ()
    """Ratios of the means of two metrics."""
    pooled: ClassVar[tuple[PooledStatistic, ...]] = ()
    """Statistics of all items together."""
    kinds: ClassVar[Mapping[str, Kind]] = {}
    """Metric of an item -> its kind, which decides how its interval is made: 'binary' (0 or 1),
    'share' (from 0 to 1), 'difference' (of two such numbers), 'real' (nats, log-odds, lengths) or
    'skewed' (KL divergences: reported as medians). `interp.stats.kinds` has the whole list."""
    headline: ClassVar[tuple[Headline, ...]] = ()
    """What the headline says of a run of this probe alone, as far as there are rows."""
    verdict_line: ClassVar[VerdictLine | None] = None
    """What the verdict of an audit says of it."""
    reliance: ClassVar[Reliance | None] = None
    """How it tells whether the answer depends on the chain, where it does."""
    claims: ClassVar[tuple[Claim, ...]] = ()
    """What calibration checks against the truth of the organisms."""
    no_truth: ClassVar[str] = ""
    """Why calibration cannot check it, where there is no claim."""

    # For the type checker: every subclass is a dataclass and gets its own.
    def __init__(self, **settings: Any) -> None: ...

    def __post_init__(self) -> None:
        """Refuses settings that it cannot work with.

        Raises:
            ValueError: One is out of its bounds.
        """
        check_settings(self, self.bounds)

    @classmethod
    def kinds_of_all(cls) -> Mapping[str, Kind]:
        """Every metric of its items -> its kind, also of those that all probes of chains have."""
        return {READABLE: "binary", **cls.kinds}

    @abstractmethod
    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """One item per example, condition and metric, for each writer and reader."""
        ...

    def examine(
        self, readers: Readers, task: Task, traces: Traces, *, seed: int, folder: Path
    ) -> Part:
        """As `run`, with what items cannot hold.

        Args:
            readers: Reader name -> model.
            task: The questions.
            traces: Writer name -> traces.
            seed: Of edits, controls and resamples.
            folder: For what a long computation keeps on disk to go on from.
        """
        del folder
        return Part(self.run(readers, task, traces, seed=seed))

    def hash_inputs(self, readers: Readers) -> Mapping[str, str]:
        """Checksums of files that it reads beside readers and task, such as those of an SAE."""
        del readers
        return {}

    def figures(self, results: Results) -> list[Drawing]:
        """The figures of its rows, in the order of the page."""
        del results
        return []

    def describe(self, results: Results) -> list[str]:
        """Lines to print under the headline: what the main numbers are."""
        del results
        return []
