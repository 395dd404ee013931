"""Writing under a variant: one rule for the router, and what came of it, position by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from interp.chains.chain import encode_question
from interp.chains.completion_format import (
    CompletionFormat,
    find_format,
    find_shared_format,
)
from interp.chains.completions import Completion, read_completion
from interp.engine import Routing, TokenChoice, generate, route
from interp.engine.token_sources import ChosenSource
from interp.errors import NotMeasurableError
from interp.interventions import Intervention
from interp.methods.decoding.hybrid.categories import (
    LabelledTexts,
    Vectors,
    find_category,
    find_step_ends,
    find_vectors,
    label_texts,
)
from interp.methods.decoding.hybrid.gates import BaseGate, fit_gate
from interp.methods.decoding.hybrid.variants import Variant
from interp.methods.steering import steer
from interp.models import Model, ModelPair
from interp.models.model import check_site
from interp.sites import Site, steering_layer
from interp.tasks import Example, Task


@dataclass(frozen=True)
class HybridSettings:
    """How a pair is decoded together."""

    layer: int | None = None
    """Steered after this block (resid_post); None takes the block at 37 % of the depth, the
    published choice."""
    doses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """In mean residual norms of the base; each is one candidate."""
    window: int = 1
    """Last positions that are steered."""
    batch_size: int = 64

    def site(self, model: Model) -> Site:
        """Where base is steered and read.

        Raises:
            ValueError: The model has no such layer.
        """
        layer = steering_layer(model.n_layers) if self.layer is None else self.layer
        return check_site(model, Site(layer, "resid_post"))


@dataclass(frozen=True, eq=False)
class Setup:
    """All that was learned on training problems."""

    settings: HybridSettings
    site: Site
    vectors: Vectors
    gate: BaseGate | None
    """None where it could not be fitted."""
    no_gate: str
    """Why it could not; empty where it was fitted."""
    disagreement: float
    """Share of the tokens of post's texts at which the greedy tokens differ."""


@dataclass(frozen=True)
class Hybrid:
    """One text of a variant."""

    text: Completion
    n_prompt: int
    fired: tuple[int, ...]
    """New tokens (from 0) at which the gate fired."""
    steered: tuple[int, ...]
    """New tokens that a steered candidate gave; the edit was at the positions before them."""
    edit_norms: tuple[float, ...]
    """Norm of the edit at each of these, by the receipts."""
    differing: tuple[int, ...] | None
    """New tokens at which post proposed another than base; None where post was not asked."""
    n_strict: int
    """Fired tokens at which what was written is what post proposed; 0 where it was not asked."""


def prepare(pair: ModelPair, task: Task, settings: HybridSettings, *, seed: int) -> Setup:
    """Learns vectors and gates on training problems.

    Args:
        pair: The models.
        task: Training problems, none of which is measured later.
        settings: How the pair is decoded.
        seed: Of random directions and the probe.

    Raises:
        NotMeasurableError: If the models do not differ at the site or are asked in different ways,
            or the layout has no chain.
    """
    form = find_shared_format(task, pair.base, pair.post)
    prompts = form.prompts()
    texts = {
        name: [
            one.ids
            for one in generate(
                model, prompts, max_new_tokens=form.max_new_tokens, stop=form.stop,
                batch_size=settings.batch_size,
            )
        ]
        for name, model in (("base", pair.base), ("post", pair.post))
    }  # fmt: skip
    problems = [example.problem for example in task.examples]
    along_post = label_texts(pair, form, prompts, texts["post"], problems)
    both = (prompts * 2, texts["post"] + texts["base"], problems * 2)
    along_both = label_texts(pair, form, *both)
    site = settings.site(pair.base)
    vectors = find_vectors(pair, along_post, site, seed=seed)
    gate, no_gate = None, ""
    try:
        gate = fit_gate(pair.base, along_post, along_both, site, seed=seed)
    except NotMeasurableError as reason:  # the variants that ask post can do without
        no_gate = str(reason)
    return Setup(settings, site, vectors, gate, no_gate, _share(along_post))


def _share(texts: LabelledTexts) -> float:
    every = [one for row in texts.differs for one in row]
    return sum(every) / len(every)


def write_hybrid(
    pair: ModelPair,
    task: Task,
    setup: Setup,
    variant: Variant,
    *,
    seed: int,
    dose: float | None = None,
    counts: Mapping[str, tuple[int, int]] | None = None,
) -> list[Hybrid]:
    """Writes the text of every example under a variant.

    Args:
        pair: The models. Where the variant does not ask post, base stands in its place, so that
            post cannot take part.
        task: The problems.
        setup: From training problems.
        variant: How.
        seed: Of what is drawn.
        dose: The one dose of a variant that picks none.
        counts: For a shuffled gate: example -> how many new tokens fired in the variant that it
            copies, and how many it wrote.

    Raises:
        NotMeasurableError: If the variant reads a gate that could not be fitted.
        ValueError: If a dose or counts are missing.
        RuntimeError: If a receipt does not show a steered position.
    """
    if variant.reads_gate and setup.gate is None:
        raise NotMeasurableError(setup.no_gate)
    if (variant.pick == "dose" and variant.is_steered) != (dose is not None):
        raise ValueError(
            f"a dose belongs to variants that pick none of several, and only to them; "
            f"{variant.name} received {dose}. Choose it on training problems"
        )
    if (variant.gate == "shuffled") != (counts is not None):
        raise ValueError(
            f"a shuffled gate copies how often another fired; {variant.name} received counts "
            f"{'none' if counts is None else 'though its gate is ' + variant.gate}"
        )
    form = find_format(task, pair.post)
    doses = setup.settings.doses if dose is None else (dose,)
    rule = _Rule(form, setup, variant, doses, task.examples, seed, counts or {})
    written = route(
        pair if variant.asks_post else ModelPair(pair.base, pair.base),
        form.prompts(),
        choose=rule.choose,
        offer=rule.fires,
        candidates=rule.candidates(),
        max_new_tokens=form.max_new_tokens,
        stop=form.stop,
        window=setup.settings.window,
        capture=[setup.site],
        batch_size=setup.settings.batch_size,
        progress=variant.name,
    )
    return [
        _read(form, example, rule, row, one)
        for row, (example, one) in enumerate(zip(form.task.examples, written, strict=True))
    ]


class _Rule:
    """What the router asks: where to steer, and which proposal to take."""

    def __init__(
        self,
        form: CompletionFormat,
        setup: Setup,
        variant: Variant,
        doses: Sequence[float],
        examples: Sequence[Example],
        seed: int,
        counts: Mapping[str, tuple[int, int]],
    ) -> None:
        self.variant, self._form, self._setup, self._doses = variant, form, setup, doses
        self._names = [example.id for example in examples]
        self._seed, self._ends = seed, find_step_ends(form)
        self._drawn = {
            row: frozenset(self._rng(row, "gate").sample(range(counts[name][1]), counts[name][0]))
            for row, name in enumerate(self._names)
            if name in counts
        }
        self.fired: dict[int, list[int]] = {row: [] for row in range(len(examples))}

    def candidates(self) -> dict[str, list[Intervention]]:
        """Every category at every dose; none where no vector is added."""
        if not self.variant.is_steered:
            return {}
        return {
            _name(category, dose): [steer(direction, dose)]
            for category, direction in self._setup.vectors.of(self.variant.vectors).items()
            for dose in self._doses
        }

    def fires(self, step: TokenChoice) -> bool:
        """The gate; also kept, so that it is asked once per token."""
        at = len(step.written)
        if at == 0:
            self.fired[step.row].clear()  # a batch halved for memory starts again
        if self.variant.gate == "shuffled":
            fires = at in self._drawn[step.row]
        elif self.variant.gate == "probe":
            fires = self._gate.fires(step.captures["base"][self._setup.site])
        else:
            fires = step.proposed["base"] != step.proposed["post"]
        if fires:
            self.fired[step.row].append(at)
        return fires

    def choose(self, step: TokenChoice) -> ChosenSource:
        """The base where the gate is shut, else one of the candidates."""
        at, fired = len(step.written), self.fired[step.row]
        if not fired or fired[-1] != at:
            return "base"
        if not self.variant.is_steered:
            return "base", self._token(step)
        category = self._category(step)
        names = [_name(category, dose) for dose in self._doses]
        if self.variant.pick == "guardrail":
            return max(names, key=lambda name: float(step.logprobs["post"][step.proposed[name]]))
        return self._rng(step.row, f"pick {at}").choice(names)

    def _token(self, step: TokenChoice) -> int:
        """Without vectors: post's likeliest of base's top tokens, or base's second."""
        # At least 2: the runner-up is taken from them.
        tops = step.logprobs["base"].topk(max(2, len(self._doses))).indices.tolist()
        if not self.variant.asks_post:
            return tops[1]
        # As many candidates as the steered method has doses: picking among more gains more.
        return max(tops[: len(self._doses)], key=lambda t: float(step.logprobs["post"][t]))

    def _category(self, step: TokenChoice) -> str:
        known = list(self._setup.vectors.category)
        if self.variant.category == "drawn":
            return self._rng(step.row, f"category {len(step.written)}").choice(known)
        if self.variant.category == "centroid":
            return self._gate.category(step.captures["base"][self._setup.site])
        category = find_category(self._form, self._ends, step.written)
        # Post's training texts may lack a kind of position that this text has come to.
        return category if category in known else known[-1]

    @property
    def _gate(self) -> BaseGate:
        assert self._setup.gate is not None, "write_hybrid refuses variants without their gate"
        return self._setup.gate

    def _rng(self, row: int, what: str) -> Random:
        # By example and purpose: draws depend neither on the batch nor on other examples.
        return Random(f"{self._seed} {self._names[row]} {what}")


def _name(category: str, dose: float) -> str:
    return f"{category}@{dose:g}"


def _read(form: CompletionFormat, example: Example, rule: _Rule, row: int, one: Routing) -> Hybrid:
    """A text with where it was steered, checked against the receipts."""
    n_prompt = len(encode_question(form.tokenizer, form.task, example))
    norms: dict[int, float] = {}
    for at, source in enumerate(one.sources):
        if source in ("base", "post"):
            continue
        (receipt,) = one.receipts[source]
        if n_prompt - 1 + at not in receipt.positions:
            raise RuntimeError(
                f"new token {at} of {example.id} came from {source}, whose receipt does not show "
                f"an edit at position {n_prompt - 1 + at}: {receipt}"
            )
        norms[at] = receipt.edit_norm
    fired = tuple(at for at in rule.fired[row] if at < len(one.ids))
    asked = rule.variant.asks_post
    base, post = one.proposed["base"], one.proposed["post"]
    return Hybrid(
        text=read_completion(form, example, one.ids),
        n_prompt=n_prompt,
        fired=fired,
        steered=tuple(norms),
        edit_norms=tuple(norms.values()),
        differing=tuple(n for n in range(len(one.ids)) if base[n] != post[n]) if asked else None,
        n_strict=sum(one.ids[at] == post[at] for at in fired) if asked else 0,
    )
