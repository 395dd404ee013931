"""The first token: is what post-training gained decided before anything is written?

If post-training only moved the decision to reason, the two models differ in the first token and
hardly after it, and one transplanted token carries the gain (after "Small Vectors, Big Effects",
arXiv 2509.06608, on steering the first token alone; He et al., arXiv 2601.08058). Two measurements:

* **divergence**: KL(post || base) of the next token, after the question and, on common text, after
  every later token up to the answer cue (mean), in nats;
* **transplants**: each model writes greedily, and so do mixtures of the two:

      post_then_base     post writes the first token, base all others
      base_then_post     base writes the first token, post all others
      patched_base       base writes alone, its residual stream at the last question token being
                         that of post at all layers
      patched_post       the reverse

Where c(.) is 1 for a right answer and else 0, `transplant_recovered` is mean [c(x) - c(base)] over
mean [c(post) - c(base)]: the share of the gain that mixture x has. For base_then_post it is the
share that is left when post's first token is replaced. Greedy text is one text: a base that starts
to reason in 8 of 100 samples does so in none of its greedy ones.

The condition of a row is the mixture. Its writer and reader are the model that writes all tokens
after the first.

Example: GRPO that made a model always think, and taught it nothing else: post_then_base 1,
base_then_post 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.completion_format import CompletionFormat, find_shared_format
from interp.chains.completions import Completion, read_completion
from interp.chains.rendering import render
from interp.chains.texts import Ids
from interp.engine import generate, run
from interp.errors import NotMeasurableError
from interp.interventions import Intervention
from interp.methods.patching.span_patching import last_token_patches
from interp.models import Model, ModelPair
from interp.results.plots import dots
from interp.results.rows import Item, Measurement, Ratio
from interp.stats.divergences import kullback_leibler
from interp.stats.kinds import Kind
from interp.tasks import Example, Task
from probes.cases import CaseItems, cases, not_applicable
from probes.cross_patching import PAIR
from probes.probe import Claim, Drawing, Headline, Probe, Readers, Results, Traces
from probes.unreadable import add_unreadable

WRITERS = {
    "post_then_base": "base",
    "patched_base": "base",
    "base_then_post": "post",
    "patched_post": "post",
}
"""Each transplant, and the model that writes all tokens after the first."""
WORDS = {
    "alone": "alone",
    "post_then_base": "first token from post",
    "patched_base": "patched from post",
    "base_then_post": "first token from base",
    "patched_post": "patched from base",
}
NO_PAIR = "a transplant needs a base and a post model"


@dataclass(frozen=True)
class FirstToken(Probe):
    """Compares both models in the first token and after it, and transplants that token."""

    name: ClassVar[str] = "first_token"
    title: ClassVar[str] = "The first token"
    question: ClassVar[str] = "Does the first written token decide what post-training gained?"
    reading: ClassVar[tuple[str, ...]] = (
        "kl_first and kl_rest: KL divergence of post's next-token distribution from base's, in "
        "nats, right after the question and on average later in the same text.",
        "post_then_base: post writes the first token and base all others; base_then_post the "
        "reverse. In patched_base, base writes alone, but its activations at the last question "
        "token are post's. transplant_recovered is the share of the gain in accuracy that the "
        "mixture has.",
        "Accuracy is about the answer alone, whatever chain leads to it; a text that breaks off "
        "before its answer has ended counts as wrong; finished is the share that does not.",
        "A recovered gain shows that the first token suffices. It does not show that base would "
        "choose this token: compare the accuracy of base alone.",
    )
    ratios: ClassVar[tuple[Ratio, ...]] = (
        Ratio("first_token", "transplant_recovered", "transplant_gain", "gain"),
    )
    kinds: ClassVar[Mapping[str, Kind]] = {
        "kl_first": "skewed",
        "kl_rest": "skewed",
        "accuracy": "binary",
        "finished": "binary",
        "gain": "difference",
        "transplant_gain": "difference",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "post_then_base", "transplant_recovered",
            "share of post's gain in accuracy that base has after post's first token:",
            reader="base", writer="base",
        ),
    )  # fmt: skip
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "post_then_base", "transplant_gain", "pre_existing", is_primary=True, writer="base",
            reader="base",
        ),
    )  # fmt: skip

    batch_size: int = 64
    """Texts written together."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Divergences on every writer's text; accuracy of models and mixtures on every example."""
        if set(readers) != set(PAIR):
            return not_applicable(self.name, "alone", "accuracy", readers, task, reason=NO_PAIR)
        try:
            # Any first token can be transplanted, whether or not it opens a chain.
            form = find_shared_format(task, readers["base"], readers["post"], needs_chain=False)
        except NotMeasurableError as error:
            reason = str(error)
            return not_applicable(self.name, "alone", "accuracy", readers, task, reason=reason)
        # A divergence is about both models; under post alone each text has one item.
        post_only = {"post": readers["post"]}
        pair = ModelPair(readers["base"], readers["post"])
        items: list[Item] = []
        for _, _, _, readable in cases(post_only, task, traces, seed=seed):
            for case in readable:
                text = render(case.trace.prompt_ids, case.chain, case.layout)
                start = len(case.trace.prompt_ids) - 1  # its logits predict the first token
                record = CaseItems(self.name, task.name, case)
                first, rest = _divergences(pair, text, start)
                record.add("text", "kl_first", first)
                record.add("text", "kl_rest", rest, note="the text ends after one token")
                items += record.items
        texts = add_unreadable(
            items, self.name, ("text", ("kl_first", "kl_rest")), post_only, task, traces
        )
        return (*texts, *self._transplants(readers, form))

    def _transplants(self, readers: Readers, form: CompletionFormat) -> list[Item]:
        base, post = readers["base"], readers["post"]
        prompts = form.prompts()
        by_base, by_post = (
            [one.ids for one in generate(model, prompts, max_new_tokens=1)]
            for model in (base, post)
        )
        from_base, from_post = (last_token_patches(giver, prompts) for giver in (base, post))
        texts = {
            "base": self._write(base, form),
            "post": self._write(post, form),
            "post_then_base": self._write(base, form, begun=by_post),
            "base_then_post": self._write(post, form, begun=by_base),
            "patched_base": self._write(base, form, edits=from_post),
            "patched_post": self._write(post, form, edits=from_base),
        }
        return [
            item
            for at, example in enumerate(form.task.examples)
            for item in _transplant_items(
                form.task.name, example, {name: of_all[at] for name, of_all in texts.items()}
            )
        ]

    def _write(
        self,
        model: Model,
        form: CompletionFormat,
        *,
        begun: Sequence[Ids] = (),
        edits: Sequence[Intervention] = (),
    ) -> list[Completion]:
        """What the model writes after each question; `begun` are first tokens."""
        prompts = form.prompts()
        openings = begun or [()] * len(prompts)
        written = generate(
            model,
            [prompt + ids for prompt, ids in zip(prompts, openings, strict=True)],
            max_new_tokens=form.max_new_tokens,
            stop=form.stop,
            interventions=edits,
            batch_size=self.batch_size,
        )
        return [
            read_completion(form, example, ids + one.ids)
            for example, ids, one in zip(form.task.examples, openings, written, strict=True)
        ]

    def figures(self, results: Results) -> list[Drawing]:
        """Accuracy of both models and of the mixtures."""
        rows = [
            row
            for condition in WORDS
            for row in results.rows
            if (row.condition, row.metric, row.contrast) == (condition, "accuracy", "")
        ]
        options = {"xlabel": "accuracy", "names": WORDS, "chance": True}
        return [Drawing("first_token", dots, rows, options)]

    def describe(self, results: Results) -> list[str]:
        """Both models alone, each transplant, and the divergences."""
        lines: list[str] = []
        for task in results.tasks:
            rows = [row for row in results.rows if row.task == task and not row.contrast]
            named = {(row.condition, row.metric, row.reader): row for row in rows}
            for model in PAIR:
                lines += _quote(named, "alone", model, f"{task}: {model} alone")
            for condition, model in WRITERS.items():
                lines += _quote(named, condition, model, f"{task}: {model}, {WORDS[condition]}")
            lines += [
                f"{task}: KL(post || base) on chains by {row.writer}, "
                f"{'first token' if row.metric == 'kl_first' else 'later tokens'}: "
                f"{row.describe(4)} nats"
                for row in rows
                if row.condition == "text"
            ]
        return lines


def _quote(
    rows: Mapping[tuple[str, str, str], Measurement], condition: str, model: str, words: str
) -> list[str]:
    accuracy = rows.get((condition, "accuracy", model))
    recovered = rows.get((condition, "transplant_recovered", model))
    if accuracy is None:
        return []
    gain = f"; share of the gain {recovered.describe()}" if recovered else ""
    return [f"{words}: accuracy {accuracy.describe()}{gain}"]


def _divergences(pair: ModelPair, text: Ids, start: int) -> tuple[float, float]:
    """KL(post || base) at a position, and its mean over all later ones but the last, nats."""
    n = pair.shared.n  # one may score padding beyond
    p, q = (run(model, [text]).logits[0][:, :n].log_softmax(-1) for model in (pair.post, pair.base))
    # The last position, the answer cue, predicts the answer and belongs to no chain.
    each = kullback_leibler(p, q)[start : len(text) - 1]
    return float(each[0]), float(each[1:].mean())  # the mean of nothing is NaN


def _transplant_items(task: str, example: Example, texts: Mapping[str, Completion]) -> list[Item]:
    def item(model: str, condition: str, metric: str, value: float) -> Item:
        return Item(
            probe="first_token", task=task, example=example.id, problem=example.problem,
            condition=condition, metric=metric, value=value, writer=model, reader=model,
        )  # fmt: skip

    right = {name: float(text.correct) for name, text in texts.items()}
    gain = right["post"] - right["base"]
    written = [(name, "alone", name) for name in PAIR]
    written += [(condition, condition, model) for condition, model in WRITERS.items()]
    items: list[Item] = []
    for name, condition, model in written:
        items += [
            item(model, condition, "accuracy", right[name]),
            item(model, condition, "finished", float(texts[name].is_finished)),
        ]
        if condition != "alone":
            items += [
                item(model, condition, "transplant_gain", right[name] - right["base"]),
                item(model, condition, "gain", gain),
            ]
    return items
