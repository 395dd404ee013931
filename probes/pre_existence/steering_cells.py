"""Cells: each source in each model, chosen on one half of the problems and tested on the other.

For every cell (source, steered model) all sites and doses are measured on the first half; the
largest effect within the budget of KL is chosen; the choice alone is tested on the second half. So
the choice among many does not inflate the effect that is reported. The random directions are at the
chosen site, as long as the direction at every dose, and each takes its own dose on the first half
by the same rule. The token's direction chooses among all sites and doses.

Doses of the settings are in residual norms where random pushes of that length stay within the
budget of KL; in a model that they move further, all doses are scaled down alike until the largest
spends the budget (`interp.methods.steering.find_dose`).

Which way a cell is pushed: *up* where the steered model reasons in less than half of its texts
(first half), read by `reasons`; *down* where it reasons in more, read by `opens`, since a push
that merely breaks the chain lowers `reasons` too. Ablation is read by `opens` as well; a random
direction is projected out to the same mean edit norm (a random axis holds little of the stream,
and removing it whole would be no match).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.errors import NotMeasurableError
from interp.methods.directions import Direction, collect, project, random_directions
from interp.methods.steering import find_dose
from interp.sites import Site
from interp.tasks import Task
from probes.pre_existence.arms import Arm, ArmOutcome, AskedModel, Values
from probes.pre_existence.directions import Directions
from probes.pre_existence.settings import PreExistenceSettings

Want = Literal["up", "down", "ablated"]
METRIC: Mapping[Want, Literal["reasons", "opens"]] = {
    "up": "reasons", "down": "opens", "ablated": "opens"
}  # fmt: skip
Gain = tuple[float, float]
"""Effect on a cell's metric, and on `opens`, which decides between equal effects: where nothing
reasons, the direction that opens most is tested."""
NO_GAIN: Gain = (0.0, 0.0)
N_SCALED = 4
"""Random directions whose mean KL says how far a model may be pushed."""
HALF = 0.5
"""Rate of reasoning from which a model is pushed down instead of up."""


@dataclass(frozen=True, eq=False)
class SteeringCell:
    """One source in one steered model, on the problems of the second half."""

    source: str
    steered: str
    want: Want
    site: Site
    dose: float
    """Chosen on the first half; 0 where no dose within the budget helps."""
    gain: Gain
    """On the first half."""
    unsteered: ArmOutcome
    outcome: ArmOutcome
    controls: Mapping[str, Values]
    """'random 0' and so on, and 'token': the cell's metric per example, each at its own dose."""
    curve: Mapping[float, ArmOutcome]
    """All doses at the chosen site; empty for ablation."""
    random_curve: Mapping[float, Float[np.ndarray, "arm example"]]
    """The cell's metric under all random directions."""

    @property
    def metric(self) -> Literal["reasons", "opens"]:
        """What the cell is read by."""
        return METRIC[self.want]

    def values(self, outcome: ArmOutcome) -> Values:
        """The cell's metric of an outcome."""
        return outcome.reasons if self.metric == "reasons" else outcome.opens


def split_halves(task: Task) -> tuple[Task, Task]:
    """Two tasks of alternate problems, the first to choose on and the second to test on.

    Raises:
        NotMeasurableError: If there are fewer than four problems.
    """
    problems = list(dict.fromkeys(example.problem for example in task.examples))
    if len(problems) < 4:
        raise NotMeasurableError(
            f"settings are chosen on one half of the problems and tested on the other, and "
            f"{task.name} has {len(problems)}. Ask at least 4; 200 for an equivalence within 0.1"
        )
    first = set(problems[::2])
    return (
        replace(task, examples=tuple(e for e in task.examples if e.problem in first)),
        replace(task, examples=tuple(e for e in task.examples if e.problem not in first)),
    )


class SteeredModel:
    """One model that is steered, with the questions of either half.

    Controls that several cells share are measured once.
    """

    def __init__(
        self,
        name: str,
        choose: AskedModel,
        test: AskedModel,
        directions: Directions,
        settings: PreExistenceSettings,
        *,
        seed: int,
    ) -> None:
        self.name, self.choose, self.test = name, choose, test
        self.directions, self.settings, self.seed = directions, settings, seed
        # Any direction will do: at dose 0 nothing is added.
        still = Arm(next(iter(next(iter(directions.values())).values())), 0.0)
        self.before, self.unsteered = choose.measure([still])[0], test.measure([still])[0]
        self.dose_scale = self._find_scale()
        """What all doses are multiplied with; 1 where random pushes stay within the budget."""
        self._drawn: dict[tuple[Site, Want], tuple[list[ArmOutcome], list[ArmOutcome]]] = {}
        self._token: dict[Want, Values] = {}

    def _find_scale(self) -> float:
        """What all doses are multiplied with, so that random pushes stay within the budget.

        Raises:
            NotMeasurableError: No push is small enough.
        """
        sites = list(self.directions)
        like = next(iter(self.directions[sites[len(sites) // 2]].values()))
        drawn = random_directions(like, N_SCALED, seed=self.seed)

        def cost(dose: float) -> float:
            tried = self.choose.measure([Arm(one, dose) for one in drawn], is_written=False)
            return float(np.mean([one.kl.mean() for one in tried]))

        largest = max(self.settings.doses)
        if self.settings.kl_budget == 0:  # nothing may be moved: no dose is within it
            return 1.0
        return find_dose(cost, budget=self.settings.kl_budget, largest=largest).dose / largest

    @property
    def reasons(self) -> bool:
        """Whether the model reasons in at least half of its texts, on the first half."""
        return float(self.before.reasons.mean()) >= HALF

    def measure_cell(self, source: str, want: Want) -> SteeringCell:
        """The cell of one source, pushed one way.

        Raises:
            KeyError: If there is no such source.
        """
        doses = self._doses(want)
        site, at, effect = self._choose(source, want)
        # All doses, for the curve; the answer comes from the chosen one.
        tested = self.test.measure([Arm(self.directions[site][source], one) for one in doses])
        controls, random_curve = self._random_controls(site, want)
        return SteeringCell(
            source, self.name, want, site, 0.0 if at is None else doses[at], effect,
            self.unsteered, self.unsteered if at is None else tested[at],
            {**controls, "token": self._token_control(want)},
            dict(zip(doses, tested, strict=True)), random_curve,
        )  # fmt: skip

    def _choose(self, source: str, want: Want) -> tuple[Site, int | None, Gain]:
        """The site, which of the doses, and the effect there, on the first half."""
        best: dict[Site, tuple[int | None, Gain]] = {}
        for site, by_source in self.directions.items():
            arms = [Arm(by_source[source], dose) for dose in self._doses(want)]
            tried = self.choose.measure(arms, is_written=METRIC[want] == "reasons")
            best[site] = self._best(tried, want)
        site = max(best, key=lambda one: best[one][1])
        return (site, *best[site])

    def _token_control(self, want: Want) -> Values:
        if want not in self._token:
            site, at, _ = self._choose("token", want)
            outcome = self.unsteered
            if at is not None:
                arm = Arm(self.directions[site]["token"], self._doses(want)[at])
                (outcome,) = self.test.measure([arm], has_kl=False)
            self._token[want] = getattr(outcome, METRIC[want])
        return self._token[want]

    def measure_ablation(self, source: str) -> SteeringCell:
        """The cell in which the direction is projected out."""
        best: dict[Site, Gain] = {}
        for site, by_source in self.directions.items():
            arm = Arm(by_source[source], 1.0, "ablate")
            (tried,) = self.choose.measure([arm], is_written=False)
            best[site] = self._effect(tried, "ablated")
        site = max(best, key=lambda one: best[one])
        direction = self.directions[site][source]
        drawn = random_directions(direction, self.settings.n_random, seed=self.seed)
        (outcome,) = self.test.measure([Arm(direction, 1.0, "ablate")])
        rivals = match_ablations(self.test, direction, drawn)
        others = self.test.measure(rivals, is_written=False, has_kl=False)
        controls = {f"random {n}": one.opens for n, one in enumerate(others)}
        return SteeringCell(
            source, self.name, "ablated", site, 1.0, best[site], self.unsteered, outcome, controls,
            {}, {},
        )  # fmt: skip

    def _doses(self, want: Want) -> tuple[float, ...]:
        sign = -1 if want == "down" else 1
        return tuple(sign * self.dose_scale * dose for dose in self.settings.doses)

    def _random_controls(
        self, site: Site, want: Want
    ) -> tuple[dict[str, Values], dict[float, Float[np.ndarray, "arm example"]]]:
        """Each random direction at the dose that it chose, and all of them at every dose."""
        doses, metric = self._doses(want), METRIC[want]
        if (site, want) not in self._drawn:
            like = next(iter(self.directions[site].values()))  # only its site, width and unit count
            drawn = random_directions(like, self.settings.n_random, seed=self.seed)
            arms = [Arm(one, dose) for one in drawn for dose in doses]
            is_written = metric == "reasons"
            self._drawn[site, want] = (
                self.choose.measure(arms, is_written=is_written),
                # The budget of KL is a rule of choice, and nothing is chosen on this half.
                self.test.measure(arms, is_written=is_written, has_kl=False),
            )
        tried, tested = self._drawn[site, want]
        controls: dict[str, Values] = {}
        for n in range(self.settings.n_random):
            part = slice(n * len(doses), (n + 1) * len(doses))
            at, _ = self._best(tried[part], want)
            outcome = self.unsteered if at is None else tested[part][at]
            controls[f"random {n}"] = getattr(outcome, metric)
        curve = {
            dose: np.stack([getattr(one, metric) for one in tested[at :: len(doses)]])
            for at, dose in enumerate(doses)
        }
        return controls, curve

    def _effect(self, outcome: ArmOutcome, want: Want) -> Gain:
        """Mean changes in the wanted way; none where the budget is exceeded."""
        if float(outcome.kl.mean()) > self.settings.kl_budget:
            return NO_GAIN
        sign = 1 if want == "up" else -1
        metric = METRIC[want]
        change = float((getattr(outcome, metric) - getattr(self.before, metric)).mean())
        return sign * change, sign * float((outcome.opens - self.before.opens).mean())

    def _best(self, tried: Sequence[ArmOutcome], want: Want) -> tuple[int | None, Gain]:
        """Which of these gains most, and its gain; None if none gains anything."""
        effects = [self._effect(one, want) for one in tried]
        at = max(range(len(effects)), key=effects.__getitem__)
        return (at, effects[at]) if effects[at] > NO_GAIN else (None, NO_GAIN)


def match_ablations(asked: AskedModel, like: Direction, drawn: Sequence[Direction]) -> list[Arm]:
    """Random axes projected out to the mean edit norm of projecting `like` out."""
    where = [(-1,)] * len(asked.questions)
    values = collect(asked.model, asked.questions, where, like.site).values

    def norm(one: Direction) -> float:
        return float(project(one, values).abs().mean())

    size = norm(like)
    return [Arm(one, size / norm(one), "ablate") for one in drawn]
