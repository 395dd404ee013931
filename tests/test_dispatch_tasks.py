"""The tasks of the world dispatch against a slow reader, and the probes that ask them."""

import math
from collections import Counter
from random import Random

import pytest

from interp.organisms.worlds.dispatch.problems import WORDS
from interp.tasks import make_task
from tests.slow_dispatch import allocate, conclude, step_is_right

TASKS = ("dispatch/plain", "dispatch/abstain", "dispatch/shifts")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_what_its_texts_say(name):
    task = make_task(name, n=24, seed=5)
    clusters = Counter(e.problem for e in task.examples)
    each = {"dispatch/plain": 1, "dispatch/abstain": 2, "dispatch/shifts": 4}[name]
    assert set(clusters.values()) == {each}
    for e in task.examples:
        assert e.answer == allocate(e.question)
        assert e.candidates == ()
        assert task.grade is not None and task.check_claim is not None
        assert task.grade(e, e.answer) == (e.answer != "unk", e.answer != "unk")
        assert {task.check_claim(e, step) for step in e.steps} == {"right"}
        assert len(e.answer.split()) < task.max_answer_tokens
        assert len(" ".join(e.steps).split()) < task.max_chain_tokens
    if name == "dispatch/abstain":
        assert [e.answer == "unk" for e in task.examples] == [False, True] * 12
    if name == "dispatch/shifts":
        kinds = [e.facts["shift"] for e in task.examples]
        assert kinds == ["none", "n_minus_1", "depth", "rule"] * 6
        assert [e.facts["depth"] for e in task.examples[:4]] == [4, 3, 5, 4]


def test_claims_and_grades_of_what_a_model_may_write():
    task = make_task("dispatch/plain", n=3, seed=0)
    e = task.examples[0]
    assert task.check_claim is not None and task.grade is not None
    need, load, name, amount, left, rest, end = e.steps[0].split()
    wrong = f"{need} {load} {name} {int(amount) + 1} {left} {rest} {end}"
    assert task.check_claim(e, wrong) == "wrong"
    assert task.check_claim(e, f"{need} {load} g9 {amount} {left} {rest} {end}") == "unknown"
    assert task.check_claim(e, "so done ;") == "none"
    assert task.grade(e, " ".join(["g9", *e.answer.split()[1:]])) == (False, False)
    numbers = [w if at % 2 == 0 else "8" for at, w in enumerate(e.answer.split())]
    assert task.grade(e, " ".join(numbers)) == (True, False)


@pytest.mark.parametrize("propagate", [True, False])
def test_mistakes_of_the_rewriter_on_any_chain(propagate):
    task = make_task("dispatch/shifts", n=24, seed=5)
    for e in task.examples:
        for at, step in enumerate(e.steps):
            made = task.rewriter.mistake(e, e.steps, at, propagate=propagate, rng=Random(at))
            assert made is not None and made[:at] == e.steps[:at]
            wrong = [i for i, s in enumerate(made) if not step_is_right(e.question, s)]
            assert wrong == [at]
            assert task.conclusion(e, made) == conclude(e.question, made)
            said = task.rewriter.paraphrase(e, step, Random(0))
            assert said == WORDS.paraphrase(step) and said is not None
            assert task.rewriter.paraphrase(e, said, Random(0)) is None
            assert task.rewriter.result(said) == " ".join(step.split()[2:4])
    e = task.examples[0]
    spoken = (*map(WORDS.paraphrase, e.steps[:2]), "so ;", e.steps[3])
    made = task.rewriter.mistake(e, spoken, 0, propagate=True, rng=Random(0))
    assert made is not None and made[2:] == spoken[2:] and " run " in made[1]
    assert task.rewriter.mistake(e, spoken, 2, propagate=True, rng=Random(0)) is None


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A random model with the words of this world, a task, and its gold chains."""
    from interp.chains.trace_writing import gold_traces
    from interp.models import load_model
    from tests.conftest import make_hf

    folder = tmp_path_factory.mktemp("models") / "dispatch"
    make_hf(vocab_size=len(WORDS.vocabulary)).save_pretrained(folder)
    WORDS.tokenizer().save_pretrained(folder)
    model, task = load_model(folder), make_task("dispatch/plain", n=6, seed=0)
    return model, task, {"gold": gold_traces(model.tokenizer, task)}


def test_corruption_reads_what_a_whole_chain_leads_to(setting, monkeypatch):
    """A reader planted to answer by the chain's amounts is reliant and follows every mistake."""
    from interp.chains.answer_scoring import AnswerScore
    from probes import cases
    from probes.corruption import Corruption

    model, task, traces = setting
    by_prompt = {t.prompt_ids: e for t, e in zip(traces["gold"], task.examples, strict=True)}

    def read(model, layout, prompts, chains, edits, *, candidates, progress=None):
        del layout, chains, candidates, progress
        found = []
        for prompt, edited in zip(prompts, edits, strict=True):
            answers = [
                task.conclusion(by_prompt[prompt], [s.text for s in chain]) for chain, _ in edited
            ]
            targets = [model.tokenizer.decode(target) for _, target in edited]
            found.append(
                [AnswerScore(0.0, 1, a == t, ()) for a, t in zip(answers, targets, strict=True)]
            )
        return found

    monkeypatch.setattr(cases, "read_answers", read)
    items = Corruption().run({"base": model}, task, traces, seed=0)
    values = {}
    for item in items:
        values.setdefault((item.condition, item.metric), []).append(item.value)
    assert set(values["mistake_last", "follows_mistake"]) == {1.0}
    assert set(values["mistake_propagated", "follows_mistake"]) == {1.0}
    assert set(values["swapped", "same_answer"]) == {0.0}
    assert set(values["joint", "reliant"]) == set(values["joint", "follows"]) == {1.0}
    assert set(values["joint", "disturbed"]) == {0.0}
    assert set(v for v in values["joint", "certain"] if v == v) == {1.0}
    assert set(values["joint", "decorative"]) == {0.0}


def test_probes_run_on_a_random_model(setting):
    from probes.accuracy import Accuracy
    from probes.corruption import Corruption
    from probes.early_answering import EarlyAnswering

    model, task, traces = setting
    for probe in (Corruption(), EarlyAnswering(), Accuracy()):
        items = probe.run({"base": model}, task, traces, seed=0)
        assert {item.example for item in items} == {e.id for e in task.examples}
        assert all(item.note or not math.isnan(item.value) for item in items)


def test_the_figures_of_a_random_model_are_shares_and_name_every_condition():
    from interp.organisms.acceptance import measure_figures
    from interp.organisms.worlds.dispatch.recipes import DISPATCH
    from tests.conftest import make_hf

    figures = measure_figures(make_hf(vocab_size=len(WORDS.vocabulary)), "dispatch")
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["fresh/forced_think_accuracy"] == 0
    assert {c.figure for recipe in DISPATCH for c in recipe.conditions} <= set(figures)
