"""Activation interchange against edits of the text, and its verdicts on organisms."""

import shutil
from dataclasses import replace

import pytest
import torch

from interp.organisms.certification.certificate import certify, examine
from interp.organisms.certification.interchange import Swap, interchange
from interp.organisms.certification.pairs import PIECES, make_conflicting_swaps, make_swaps
from interp.organisms.recipe import Truth
from interp.organisms.recipes import find_recipe
from interp.organisms.zoo import organism_path, read_card
from interp.tasks import make_task
from probes.model_names import find_model

N = 6


@pytest.fixture(scope="module")
def base():
    return find_model("base")


def words_of(example):
    return " ".join([example.question, "<think>", *example.steps, "</think> A"])


def answer_of(model, text):
    with torch.no_grad():
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        return model.tokenizer.decode(model.hf(ids).logits[0, -1].argmax())


@pytest.mark.parametrize("split", ["fresh", "cued", "single"])
def test_a_donor_has_the_same_operations_and_another_outcome(split):
    _, swaps = make_swaps(f"arith/{split}", N, 3, reads_chain=True)
    assert len(swaps) == N * len(PIECES)
    for swap in swaps:
        own, donor = words_of(swap.own).split(), words_of(swap.donor).split()
        signs = [[w for w in words if w in "+-*"] for words in (own, donor)]
        assert len(own) == len(donor) and signs[0] == signs[1]
        assert swap.own.answer != swap.donor.answer
        assert swap.if_read == (
            swap.donor.answer if swap.piece in ("last step", "chain") else swap.own.answer
        )


def test_where_the_answer_is_known_by_heart_the_question_brings_the_donors():
    _, swaps = make_swaps("arith/pool", N, 3, reads_chain=False)
    pool = {example.question for example in make_task("arith/pool", n=300, seed=0).examples}
    for swap in swaps:
        assert {swap.own.question, swap.donor.question} <= pool
        assert swap.if_not == (swap.donor if swap.piece == "question" else swap.own).answer
    _, swaps = make_swaps("arith/cued", N, 3, reads_chain=False)
    for swap in swaps:
        cued = swap.donor if swap.piece == "question" else swap.own
        assert swap.if_not == cued.facts["cue"] != swap.own.answer
        assert swap.if_read != swap.if_not


def test_taking_a_piece_from_itself_changes_nothing(base):
    task, swaps = make_swaps("arith/fresh", N, 0, reads_chain=True)
    same = [replace(swap, donor=swap.own, if_read=swap.own.answer) for swap in swaps]
    for outcome, swap in zip(interchange(base, task, same), same, strict=True):
        assert outcome.gives_read == (answer_of(base, words_of(swap.own)) == swap.own.answer)
        assert (outcome.p_read == 0.5) == (swap.if_not == swap.if_read)


def test_taking_chain_and_question_is_reading_the_donor(base):
    """Everything before the cue is the donor's but the delimiters, so the answer is too."""
    task, swaps = make_swaps("arith/fresh", N, 0, reads_chain=True)
    chains = [swap for swap in swaps if swap.piece == "chain"]
    outcomes = interchange(base, task, chains)
    assert [o.gives_read for o in outcomes] == [
        answer_of(base, words_of(swap.donor)) == swap.donor.answer for swap in chains
    ]


def test_a_donor_of_another_length_is_refused(base):
    task, swaps = make_swaps("arith/fresh", 3, 0, reads_chain=True)
    longer = Swap(swaps[0].own, swaps[-1].own, "chain", "1", "2", ("1", "2"))
    assert longer.own.facts["depth"] != longer.donor.facts["depth"]
    with pytest.raises(ValueError, match="laid out like the problem"):
        interchange(base, task, [longer])


def test_a_certificate_is_written_and_names_its_weights(tmp_path):
    folder = tmp_path / "base-no-chains-s0"
    shutil.copytree(organism_path("base-no-chains"), folder)
    certificate = certify(folder, n=20)
    assert certificate.is_passed
    kept = read_card(folder)
    assert kept.certificate is not None
    assert kept.certificate["weights_sha256"] == kept.weights_sha256
    assert set(kept.certificate["figures"]) == {"arith/fresh/no skill"}


def test_a_false_truth_does_not_pass(base):
    """The same model under a recipe that claims the opposite."""
    lies = replace(find_recipe("base"), truth=Truth({"arith/pool": False}))
    certificate = examine(base, lies, "", seed=1, n=20)
    assert not certificate.is_passed
    assert any("arith/pool/chain: 0.00" in said for said in certificate.failed)
    skilled = replace(find_recipe("base"), truth=Truth(has_skill=False))
    assert not examine(base, skilled, "", seed=1, n=20).is_passed


def test_too_few_pairs_do_not_pass(base):
    certificate = examine(base, find_recipe("base"), "", seed=1, n=5)
    assert any("only 5 pairs count" in said for said in certificate.failed)


def test_a_torn_donor_states_what_its_question_does_not_give():
    task, swaps = make_conflicting_swaps("arith/single", 20, 0)
    assert task.name == "arith/single"
    for swap in swaps:
        stated, asked = swap.donor.steps[0].split()[-2], swap.donor.answer
        assert (swap.if_read, swap.if_not) == (stated, asked)
        assert len({stated, asked, swap.own.answer}) == 3


def test_the_reliance_of_a_noisy_organism_is_found_in_its_step():
    certificate = examine(find_model("noisy-05-20:4"), find_recipe("noisy-05-20"), "", seed=2, n=40)
    ((name, value),) = certificate.figures.items()
    assert name == "arith/single/reliance"
    assert abs(value - 0.174) < 0.15
