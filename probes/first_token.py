"""The first token: is what post-training gained decided before anything is written?

If post-training only moved the decision to reason, the two models differ in the first token and
hardly after it, and one transplanted token carries the gain (after "Small Vectors, Big Effects",
arXiv 2509.06608, on steering the first token alone; He et al., arXiv 2601.08058). Two readings:

* **divergence**: KL(post || base) of the next token, after the question and, on common text, after
  every later token up to the answer cue (mean), in nats;
* **transplants**: each model writes greedily, and so do mixtures of the two:

      post_then_base     post writes the first token, base all others
      base_then_post     base writes the first token, post all others
      patched_base       base writes alone, its residual stream at the last question token being
                         that of post at all layers
      patched_post       the reverse

Where correctness is c(.), `transplant_recovered` is mean [c(x) - c(base)] over mean [c(post) -
c(base)]: the share of the gain that x has. base_then_post says how much is left when the first
token is taken away. Greedy text is one text: a base that starts to reason in 8 of 100 samples does
so in none of its greedy ones.

Example: GRPO that made a model always think, and taught it nothing else: post_then_base 1,
base_then_post 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.answer_scoring import Ids, render
from interp.chains.chain import LayoutIds, decode, encode, encode_layout
from interp.engine import generate, run
from interp.interventions import Intervention
from interp.methods.patching.spans import last_token_patches
from interp.models import Model
from interp.results.rows import Item, Ratio
from interp.tasks import Example, Task
from probes.cross_patching import PAIR
from probes.path_masks import kullback_leibler
from probes.probe import Readers, Record, Traces, cases, not_applicable, unreadable

TRANSPLANTS = ("post_then_base", "base_then_post", "patched_base", "patched_post")
RATIOS = tuple(
    Ratio("first_token", condition, "transplant_recovered", "transplant_gain", "gain")
    for condition in TRANSPLANTS
)
NO_PAIR = "a transplant needs a base and a post model"


@dataclass(frozen=True)
class FirstToken:
    """Sets the models apart in the first token and after it, and transplants that token."""

    name: ClassVar[str] = "first_token"
    title: ClassVar[str] = "The first token"
    question: ClassVar[str] = "Is what was gained decided before anything is written?"
    reading: ClassVar[tuple[str, ...]] = (
        "kl_first against kl_rest: how far post's next-token distribution is from base's right "
        "after the question, and on average later in the same text.",
        "post_then_base: post writes the first token and base all others; base_then_post the "
        "reverse. recovered is the share of the gain in accuracy that the mixture has.",
        "A recovered gain says that the first token suffices, not that base would find it: see "
        "its own accuracy and how often it opens a chain.",
    )

    batch_size: int = 64
    """Texts written together."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Divergences on every writer's text; accuracy of models and mixtures on every example."""
        if set(readers) != set(PAIR):
            return not_applicable(self.name, "text", "kl_first", NO_PAIR, readers, task)
        post_only = {"post": readers["post"]}
        items = unreadable(self.name, "text", ("kl_first",), post_only, task, traces)
        for _, _, post, found in cases(post_only, task, traces, seed=seed):
            for case in found:
                text = render(case.trace.prompt_ids, case.chain, case.layout)
                start = len(case.trace.prompt_ids) - 1
                record = Record(self.name, task.name, case)
                first, rest = _divergences(readers["base"], post, text, start)
                record.add("text", "kl_first", first)
                record.add("text", "kl_rest", rest, note="the text ends after one token")
                items += record.items
        return (*items, *self._transplants(readers, task))

    def _transplants(self, readers: Readers, task: Task) -> list[Item]:
        base, post = readers["base"], readers["post"]
        desk = _Desk(task, encode_layout(base.tokenizer, task.layout), self.batch_size)
        prompts = [encode(base.tokenizer, example.question) for example in task.examples]
        to_base, to_post = (last_token_patches(giver, prompts) for giver in (post, base))
        right = {
            "base": desk.correct(base, prompts),
            "post": desk.correct(post, prompts),
            "post_then_base": desk.correct(base, prompts, desk.first(post, prompts)),
            "base_then_post": desk.correct(post, prompts, desk.first(base, prompts)),
            "patched_base": desk.correct(base, prompts, edits=to_base),
            "patched_post": desk.correct(post, prompts, edits=to_post),
        }
        return [
            item
            for at, example in enumerate(task.examples)
            for item in _transplant_items(
                task.name, example, {name: float(found[at]) for name, found in right.items()}
            )
        ]


@dataclass(frozen=True)
class _Desk:
    """Writes greedy texts and grades their answers."""

    task: Task
    layout: LayoutIds
    batch_size: int

    def first(self, model: Model, prompts: Sequence[Ids]) -> list[Ids]:
        """The first token of each text."""
        written = generate(model, prompts, max_new_tokens=1, batch_size=self.batch_size)
        return [one.ids for one in written]

    def correct(
        self,
        model: Model,
        prompts: Sequence[Ids],
        begun: Sequence[Ids] | None = None,
        edits: Sequence[Intervention] = (),
    ) -> list[bool]:
        """Whether the answer of each text is right; a text without an answer is wrong."""
        begun = begun or [()] * len(prompts)
        fixed = len(self.layout.think_open) + len(self.layout.think_close)
        n_new = self.task.max_chain_tokens + self.task.max_answer_tokens + fixed
        eos = model.tokenizer.eos_token_id
        written = generate(
            model,
            [prompt + ids for prompt, ids in zip(prompts, begun, strict=True)],
            max_new_tokens=n_new + len(self.layout.answer_cue),
            stop=(self.layout.answer_end, *(((int(eos),),) if eos is not None else ())),
            interventions=edits,
            batch_size=self.batch_size,
        )
        texts = [ids + one.ids for ids, one in zip(begun, written, strict=True)]
        return [
            self._answer(model, text) == example.answer
            for text, example in zip(texts, self.task.examples, strict=True)
        ]

    def _answer(self, model: Model, text: Ids) -> str:
        """What stands after the last answer cue; empty without one."""
        cue = self.layout.answer_cue
        starts = [at for at in range(len(text)) if text[at : at + len(cue)] == cue]
        if not starts:
            return ""
        return self.task.read_answer(decode(model.tokenizer, text[starts[-1] + len(cue) :]))


def _divergences(base: Model, post: Model, text: Ids, start: int) -> tuple[float, float]:
    """KL(post || base) at a position, and its mean over all later ones but the last, nats."""
    p, q = (run(model, [text]).logits[0].log_softmax(-1) for model in (post, base))
    first = kullback_leibler(p[start : start + 1], q[start : start + 1])
    later = slice(start + 1, len(text) - 1)
    rest = kullback_leibler(p[later], q[later]) if len(p[later]) else float("nan")
    return first, rest


def _transplant_items(task: str, example: Example, right: Mapping[str, float]) -> list[Item]:
    def item(reader: str, condition: str, metric: str, value: float) -> Item:
        return Item(
            "first_token", reader, reader, task, example.id, example.problem, condition, metric,
            value,
        )  # fmt: skip

    gain = right["post"] - right["base"]
    items = [item(name, "alone", "accuracy", right[name]) for name in PAIR]
    for condition in TRANSPLANTS:
        writer = "base" if condition in ("post_then_base", "patched_base") else "post"
        items += [
            item(writer, condition, "accuracy", right[condition]),
            item(writer, condition, "transplant_gain", right[condition] - right["base"]),
            item(writer, condition, "gain", gain),
        ]
    return items
