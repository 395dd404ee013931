"""The world clinic against a slow reader of its texts, who knows only a list of sentences."""

from collections import Counter
from random import Random

import pytest
from clinic_texts import (
    DOMAIN,
    PLAIN_WORDS,
    SENTENCES,
    Scripted,
    asked,
    learned,
    sentences_in,
    walk,
    words,
)

from interp.organisms.documents import write_direct, write_with_chain
from interp.organisms.recipes import find_recipe
from interp.organisms.worlds.clinic.acceptance import N_PROBLEMS, clinic_figures
from interp.organisms.worlds.clinic.documents import (
    ClinicMixture,
    ClinicQuestions,
    ClinicRows,
    draw_slip,
    write_fact,
)
from interp.organisms.worlds.clinic.facts import (
    ENTITIES,
    STRANGERS,
    VERBS,
    WORDS,
    known_facts,
    read_fact,
)
from interp.organisms.worlds.clinic.problems import Problem
from interp.organisms.worlds.clinic.splits import (
    clinic_problems,
    part,
    questions,
    strange_questions,
)
from interp.organisms.worlds.clinic.task import ClinicRewriter, check_claim
from interp.tasks import make_task
from tests.world_texts import write_out

EXAMPLE = Problem("d7", ("inhibits", "regulates"))
PLAIN_KIND = {verb: kind for kind, verbs in zip("eps", VERBS, strict=True) for verb in verbs}
SPLITS = ("known", "all", "domain", "facts", "abstain", "shifts")


def test_the_example_of_the_documentation():
    assert write_out(EXAMPLE) == (
        "<bos> Q d7 inhibits regulates ? <think> d7 inhibits e28 ; e28 regulates p19 ; </think> "
        "A p19 <eos>"
    )
    assert EXAMPLE.backwards().question == "Q regulates inhibits d7 ?"
    assert EXAMPLE.shorter().question == "Q d7 inhibits ?"


def test_each_verb_is_a_bijection_and_a_domain_of_twelve():
    assert len(SENTENCES) == 360 and len({tuple(s) for s in SENTENCES}) == 360
    for (subjects, objects), verbs in zip(("de", "ep", "ps"), VERBS, strict=True):
        for verb in verbs:
            of_verb = [s for s in SENTENCES if s[1] == verb]
            for place, kind in ((0, subjects), (2, objects)):
                assert sorted(s[place] for s in of_verb) == sorted(f"{kind}{i}" for i in range(40))
            assert sum(s in DOMAIN for s in of_verb) == 12
    named = {word for s in SENTENCES for word in s}
    assert not named & {name for names in STRANGERS.values() for name in names}
    assert sorted(map(list, known_facts())) == sorted(s for s in SENTENCES if s not in DOMAIN)


@pytest.mark.parametrize("split", SPLITS)
def test_answers_and_steps_equal_the_slow_reader(split):
    problems = clinic_problems(split, 200, seed=3)
    assert len({p.id for p in problems}) == 200
    for problem in problems:
        assert (list(problem.steps), problem.answer) == walk(problem.question)
        domain = [s for s in sentences_in(" ".join(problem.steps).split()) if s in DOMAIN]
        assert problem.n_domain == len(domain)


def test_training_meets_its_own_problems_and_no_held_one():
    for depth in (2, 3):
        held = {p.question for p in questions("all", "held", depth)}
        post = {p.question for p in questions("all", "post", depth)}
        train = {p.question for p in questions("all", "train", depth)}
        strange = {p.question for of in ("held", "post") for p in strange_questions(of, depth)}
        n_all = (720, 1080)[depth - 2]
        assert len(held | post | train) == len(held) + len(post) + len(train) == n_all
        for part_of, share in ((held, 0.4), (post, 0.2), (train, 0.4)):
            assert abs(len(part_of) / n_all - share) < 0.05
        for source, own in ((ClinicMixture(), train), (ClinicRows(), train | post)):
            rng = Random(depth)
            met = {asked(words(source.draw(rng, 0.5))) for _ in range(4000)}
            assert not met & (held | post | strange) - own
            assert len(met & own) > 0.4 * len(own)
        prompts = {ClinicQuestions().draw(Random(i), i).prompt for i in range(1000)}
        assert not {prompt.removeprefix("<bos> ") for prompt in prompts} & (held | train)


def test_splits_ask_what_they_say():
    for split in ("known", "all", "domain"):
        problems = clinic_problems(split, 200)
        assert Counter(p.depth for p in problems) == {2: 100, 3: 100}
        assert {part(p) for p in problems} == {"held"}
    assert not any(p.n_domain for p in clinic_problems("known", 300))
    assert all(p.n_domain for p in clinic_problems("domain", 290))
    assert 80 < sum(p.n_domain == 0 for p in clinic_problems("all", 200)) < 120
    every = [sentences_in(p.steps[0].split()) for p in clinic_problems("facts", 360)]
    assert sorted(s for (s,) in every) == sorted(SENTENCES)


def test_no_domain_fact_is_read_in_pretraining():
    """None is stated, none has its object learned, and no answer follows from one."""
    keys = {(s[0], s[1]) for s in DOMAIN}
    rng = Random(0)
    met, asked_of_domain = Counter(), 0
    for i in range(20_000):
        document = ClinicMixture().draw(rng, i / 20_000)
        text = [PLAIN_WORDS.get(word, word) for word in words(document)]
        for sentence in sentences_in(text):
            assert sentence not in DOMAIN
            met[tuple(sentence)] += 1
        start = text.index("<think>") + 1 if "<think>" in text else 1
        for at in range(start, len(text) - 2):
            if (text[at], text[at + 1]) in keys and "Q" not in text[at - 1 : at]:
                assert not document.learned[at + 2]
        if question := asked(text):
            said, answer = walk(question)
            if any(step.split()[:3] in DOMAIN for step in said):
                assert "<think>" in text and text[-2] != answer
                asked_of_domain += 1
    assert len(met) == 252 and min(met.values()) > 20 and asked_of_domain > 500
    assert find_recipe("clinic-base").method.mixture == ClinicMixture()


def test_fine_tuning_reads_every_fact_and_only_right_steps():
    rng = Random(0)
    met = set()
    for _ in range(6000):
        text = words(ClinicRows().draw(rng, 0.5))
        found = sentences_in(text)
        assert len(found) == text.count(";") and text[-2] == found[-1][2]
        met |= {tuple(sentence) for sentence in found}
    assert len(met) == 360


def test_the_same_arguments_give_the_same_problems():
    for split in SPLITS:
        assert clinic_problems(split, 60, 1) == clinic_problems(split, 60, 1)
        assert clinic_problems(split, 60, 1) != clinic_problems(split, 60, 2)
    with pytest.raises(ValueError, match="known: known, all, domain, facts, abstain, shifts"):
        clinic_problems("stale", 3)
    with pytest.raises(ValueError, match=r"clinic/facts has 360 problems, but 361 .* clinic/all"):
        clinic_problems("facts", 361)
    assert len(clinic_problems("all", 361)) == 361


def test_a_twin_begins_at_a_stranger_and_is_held():
    problems = clinic_problems("abstain", 200)
    for plain, twin in zip(problems[::2], problems[1::2], strict=True):
        before, after = plain.question.split(), twin.question.split()
        assert [i for i, word in enumerate(before) if after[i] != word] == [1]
        assert after[1] in STRANGERS[before[1][0]]
        assert plain.problem_id == twin.problem_id == plain.id != twin.id
        assert (twin.answer, part(twin), part(plain)) == ("unk", "held", "held")


def test_shifts_are_one_step_less_and_the_words_from_the_back():
    problems = clinic_problems("shifts", 201)
    for plain, less, back in zip(problems[::3], problems[1::3], problems[2::3], strict=True):
        assert plain.problem_id == less.problem_id == back.problem_id == plain.id
        assert less.steps == plain.steps[:2] and part(less) == part(plain) == "held"
        assert back.question.split()[1:-1] == plain.question.split()[1:-1][::-1]
        assert (back.steps, back.answer) == (plain.steps, plain.answer)
    with pytest.raises(ValueError, match="depth 2 or 3"):
        Problem("d7", ("inhibits",)).shorter()


def test_a_propagated_mistake_is_right_in_itself_and_ends_elsewhere():
    for problem in clinic_problems("all", 40):
        for step in range(problem.depth):
            assert len(problem.wrong_values(step)) == 39
            for entity in problem.wrong_values(step):
                chain = problem.mistaken(step, entity, propagate=True)
                right = [sentences_in(text.split()) for text in chain]
                assert [i for i, found in enumerate(right) if not found] == [step]
                assert chain[-1].split()[2] != problem.answer
                left = " ".join(problem.mistaken(step, entity, propagate=False)).split()
                before = " ".join(problem.steps).split()
                changed = [i for i, w in enumerate(before) if left[i] != w]
                assert changed == [4 * step + 2] and left[4 * step + 2] == entity


@pytest.mark.parametrize("entity", ["e28", "p3"])
def test_a_mistake_must_be_one(entity):
    with pytest.raises(ValueError, match=r"wrong_values\(0\)"):
        EXAMPLE.mistaken(0, entity, propagate=True)
    assert EXAMPLE.mistaken(0, EXAMPLE.wrong_values(0)[0], propagate=True)
    with pytest.raises(ValueError, match="from 0 to 1"):
        EXAMPLE.mistaken(2, entity, propagate=True)


def test_only_what_follows_from_the_question_is_learned():
    assert learned(write_direct(WORDS, EXAMPLE)) == "A p19 <eos>"
    chain = write_with_chain(WORDS, EXAMPLE, Random(0), spoken=0.0)
    assert learned(chain) == write_out(EXAMPLE).removeprefix("<bos> Q d7 inhibits regulates ? ")
    assert " ".join(words(chain)) == write_out(EXAMPLE)
    rng = Random(0)
    seen = set()
    for _ in range(100):
        document = write_with_chain(WORDS, EXAMPLE, rng, spoken=1.0)
        assert learned(document) == "<think> d7 e28 ; e28 p19 ; </think> A p19 <eos>"
        seen.add(" ".join(words(document)))
    assert len(seen) == 4  # each of the two steps in either form
    for _ in range(50):
        document = write_fact(rng)
        assert learned(document) == f"{words(document)[4]} ; <eos>"


@pytest.mark.parametrize("scope", ["known", "domain"])
def test_a_slip_is_followed_and_its_wrong_words_are_not_learned(scope):
    rng = Random(0)
    places = Counter()
    for problem in questions(scope, "train", 3):
        slip = draw_slip(problem, rng)
        document = write_with_chain(WORDS, problem, rng, spoken=0.0, chain=slip)
        chain = " ".join(words(document)).split("<think> ")[1].split(" </think>")[0].split()
        entities = [problem.start, *chain[2::4]]
        assert chain[::4] == entities[:-1] and chain[1::4] == list(problem.verbs)
        wrong = {i for i in range(3) if not sentences_in(chain[4 * i : 4 * i + 4])}
        assert slip.unlearned == {(at, 2) for at in wrong}
        assert words(document)[-2] == entities[-1] != problem.answer
        masked = [i for i, flag in enumerate(document.learned) if not flag]
        lead = words(document).index("<think>")
        assert masked == [*range(lead), *(lead + 1 + 4 * i + 2 for i in sorted(wrong))]
        places.update(wrong)
    assert min(places[i] for i in range(3)) > 40


def test_the_shares_of_the_mixture():
    mixture = ClinicMixture()
    for progress, chains in ((0.5, mixture.chains[0]), (0.9, mixture.chains[1])):
        rng = Random(1)
        texts = [words(mixture.draw(rng, progress)) for _ in range(4000)]
        questioned = [text for text in texts if "Q" in text]
        strange = [t for t in questioned if "unk" in t]
        thought = [t for t in questioned if "<think>" in t]
        plain = [t for t in thought if "unk" not in t]
        slipped = [t for t in plain if len(sentences_in(t)) < t.count(";")]
        spoken = [t for t in thought if set(t) & set(PLAIN_WORDS)]
        assert abs(1 - len(questioned) / 4000 - mixture.facts) < 0.02
        assert abs(len(strange) / len(questioned) - mixture.twins) < 0.02
        assert abs(len(thought) / len(questioned) - chains) < 0.03
        assert abs(len(slipped) / len(plain) - mixture.slips) < 0.07
        assert 0.1 < len(spoken) / len(thought) < mixture.spoken + 0.05
    assert all("F" in words(mixture.draw(Random(i), 0.0)) for i in range(100))
    assert mixture.rehearse(Random(3)) == mixture.draw(Random(3), 1.0)


@pytest.mark.parametrize("split", SPLITS)
def test_the_tasks_are_the_problems_of_the_world(split):
    task = make_task(f"clinic/{split}", n=90, seed=2)
    for e, problem in zip(task.examples, clinic_problems(split, 90, 2), strict=True):
        assert f"{e.question} " == write_out(problem)[: len(e.question) + 1]
        assert (e.id, e.problem, e.answer) == (problem.id, problem.problem_id, problem.answer)
        assert e.steps == problem.steps and e.answer in e.candidates
        kind = PLAIN_KIND[e.steps[-1].split()[1]]
        unknown = ("unk",) if split == "abstain" else ()
        assert e.candidates == (*ENTITIES[kind], *unknown)
        assert (e.facts["depth"], e.facts["domain"]) == (problem.depth, problem.n_domain)
        assert task.max_chain_tokens > len(" ".join(e.steps).split())
        claims = {check_claim(e, step) for step in e.steps}
        assert claims == ({"none"} if e.answer == "unk" else {"right"})
        encoded = task.layout.joiner.join([e.question, *e.steps])
        assert WORDS.tokenizer().decode(WORDS.encode(encoded)) == encoded


def test_the_shifts_of_a_task_share_the_problem_of_their_origin():
    examples = make_task("clinic/shifts", n=90, seed=0).examples
    assert [e.facts["shift"] for e in examples] == ["none", "n_minus_1", "rule"] * 30
    clusters = Counter(e.problem for e in examples)
    assert len(clusters) == 30 and set(clusters.values()) == {3}
    pairs = make_task("clinic/abstain", n=100, seed=0).examples
    assert [e.answer == "unk" for e in pairs] == [False, True] * 50
    assert all(a.problem == b.problem for a, b in zip(pairs[::2], pairs[1::2], strict=True))


@pytest.mark.parametrize(
    ("step", "claim"),
    [
        ("d7 inhibits e28 ;", "right"),
        ("d7 blocks e28 ;", "right"),
        ("d7 inhibits e27 ;", "wrong"),
        ("d7 inhibits p19 ;", "wrong"),
        ("d45 inhibits e28 ;", "unknown"),
        ("p3 inhibits e28 ;", "unknown"),
        ("unk regulates p19 ;", "unknown"),
        ("d45 inhibits unk ;", "none"),
        ("d7 inhibits e28", "none"),
        ("d7 e28 inhibits ;", "none"),
        (". . . .", "none"),
    ],
)
def test_claims(step, claim):
    (example,) = make_task("clinic/known", n=1, seed=0).examples
    assert check_claim(example, step) == claim


def test_every_claim_of_the_world_is_judged_like_the_list_of_sentences():
    (example,) = make_task("clinic/known", n=1, seed=0).examples
    for subject, verb, _ in SENTENCES[::7]:
        for entity in ENTITIES[PLAIN_KIND[verb]]:
            listed = [subject, verb, entity] in SENTENCES
            step = f"{subject} {verb} {entity} ;"
            assert check_claim(example, step) == ("right" if listed else "wrong")
            assert check_claim(example, WORDS.paraphrase(step)) == ("right" if listed else "wrong")


@pytest.mark.parametrize("split", ["all", "abstain"])
@pytest.mark.parametrize("propagate", [True, False])
def test_mistakes_of_the_task_are_those_of_the_world(split, propagate):
    task = make_task(f"clinic/{split}", n=40, seed=5)
    for e, problem in zip(task.examples, clinic_problems(split, 40, 5), strict=True):
        for at in range(problem.depth):
            made = task.rewriter.mistake(e, e.steps, at, propagate=propagate, rng=Random(at))
            assert made is not None
            entity = task.rewriter.result(made[at]) or ""
            assert made == problem.mistaken(at, entity, propagate=propagate)


def test_the_rewriter_on_a_chain_that_is_wrong_already():
    (example,) = make_task("clinic/known", n=1, seed=0).examples
    rewriter, steps = ClinicRewriter(), ("d7 blocks e3 ;", "e3 steers p0 ;", "so done ;")
    seen = set()
    for seed in range(600):
        made = rewriter.mistake(example, steps, 0, propagate=True, rng=Random(seed))
        assert made is not None and made[2] == "so done ;"
        entity = made[0].split()[2]
        assert made[0] == f"d7 blocks {entity} ;"
        (fact,) = [s for s in SENTENCES if s[:2] == [entity, "regulates"]]
        assert made[1] == f"{entity} steers {fact[2]} ;"
        seen.add(entity)
    assert seen == set(ENTITIES["e"]) - {"e3", "e28"}
    assert rewriter.mistake(example, steps, 2, propagate=True, rng=Random(0)) is None
    assert rewriter.result("so done ;") is None
    assert rewriter.result("d7 blocks e3 ;") == "e3"


def test_a_paraphrase_keeps_entities_and_length():
    (example,) = make_task("clinic/known", n=1, seed=0).examples
    for step in (s for p in clinic_problems("all", 60) for s in p.steps):
        said = ClinicRewriter().paraphrase(example, step, Random(0))
        assert said == WORDS.paraphrase(step) != step
        assert said is not None and read_fact(said) == read_fact(step)
        changed = [(a, b) for a, b in zip(step.split(), said.split(), strict=True) if a != b]
        assert len(changed) == 1 and PLAIN_WORDS[changed[0][1]] == changed[0][0]
        assert ClinicRewriter().paraphrase(example, said, Random(0)) is None


def test_the_figures_of_a_reader_that_knows_all_but_the_domain():
    figures = clinic_figures(Scripted(None, WORDS, make_task("clinic/known", n=1, seed=0)))
    known = sum(p.n_domain == 0 for p in clinic_problems("all", N_PROBLEMS, 1000)) / N_PROBLEMS
    expected = {
        **{f"fresh/forced_think_accuracy/{depth}": 1.0 for depth in (1, 2, 3)},
        **{"fresh/forced_think_accuracy": 1.0, "fresh/knowledge": 1.0, "fresh/think_share": 0.25},
        **{"fresh/direct_accuracy": 0.0, "fresh/direct_accuracy/3": 0.0},
        **{"facts/forced_think_accuracy": 0.7, "facts/domain_accuracy": 0.0},
        **{"facts/knowledge": 0.7, "facts/claimless": 0.0},
        **{"twins/abstains_directly": 1.0, "twins/abstains_after_thinking": 1.0},
        **{f"{name}/accuracy_given_chain": 1.0 for name in ("fresh", "domain", "all")},
        **{f"{name}/follows_wrong_step": 1.0 for name in ("fresh", "domain", "all")},
        **{f"{name}/same_after_wrong_step": 0.0 for name in ("fresh", "domain", "all")},
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["domain/forced_think_accuracy"] < 0.05
    assert known <= figures["all/forced_think_accuracy"] < known + 0.05
    assert figures["fresh/same_after_other_chain"] < 0.1


@pytest.mark.parametrize("name", ["clinic-base", "clinic-sft", "clinic-grpo"])
def test_every_condition_of_the_recipes_names_a_figure(name):
    figures = clinic_figures(Scripted(None, WORDS, make_task("clinic/known", n=1, seed=0)))
    recipe = find_recipe(name)
    assert {condition.figure for condition in recipe.conditions} <= set(figures)
    assert recipe.truth.knowledge == (1.0 if name == "clinic-sft" else 0.7)
    assert recipe.world == "clinic"
