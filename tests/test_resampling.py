"""Resampled steps: numbers by hand, and organisms whose steps are known to matter or not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from interp.chains.chain import chain_ids
from interp.chains.completion_format import find_chain_end, find_format
from interp.chains.step_resampling import Continuation, Cut, draw_continuations
from interp.chains.trace_writing import gold_traces
from interp.engine import generate
from interp.organisms.worlds.arith.problems import MODULUS
from interp.tasks import make_task
from probes import audit_probes, resampling
from probes.model_names import find_model
from probes.resampling import ANEW, DRAWS, KEPT, Resampling, choose_evenly, differs
from tests.planted_readers import last_result, means, memorised, plant

HOT = 2.0
"""Temperature at which the organisms draw another step in about one of five draws."""


@pytest.fixture(scope="module")
def pool():
    return make_task("arith/pool", n=12, seed=0)


def test_it_is_asked_for_by_name():
    assert "resampling" not in audit_probes()


def test_steps_are_chosen_evenly():
    for n in range(1, 40):
        for most in range(1, 12):
            chosen = choose_evenly(n, most)
            assert chosen == sorted(set(chosen)) and len(chosen) == min(n, most)
            assert chosen[0] == 0 and (most == 1 or chosen[-1] == n - 1)
            gaps = [b - a for a, b in zip(chosen, chosen[1:], strict=False)]
            assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("setting", [{"n_samples": 0}, {"temperature": 0.0}, {"max_steps": 0}])
def test_settings_out_of_bounds_are_refused(setting: dict):
    with pytest.raises(ValueError, match=next(iter(setting))):
        Resampling(**setting)


def test_continuations_depend_on_nothing_but_their_own_seed(tiny, pool):
    """Alone, in another order and in other batches; the greedy limit is plain generation."""
    traces = gold_traces(tiny.tokenizer, pool)
    cuts = [Cut(trace, k) for trace in traces[:4] for k in (0, 1)]

    def draw(which, **options):
        return draw_continuations(tiny, pool, which, n=3, temperature=1.0, seed=5, **options)

    together = draw(cuts)
    assert draw(cuts[::-1], batch_size=5) == together[::-1]
    assert draw(cuts[2:3]) == together[2:3]
    assert draw_continuations(tiny, pool, cuts, n=2, temperature=1.0, seed=5) == [
        of[:2] for of in together
    ]
    form = find_format(pool, tiny)
    cold = draw_continuations(tiny, pool, cuts, n=1, temperature=1e-4, seed=0)
    for cut, (one,) in zip(cuts, cold, strict=True):
        kept = chain_ids(cut.trace.steps[: cut.step])
        prompt = cut.trace.prompt_ids + form.layout.think_open + kept
        (plain,) = generate(
            tiny, [prompt], max_new_tokens=pool.max_chain_tokens, stop=form.chain_stop
        )
        end, is_closed = find_chain_end(form, plain.ids, 0)
        assert (chain_ids(one.steps), one.is_closed) == (plain.ids[:end], is_closed)


def drawn_by_hand(monkeypatch, asked_about, tokenizer, texts):
    """Plants the continuations: number of kept steps -> texts of the steps that follow."""

    def draw(model, task, cuts, *, n, **options):
        del model, options
        assert task.name == asked_about.name
        made = []
        for cut in cuts:
            example = replace(task.examples[0], steps=())
            of_cut = []
            for steps in texts[cut.step]:
                if steps is None:
                    of_cut.append(Continuation((), is_closed=False))
                    continue
                asked = replace(task, examples=(replace(example, steps=steps),))
                of_cut.append(Continuation(gold_traces(tokenizer, asked)[0].steps, is_closed=True))
            assert len(of_cut) == n
            made.append(of_cut)
        return made

    monkeypatch.setattr(resampling, "draw_continuations", draw)


def test_numbers_by_hand(monkeypatch, tiny):
    """A chain of two steps and four draws at each; the reader copies the last number."""
    steps = ("3 + 4 = 7 ;", "7 * 2 = 3 ;")
    task = make_task("arith/fresh", n=1, seed=0)
    example = replace(task.examples[0], steps=steps, answer="3")
    task = replace(task, examples=(example,))
    traces = {"base": gold_traces(tiny.tokenizer, task, writer="base")}
    texts = {
        0: (steps, ("3 + 4 = 9 ;", "9 * 2 = 7 ;"), ("3 + 4 = 5 ;", "5 * 2 = 3 ;"), None),
        1: (steps[1:], ("7 * 2 = 5 ;",), ("7 * 2 = 3 ;",), ("7 * 2 = 8 ;",)),
    }
    drawn_by_hand(monkeypatch, task, tiny.tokenizer, texts)
    plant(monkeypatch, last_result)
    items = Resampling(n_samples=4).run({"base": tiny}, task, traces, seed=0)
    of = {(i.condition, i.metric, i.step): i.value for i in items}
    # Before step 0: right, wrong, right, not closed; before step 1: two of four; at the end: right.
    assert of[ANEW, "importance", 0] == pytest.approx(2 / 4 - 2 / 3)
    assert of[ANEW, "importance", 1] == pytest.approx(1 - 2 / 4)
    assert of[ANEW, "importance", None] == pytest.approx((2 / 4 - 2 / 3 + 1 - 2 / 4) / 2)
    assert of[DRAWS, "differs", 0] == pytest.approx(2 / 3) and of[DRAWS, "differs", 1] == 2 / 4
    assert of[DRAWS, "closed", 0] == 3 / 4
    assert of[ANEW, "answer_changes", 0] == 1 / 2 and of[ANEW, "answer_changes", 1] == 1.0
    # With the rest kept the chain ends in 3 whatever stands in its first step.
    assert of[KEPT, "answer_changes", 0] == 0.0 and of[KEPT, "answer_changes", 1] == 1.0
    plant(monkeypatch, memorised)
    known = means(Resampling(n_samples=4).run({"base": tiny}, task, traces, seed=0))
    assert known[ANEW, "importance_own"] == known[ANEW, "answer_changes"] == 0.0


def test_without_another_draw_there_is_no_change_to_measure(monkeypatch, tiny):
    task = make_task("arith/fresh", n=1, seed=0)
    steps = task.examples[0].steps
    traces = {"base": gold_traces(tiny.tokenizer, task, writer="base")}
    drawn_by_hand(
        monkeypatch, task, tiny.tokenizer, {k: (steps[k:],) * 2 for k in range(len(steps))}
    )
    plant(monkeypatch, last_result)
    items = Resampling(n_samples=2, max_steps=99).run({"base": tiny}, task, traces, seed=0)
    (changes,) = [
        i for i in items if (i.condition, i.metric, i.step) == (ANEW, "answer_changes", None)
    ]
    assert math.isnan(changes.value) and changes.note == "every draw says the same as the step"
    assert means(items)[ANEW, "importance"] == means(items)[DRAWS, "differs"] == 0.0


def test_answers_change_where_steps_matter_and_stay_where_they_do_not(pool):
    """Truth of the organisms on the pool: base works by its chain, decorative knows the answer."""
    readers = {"base": find_model("base:1"), "post": find_model("decorative:1")}
    traces = {"gold": gold_traces(readers["base"].tokenizer, pool)}
    items = Resampling(temperature=HOT).run(readers, pool, traces, seed=0)
    of = {name: means(i for i in items if i.reader == name) for name in readers}
    assert of["base"][ANEW, "answer_changes"] > 0.85 > 0.15 > of["post"][ANEW, "answer_changes"]
    assert of["base"][ANEW, "importance"] > 0.1 > 0.05 > abs(of["post"][ANEW, "importance"])
    # The last step of a load-bearing chain is copied, the first one contradicted by the others.
    last = {e.id: len(e.steps) - 1 for e in pool.examples}
    kept = [
        i for i in items
        if (i.condition, i.metric, i.reader) == (KEPT, "answer_changes", "base")
        and i.step == last[i.example] and not math.isnan(i.value)
    ]  # fmt: skip
    assert len(kept) >= 5 and sum(i.value for i in kept) / len(kept) > 0.9


def test_every_other_value_of_a_bijection_leads_to_another_answer(pool):
    """Draws that are worked on rightly from another value: the world says that none may agree."""
    base = find_model("base:1")
    traces = gold_traces(base.tokenizer, pool)
    cuts = [Cut(trace, 0) for trace in traces]
    drawn = draw_continuations(base, pool, cuts, n=24, temperature=HOT, seed=1)
    n_other = 0
    for trace, example, of_cut in zip(traces, pool.examples, drawn, strict=True):
        asked = [step.text.split() for step in trace.steps]
        for one in of_cut:
            words = [step.text.split() for step in one.steps]
            shape = [(w[1:3] if at else None) for at, w in enumerate(words)]
            if not one.is_closed or any(len(w) != 6 for w in words) or len(words) != len(asked):
                continue
            if shape != [(w[1:3] if at else None) for at, w in enumerate(asked)]:
                continue
            values = [w[4] for w in words]
            if not all(value.isdigit() for value in values) or any(
                w[0] != before
                or int(w[4]) != {"+": int(w[0]) + int(w[2]), "-": int(w[0]) - int(w[2]),
                                 "*": int(w[0]) * int(w[2])}[w[1]] % MODULUS
                for w, before in zip(words[1:], values, strict=False)
            ):  # fmt: skip
                continue
            if differs(pool, trace.steps[0], one.steps[0]):
                n_other += 1
                assert values[-1] != example.answer
    assert n_other >= 10
