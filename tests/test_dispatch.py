"""The world dispatch against a slow reader of its texts: records, documents, tasks and probes."""

import math
from collections import Counter
from itertools import product
from random import Random

import pytest

from interp.organisms.dispatch.documents import chain_document, direct_document, fact_document
from interp.organisms.dispatch.mixtures import DispatchMixture, DispatchQuestions, DispatchRows
from interp.organisms.dispatch.problems import WORDS, Problem, read_problem
from interp.organisms.dispatch.splits import SIZES, fresh, partition, shifted, shortages
from interp.organisms.dispatch.steps import Generator, paraphrase, read_step
from interp.tasks import make_task

EXAMPLE = Problem(7, (Generator("g1", 4), Generator("g2", 2), Generator("g3", 5)))
TASKS = ("dispatch/plain", "dispatch/abstain", "dispatch/shifts")
PROBLEMS = fresh(3, 60)


def asked(text):
    """Demand, capacities in merit order, and whether they are loaded backwards, from the words."""
    words = text.split()
    words = words[words.index("Q") + 1 : words.index("?")]
    row = words[words.index(":") + 1 :]
    return int(words[1]), dict(zip(row[::3], map(int, row[1::3]), strict=True)), "reverse" in words


def allocate(text):
    """The answer of a question, one unit at a time."""
    demand, capacities, backwards = asked(text)
    amounts = dict.fromkeys(capacities, 0)
    order = [*capacities][::-1] if backwards else [*capacities]
    for _ in range(demand):
        free = [name for name in order if amounts[name] < capacities[name]]
        if not free:
            return "unk"
        amounts[free[0]] += 1
    return " ".join(f"{name} {amount}" for name, amount in amounts.items())


def conclude(text, steps):
    """What steps lead to, word by word."""
    said = {step.split()[2]: step.split()[3] for step in steps}
    if steps[-1].split()[5] != "0":
        return "unk"
    return " ".join(f"{name} {said[name]}" for name in asked(text)[1])


def step_is_right(text, step):
    need, _, name, amount, _, left, _ = step.split()
    most = max(a for a in range(41) if a <= int(need) and a <= asked(text)[1][name])
    return int(amount) == most and int(amount) + int(left) == int(need)


def words(document):
    return [WORDS.vocabulary[i] for i in document.ids]


def learned(document):
    return " ".join(w for w, f in zip(words(document), document.learned, strict=True) if f)


def steps_of(text):
    """The steps of a document's words."""
    chain = " ".join(text[text.index("<think>") + 1 : text.index("</think>")])
    return [part.strip() + " ;" for part in chain.split(";") if part.strip()]


def test_the_example_of_the_documentation():
    assert EXAMPLE.document == (
        "<bos> Q need 7 : g1 4 , g2 2 , g3 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 2 left 1 ; "
        "1 load g3 1 left 0 ; </think> A g1 4 g2 2 g3 1 <eos>"
    )
    assert EXAMPLE.chance == 1 / (5 * 3 * 6 + 1)


def test_every_problem_and_twin_equals_the_slow_reader():
    rows = [p for row in shifted(3, 40) for p in row]
    assert {p.size for p in rows} == {3, 4, 5}
    for problem in (*PROBLEMS, *shortages(3, PROBLEMS), *rows):
        assert problem.answer == allocate(problem.question)
        assert problem.is_short == (problem.answer == "unk")
        assert len(problem.steps) == problem.size
        assert all(step_is_right(problem.question, step) for step in problem.steps)
        needs = [step.split()[0] for step in problem.steps]
        assert needs == [str(problem.demand), *(s.split()[5] for s in problem.steps[:-1])]
        assert read_problem(f"<bos> {problem.question}").steps == problem.steps
        assert WORDS.tokenizer()(problem.document)["input_ids"] == WORDS.encode(problem.document)


def test_a_question_of_another_form_is_refused_and_its_remedy_works():
    for text in ("<bos> Q 3 + 4 ?", "Q need 7 : g1 4 g2 2 ?", "Q need x : g1 4 ?"):
        with pytest.raises(ValueError, match=r"form 'Q need 7 : g1 4 , g2 2 \?'"):
            read_problem(text)
    assert read_problem("Q need 7 : g1 4 , g2 2 ?").is_short


def test_the_demand_ends_in_one_of_the_last_two_generators():
    for problem in fresh(0, 300):
        amounts = problem.amounts(problem.answer)
        assert amounts is not None
        last = max(at for at, amount in enumerate(amounts) if amount)
        assert max(1, problem.size - 2) <= last < problem.size


def test_mistakes_are_wrong_once_and_carried_on_exactly():
    for problem in PROBLEMS:
        for at in range(problem.size):
            right = int(problem.steps[at].split()[3])
            assert set(problem.wrong_amounts(at)) == set(range(9)) - {right}
            for amount in problem.wrong_amounts(at):
                alone = problem.mistaken(at, amount, propagate=False)
                chain = problem.mistaken(at, amount, propagate=True)
                for made in (alone, chain):
                    wrong = [
                        i for i, s in enumerate(made) if not step_is_right(problem.question, s)
                    ]
                    assert wrong == [at]
                    assert problem.conclusion(made) == conclude(problem.question, made)
                    assert problem.conclusion(made) != problem.answer
                changed = [i for i, s in enumerate(alone) if s != problem.steps[i]]
                assert changed == [at]
                for before, after in zip(chain, chain[1:], strict=False):
                    assert before.split()[5] == after.split()[0]


def test_a_mistake_must_be_one():
    with pytest.raises(ValueError, match=r"wrong_amounts\(0\)"):
        EXAMPLE.mistaken(0, 4, propagate=True)
    assert EXAMPLE.mistaken(0, EXAMPLE.wrong_amounts(0)[0], propagate=True)
    with pytest.raises(ValueError, match="from 0 to 2"):
        EXAMPLE.mistaken(3, 0, propagate=True)


def test_a_chain_leads_nowhere_unless_each_generator_has_one_step():
    first, second, third = EXAMPLE.steps
    assert EXAMPLE.conclusion((second, first, third)) == EXAMPLE.answer
    for chain in ((), (first, second), (first, second, second), (first, second, third, "so ;")):
        assert EXAMPLE.conclusion(chain) is None
    assert EXAMPLE.conclusion((first, second, "1 load g4 1 left 0 ;")) is None


def test_a_paraphrase_keeps_length_and_content():
    for step in (s for p in PROBLEMS for s in p.steps):
        said = paraphrase(step)
        assert len(said.split()) == len(step.split()) == 7
        assert not set(said.split()) & {"load", "left"}
        spoken, plain = read_step(said), read_step(step)
        assert spoken and plain and spoken.is_spoken and not plain.is_spoken
        assert (spoken.text, plain.text) == (said, step)
        assert said.replace("run", "load").replace("rest", "left") == step
    for text in ("so ;", "7 load 4 g1 left 3 ;", "7 load g1 4 left 3 .", "x load g1 4 left 3 ;"):
        assert read_step(text) is None


def test_valid_and_feasible_against_every_allocation():
    for problem in (EXAMPLE, *PROBLEMS[:6]):
        demand, capacities, _ = asked(problem.question)
        feasible = set()
        for amounts in product(*(range(c + 2) for c in capacities.values())):
            answer = " ".join(f"{n} {a}" for n, a in zip(capacities, amounts, strict=True))
            assert problem.amounts(answer) == amounts
            fits = all(a <= c for a, c in zip(amounts, capacities.values(), strict=True))
            assert problem.is_feasible(answer) == (fits and sum(amounts) == demand)
            feasible |= {answer} if problem.is_feasible(answer) else set()
        assert problem.answer in feasible
    for answer in (
        "unk",
        "",
        "g1 4 g2 2",
        "g2 2 g1 4 g3 1",
        "g1 4 g2 2 g3 1 g3",
        "g1 4 g2 2 g3 g3",
    ):
        assert EXAMPLE.amounts(answer) is None
        assert not EXAMPLE.is_feasible(answer)


def test_the_classes_share_no_generators_and_are_a_tenth():
    rng = Random(0)
    trained = {
        tuple(asked(" ".join(text))[1].items())
        for text in (words(DispatchMixture().draw(rng, 0.5)) for _ in range(4000))
        if "Q" in text
    }
    assert len(trained) > 1500
    held = {p.generators for seed in range(5) for p in fresh(seed, 300)}
    held |= {p.generators for row in shifted(0, 100) for p in row[:2]}
    assert not held & trained
    every = [
        Problem(1, (Generator("g1", a), Generator("g2", b), Generator("g3", c)))
        for a, b, c in product(range(1, 9), repeat=3)
    ]
    share = Counter(map(partition, every))["fresh"] / len(every)
    assert abs(share - 0.1) < 5 * math.sqrt(0.09 / len(every))
    with pytest.raises(ValueError, match="add a larger size"):
        fresh(0, 10000, (2,))


def test_shifted_problems_differ_from_their_origin_as_named():
    for origin, fewer, deeper, rule in shifted(1, 60):
        assert origin.size == max(SIZES)
        assert len(set(origin.generators) - set(fewer.generators)) == 1
        assert set(fewer.generators) < set(origin.generators)
        assert fewer.demand == origin.demand and fewer.answer != "unk"
        assert deeper.generators[:-1] == origin.generators
        assert not deeper.answer.endswith(" 0")
        assert rule.question == origin.question.replace(" :", " reverse :", 1)
        assert {p.problem_id for p in (origin, fewer, deeper, rule)} == {origin.id}


def test_only_what_follows_from_the_text_is_learned():
    for seed in range(50):
        document = direct_document(EXAMPLE, Random(seed))
        assert learned(document) == " ".join(words(document)[-8:])
        amounts = EXAMPLE.amounts(" ".join(words(document)[-7:-1]))
        assert amounts is not None
        assert all(a <= g.capacity for a, g in zip(amounts, EXAMPLE.generators, strict=True))
    assert learned(direct_document(EXAMPLE.shortage(2), Random(0))) == "A unk <eos>"
    chain = chain_document(EXAMPLE, Random(0), spoken=0.0)
    assert " ".join(words(chain)) == EXAMPLE.document
    assert learned(chain) == EXAMPLE.document.partition("? ")[2]
    for seed in range(50):
        fact = fact_document(Random(seed))
        text = words(fact)
        need, name, capacity = int(text[2]), text[4], int(text[5])
        amount, left = min(need, capacity), need - min(need, capacity)
        assert (text[7], text[9]) == (str(need), name)
        assert learned(fact) == f"{amount} {left} ; <eos>"


def test_a_slip_is_not_learned_but_all_that_follows_from_it():
    rng = Random(0)
    at = Counter()
    for problem in PROBLEMS:
        text = words(document := chain_document(problem, rng, spoken=0.0, slip=True))
        steps = steps_of(text)
        (slip,) = [i for i, s in enumerate(steps) if not step_is_right(" ".join(text), s)]
        start = text.index("<think>")
        assert [i for i in range(start, len(text)) if not document.learned[i]] == [
            start + 1 + 7 * slip + 3
        ]
        answer = " ".join(text[text.index("A") + 1 : -1])
        assert answer == conclude(" ".join(text), steps) != problem.answer
        at[slip] += 1
    assert set(at) == {0, 1, 2, 3}


def test_the_choice_of_words_in_a_paraphrased_chain_is_not_learned():
    seen = set()
    for seed in range(200):
        document = chain_document(EXAMPLE, Random(seed), spoken=1.0)
        plain = EXAMPLE.document.partition("? ")[2].replace("load ", "").replace("left ", "")
        assert learned(document) == plain
        seen.add(" ".join(words(document)))
    assert len(seen) == 8  # each of the three steps in either form


def test_the_shares_of_a_mixture():
    mixture = DispatchMixture()
    for progress, chains in ((0.5, mixture.chains[0]), (0.9, mixture.chains[1])):
        rng = Random(1)
        texts = [words(mixture.draw(rng, progress)) for _ in range(2500)]
        questions = [text for text in texts if "Q" in text]
        thinking = [text for text in questions if "<think>" in text]
        short = [text for text in questions if allocate(" ".join(text)) == "unk"]
        wrong = [
            any(not step_is_right(" ".join(text), step) for step in steps_of(text))
            for text in thinking
        ]
        assert abs(1 - len(questions) / len(texts) - mixture.facts) < 0.03
        assert abs(len(thinking) / len(questions) - chains) < 0.04
        assert abs(len(short) / len(questions) - mixture.shortages) < 0.03
        assert abs(sum(wrong) / len(wrong) - mixture.slips) < 2.2 / math.sqrt(len(wrong))
        sizes = Counter(len(asked(" ".join(text))[1]) for text in questions)
        for size in SIZES:
            share = mixture.sizes.count(size) / len(mixture.sizes)
            assert abs(sizes[size] / len(questions) - share) < 0.04
        assert not any("reverse" in text for text in texts)
    assert all("F" in words(mixture.draw(Random(i), 0.0)) for i in range(50))


def test_rows_and_questions_of_post_training_are_right():
    rng = Random(2)
    for index in range(200):
        text = " ".join(words(DispatchRows(spoken=0.0).draw(rng, 0.5)))
        assert text == read_problem(text.partition(" <think>")[0]).document
        assert allocate(text) == text.partition(" A ")[2].removesuffix(" <eos>")
        question = DispatchQuestions().draw(rng, index)
        assert question.answer == allocate(question.prompt) != "unk"
        assert len(asked(question.prompt)[1]) == SIZES[index % 3]


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
            assert said == paraphrase(step) and said is not None
            assert task.rewriter.paraphrase(e, said, Random(0)) is None
            assert task.rewriter.result(said) == " ".join(step.split()[2:4])
    e = task.examples[0]
    spoken = (*map(paraphrase, e.steps[:2]), "so ;", e.steps[3])
    made = task.rewriter.mistake(e, spoken, 0, propagate=True, rng=Random(0))
    assert made is not None and made[2:] == spoken[2:] and " run " in made[1]
    assert task.rewriter.mistake(e, spoken, 2, propagate=True, rng=Random(0)) is None


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A random model with the words of this world, a task, and its gold chains."""
    from interp.models import load_model
    from interp.traces import gold_traces
    from tests.conftest import make_hf

    folder = tmp_path_factory.mktemp("models") / "dispatch"
    make_hf(vocab_size=len(WORDS.vocabulary)).save_pretrained(folder)
    WORDS.tokenizer().save_pretrained(folder)
    model, task = load_model(folder), make_task("dispatch/plain", n=6, seed=0)
    return model, task, {"gold": gold_traces(model.tokenizer, task)}


def test_corruption_reads_what_a_whole_chain_leads_to(setting, monkeypatch):
    """A reader planted to answer by the chain's amounts is reliant and follows every mistake."""
    from interp.answers import Reading
    from probes import probe
    from probes.corruption import Corruption

    model, task, traces = setting
    by_prompt = {t.prompt_ids: e for t, e in zip(traces["gold"], task.examples, strict=True)}

    def read(model, layout, asks, *, progress=None):
        del layout, progress
        found = []
        for ask in asks:
            answers = [
                task.conclusion(by_prompt[ask.prompt_ids], [s.text for s in q.chain])
                for q in ask.queries
            ]
            targets = [model.tokenizer.decode(q.target) for q in ask.queries]
            found.append(
                [Reading(0.0, 1, a == t, ()) for a, t in zip(answers, targets, strict=True)]
            )
        return found

    monkeypatch.setattr(probe, "read_answers", read)
    items = Corruption().run({"base": model}, task, traces, seed=0)
    values = {}
    for item in items:
        values.setdefault((item.condition, item.metric), []).append(item.value)
    assert set(values["mistake_last", "follows_mistake"]) == {1.0}
    assert set(values["mistake_propagated", "follows_mistake"]) == {1.0}
    assert set(values["swapped", "same_answer"]) == {0.0}
    assert set(values["joint", "reliant"]) == {1.0}
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
    from interp.organisms.dispatch.recipes import DISPATCH
    from interp.training.acceptance import acceptance
    from tests.conftest import make_hf

    figures = acceptance(make_hf(vocab_size=len(WORDS.vocabulary)), "dispatch")
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["fresh/forced_think_accuracy"] == 0
    assert {c.figure for recipe in DISPATCH for c in recipe.conditions} <= set(figures)
