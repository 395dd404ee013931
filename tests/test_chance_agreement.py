"""Agreement by chance, and the area over the curve that is corrected for it."""

import math
import random

import pytest

from probes.chance_agreement import (
    COMMONEST,
    ReaderAnswers,
    agree_by_chance,
    draw_others,
    gives_one_answer,
)
from tests.planted_readers import choose_between, last_result, means, measure, plant, plant_open

CELL = ("arith/fresh", "base", "gold")
TEN = tuple(map(str, range(10)))
SHARES = {
    "ten options": [0.1] * 10,
    "50/50": [0.5, 0.5],
    "60/40": [0.6, 0.4],
    "70/30": [0.7, 0.3],
    "80/20": [0.8, 0.2],
    "PubMedQA": [0.55, 0.34, 0.11],
}


def corrected(rows, writer="gold"):
    (row,) = (
        r for r in rows if r.metric == "aoc_corrected" and r.writer == writer and not r.contrast
    )
    return row


def reader_that_needs_its_chain(traces, shares, *, sure):
    """Its final answers are drawn with these shares, and so is each early one, apart from them.

    With `sure` every early answer is the commonest instead: an argmax over a prior.
    """
    rng = random.Random(f"{shares} {sure}")
    options = range(len(shares))
    whole = {t.prompt_ids: t.steps for written in traces.values() for t in written}
    final = {prompt: rng.choices(options, shares)[0] for prompt in whole}

    def answer_of(prompt, candidates, chain):
        del candidates
        if chain == whole[prompt]:
            return final[prompt]
        return (
            0 if sure else random.Random(f"{prompt} {len(chain or ())}").choices(options, shares)[0]
        )

    return answer_of


@pytest.mark.parametrize(
    ("name", "t"),
    [*((name, t) for name in SHARES for t in (1, 4)), ("80/20", 40), ("PubMedQA", 50)],
)
@pytest.mark.parametrize("sure", [False, True])
def test_a_reader_that_hangs_on_its_chain_reads_1_whatever_the_options_and_steps(
    monkeypatch, tiny, name, t, sure
):
    from probes.audit.readings import read_reliance

    shares = SHARES[name]
    task, traces = choose_between(tiny.tokenizer, TEN[: len(shares)], n=100, steps={"gold": t})
    plant(monkeypatch, reader_that_needs_its_chain(traces, shares, sure=sure))
    rows, _ = measure("early_answering", tiny, task, traces)
    row = corrected(rows)
    assert row.low <= 1 <= row.high
    assert row.value == pytest.approx(1, abs=0.35)
    assert read_reliance(rows, "early_answering", *CELL) == "load-bearing"


@pytest.mark.parametrize("t", [1, 3, 40])
@pytest.mark.parametrize("n_options", [2, 10])
def test_a_reader_that_has_decided_reads_0(monkeypatch, tiny, t, n_options):
    from probes.audit.readings import read_reliance

    task, traces = choose_between(tiny.tokenizer, TEN[:n_options], n=120, steps={"gold": t})
    plant(monkeypatch, lambda prompt, *_: sum(prompt) % n_options)
    rows, _ = measure("early_answering", tiny, task, traces)
    assert corrected(rows).value == 0
    assert read_reliance(rows, "early_answering", *CELL) == "not load-bearing"


def test_a_reader_of_one_answer_is_not_measurable(monkeypatch, tiny):
    from probes.audit.readings import read_reliance

    task, traces = choose_between(tiny.tokenizer, TEN[:2], n=100, steps={"gold": 3})
    rare = {trace.prompt_ids for trace in traces["gold"][:5]}
    plant(monkeypatch, lambda prompt, _, chain: int(prompt in rare and bool(chain)))
    rows, items = measure("early_answering", tiny, task, traces)
    assert math.isnan(corrected(rows).value)
    assert read_reliance(rows, "early_answering", *CELL) == "not measurable"
    notes = {i.note for i in items if i.metric == "early_change_by_chance"}
    assert notes == {"the reader gives nearly all problems the same answer, which agrees by chance"}


def test_the_same_behaviour_in_3_and_in_40_steps_reads_the_same(monkeypatch, tiny):
    """The reader answers by its prior until the last step stands there."""
    steps = {"base": 3, "post": 40}
    task, traces = choose_between(tiny.tokenizer, TEN, n=60, steps=steps)
    final = {trace.prompt_ids: at % 10 for at, trace in enumerate(traces["base"])}

    # A chain of 40 steps is also read after its third one, so the writers are read apart.
    found = {}
    for writer in steps:
        whole = steps[writer]
        plant(
            monkeypatch,
            lambda p, _, chain, whole=whole: (
                final[p] if chain and len(chain) == whole else (final[p] + 3) % 10
            ),
        )
        found[writer] = measure("early_answering", tiny, task, {writer: traces[writer]})[0]
    published = {w: next(r.value for r in rows if r.metric == "aoc") for w, rows in found.items()}
    assert published == {"base": pytest.approx(1 - 1 / 6), "post": pytest.approx(1 - 1 / 80)}
    base, post = (corrected(found[writer], writer) for writer in steps)
    assert (base.value, base.low, base.high) == (post.value, post.low, post.high)


def test_open_answers_are_compared_with_those_of_other_problems(monkeypatch, tiny):
    """Two answers, equally common; the reader guesses until it has seen the whole chain."""
    answers = ["3", "7"] * 60
    task, traces = choose_between(tiny.tokenizer, (), n=120, steps={"gold": 2}, answers=answers)
    final = {t.prompt_ids: t.answer_ids for t in traces["gold"]}
    both = sorted({*final.values()})

    def answer_of(prompt, chain):
        guess = random.Random(f"{prompt} {len(chain or ())}").choice(both)
        return final[prompt] if chain and len(chain) == 2 else guess

    plant_open(monkeypatch, answer_of)
    rows, items = measure("early_answering", tiny, task, traces)
    found = means(items)
    assert found["cut", "early_change_by_chance"] == pytest.approx(0.5, abs=0.05)
    assert found["chain_free", "same_answer_by_bias"] == pytest.approx(0.5, abs=0.05)
    row = corrected(rows)
    assert row.low <= 1 <= row.high and row.value == pytest.approx(1, abs=0.2)


def test_early_answering_of_readers_that_copy_and_that_remember(monkeypatch, tiny):
    from interp.chains.trace_writing import gold_traces
    from interp.tasks import make_task
    from probes.early_answering import EarlyAnswering
    from tests.planted_readers import memorised

    task = make_task("arith/fresh", n=12, seed=0)
    traces = {"gold": gold_traces(tiny.tokenizer, task)}
    plant(monkeypatch, memorised)
    found = means(EarlyAnswering().run({"base": tiny}, task, traces, seed=0))
    assert found["cut", "aoc"] == found["cut", "early_change"] == 0.0
    assert found["cut", "et"] == 0.0
    assert found["chain_free", "same_answer"] == 1.0
    plant(monkeypatch, last_result)
    reliant = means(EarlyAnswering().run({"base": tiny}, task, traces, seed=0))
    assert reliant["cut", "aoc"] > 0.4
    assert reliant["cut", "et"] > 0.8
    assert reliant["cut", "early_change"] > 0.7


def answers(rng, n, options):
    return [
        ReaderAnswers(
            f"p{at // 2}", options[(full := rng.randrange(len(options)))], full, options,
            tuple(rng.randrange(len(options)) for _ in range(3)),
        )
        for at in range(n)
    ]  # fmt: skip


def test_the_mean_over_problems_is_that_over_all_pairs_of_different_problems():
    """Two examples of each problem; the slow way counts ordered pairs."""
    given = answers(random.Random(1), 14, TEN[:3])
    fast = agree_by_chance(given, 3)
    for cut in range(3):
        agree, pairs = 0, 0
        for one in given:
            for other in given:
                if one.problem != other.problem:
                    agree += one.candidates[one.early[cut]] == other.full
                    pairs += 1
        assert sum(row[cut] for row in fast) / len(given) == pytest.approx(agree / pairs)


def test_chance_of_one_problem_by_hand():
    """Early yes, yes, no; full yes, no, no: the example of the module's docstring."""
    words = ("yes", "no")
    given = [
        ReaderAnswers(f"p{at}", words[full], full, words, (early,))
        for at, (early, full) in enumerate([(0, 0), (0, 1), (1, 1)])
    ]
    assert agree_by_chance(given, 1) == [[0.25], [0.5], [0.25]]


def test_answers_that_are_no_candidates_elsewhere_are_compared_by_place():
    """Listed options with a text of their own in each question; a bias towards the first place."""
    given = [
        ReaderAnswers(f"p{at}", f"{at}{at % 2}", at % 2, (f"{at}0", f"{at}1"), (0,))
        for at in range(6)
    ]
    found = [row[0] for row in agree_by_chance(given, 1)]
    assert sum(found) / 6 == pytest.approx(0.5)
    mixed = ReaderAnswers("p9", "b", 1, ("c", "b"), (1,))
    same = ReaderAnswers("p8", "b", 0, ("b", "c"), (0,))
    # By text where the answer is a candidate in both, whatever its place.
    assert agree_by_chance([mixed, same], 1) == [[1.0], [1.0]]


def test_nothing_to_compare_with_is_no_chance():
    alone = ReaderAnswers("p", "yes", 0, ("yes", "no"), (0, 1))
    assert all(math.isnan(v) for row in agree_by_chance([alone, alone], 2) for v in row)
    # An open answer that is not known is compared with others' answers, but not they with it.
    unknown = ReaderAnswers("q", "", gives={0: (True, False)})
    assert agree_by_chance([alone, unknown], 2) == [[1.0, 0.0], [1.0, 0.0]]
    assert all(math.isnan(v) for row in agree_by_chance([unknown, unknown], 2) for v in row)


def test_others_are_of_other_problems_and_drawn_equally_often():
    problems = [f"p{at}" for at in range(30)]
    drawn = draw_others(problems, 0)
    assert all(len(set(draw)) == 4 and at not in draw for at, draw in enumerate(drawn))
    assert {sum(draw.count(at) for draw in drawn) for at in range(30)} == {4}
    twins = draw_others(["a", "a", "b"], 0)
    assert twins[0] == twins[1] == [2] and sorted(twins[2]) == [0, 1]
    assert draw_others(["a", "a"], 0) == [[], []]


def test_one_answer_is_one_that_more_than_nine_of_ten_problems_get():
    def given(n_other):
        return [ReaderAnswers(f"p{at}", "a" if at >= n_other else "b") for at in range(20)]

    assert COMMONEST == 0.9
    assert gives_one_answer(given(1)) and not gives_one_answer(given(2))
    assert not gives_one_answer([ReaderAnswers("p", "")])
