"""Training in small: loop, TRL SFT and GRPO run, repeat themselves, and leave a whole folder."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from interp.errors import InputError
from interp.organisms.behaviour import Reader
from interp.organisms.documents import Document, write_direct
from interp.organisms.recipe import Mixture, Pretraining, Recipe
from interp.organisms.recipes import RECIPES, find_recipe
from interp.organisms.training import making
from interp.organisms.training.grpo import AnswerReward
from interp.organisms.training.making import train, train_all
from interp.organisms.training.pretrain import (
    IGNORED,
    Shape,
    collate,
    new_model,
    pretrain,
)
from interp.organisms.worlds.arith import acceptance as arith
from interp.organisms.worlds.arith.problems import WORDS
from interp.organisms.worlds.arith.splits import arith_examples
from interp.organisms.worlds.arith.task import arith_task
from interp.organisms.zoo import load_organism, organism_path, read_cards

SMALL = Shape(n_layers=1, d_model=32, n_heads=2, n_kv_heads=1, d_mlp=32, n_ctx=96)
STEPS = 20
TASK = arith_task("fresh", n=1, seed=0)


@dataclass(frozen=True)
class Repeated(Mixture):
    """The same document again and again."""

    document: Document = Document((), ())

    def draw(self, rng, progress):
        del rng, progress
        return self.document


@pytest.fixture
def small(monkeypatch):
    """Recipes of a few steps, a small shape, and acceptance on few problems."""
    monkeypatch.setattr(making, "SHAPE", SMALL)
    monkeypatch.setattr(arith, "N_PROBLEMS", 6)
    monkeypatch.setattr(arith, "N_PER_DEPTH", 2)
    monkeypatch.setattr(arith, "DEPTHS", (2,))


def shortened(name: str, **changes) -> Recipe:
    recipe = find_recipe(name)
    return replace(recipe, method=replace(recipe.method, **changes))


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_labels_are_the_learned_tokens_and_nothing_else():
    problems = arith_examples("fresh", 3)
    documents = [write_direct(WORDS, p) for p in problems]
    ids, labels = collate(documents)
    for row, (problem, document) in enumerate(zip(problems, documents, strict=True)):
        kept = [int(i) for i in labels[row] if i != IGNORED]
        assert kept == [WORDS.ids[w] for w in ("A", problem.answer, "<eos>")]
        assert ids[row, : len(document.ids)].tolist() == list(document.ids)
        assert set(ids[row, len(document.ids) :].tolist()) <= {0}


def test_the_loss_of_the_loop_equals_a_loop_over_tokens():
    document = write_direct(WORDS, arith_examples("fresh", 1)[0])
    model = new_model(SMALL, WORDS, seed=0)
    with torch.no_grad():
        logprobs = model(torch.tensor([document.ids])).logits[0].log_softmax(-1)
    by_hand = [
        -float(logprobs[i - 1, token])
        for i, (token, flag) in enumerate(zip(document.ids, document.learned, strict=True))
        if flag
    ]
    course = pretrain(model, Pretraining(Repeated(document=document), 1, 0.0, 2), seed=0)
    assert course.losses[0] == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-5)
    assert course.tokens == 2 * len(document.ids)


def test_the_loop_learns_one_document_and_repeats_itself():
    document = write_direct(WORDS, arith_examples("fresh", 1)[0])
    ends = []
    for _ in range(2):
        model = new_model(SMALL, WORDS, seed=0)
        pretrain(model, Pretraining(Repeated(document=document), 150, 5e-3, 4), seed=0)
        ends.append(model.state_dict())
        ids = torch.tensor([document.ids])
        with torch.no_grad():
            nll = -model(ids).logits[0].log_softmax(-1)[-2, ids[0, -1]]
        assert nll < 0.1
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["base", "base-no-chains"])
def test_a_base_recipe_leaves_a_whole_folder_and_an_honest_card(name, tmp_path):
    recipe = shortened(name, steps=STEPS, batch=8)
    card = train(recipe, 0, tmp_path)
    folder = organism_path(name, root=tmp_path)
    assert [card] == list(read_cards(tmp_path))
    assert card.steps == STEPS
    assert not card.is_accepted
    assert {t.dtype for t in weights(folder).values()} == {torch.float16}
    assert {f.name for f in tmp_path.iterdir()} == {f"{name}-s0"}
    again = tmp_path / "again"
    again.mkdir()
    train(recipe, 0, again)
    same = weights(organism_path(name, root=again))
    assert all(torch.equal(tensor, same[key]) for key, tensor in weights(folder).items())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("small")
def test_sft_and_grpo_train_from_their_parent(tmp_path):
    pytest.importorskip("trl", reason="needs the extra `train`")
    train(shortened("base", steps=2, batch=4), 0, tmp_path)
    before = weights(organism_path("base", root=tmp_path))
    train(shortened("swapped-sft-pool", steps=3, batch=4), 0, tmp_path)
    card = train(shortened("grpo", steps=2, prompts=2, samples=2, max_new_tokens=8), 0, tmp_path)
    after = weights(organism_path("swapped-sft-pool", root=tmp_path))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert set(card.extra) == {
        "reward", "thinking", "zero_variance_groups", "parent_weights_sha256"
    }  # fmt: skip
    assert card.parent == "base"
    assert {f.name for f in tmp_path.iterdir()} == {"base-s0", "swapped-sft-pool-s0", "grpo-s0"}


def test_a_parent_must_be_there_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="train 'base' with seed 0 first"):
        train(find_recipe("hint"), 0, tmp_path)
    with pytest.raises(InputError, match=r"hint.*train 'base' with seed 0 first"):
        list(train_all(tmp_path, recipes=["hint"], seeds=[0]))


def test_all_at_once_knows_its_names_and_keeps_what_is_there(tmp_path):
    with pytest.raises(ValueError, match="known: base"):
        list(train_all(tmp_path, recipes=["bass"]))
    kept = list(train_all(organism_path("base").parent, recipes=["base"], keep=True))
    assert kept == []


def test_the_reward_is_for_the_answer_alone():
    reward = AnswerReward(samples=2)
    texts = ["A 3", "<think> 1 + 1 = 2 ; </think> A 3", "A 4", "3", "A", "<think> A 3 <eos>"]
    assert reward(completions=texts, answer=["3"] * 6) == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert reward.summary()["reward"] == [0.5]
    assert reward.summary() == {
        "reward": [0.5],
        "thinking": [0.3333],
        "zero_variance_groups": [0.6667],
    }


def test_reading_in_batches_equals_reading_one_by_one():
    reader = Reader(new_model(SMALL, WORDS, seed=1), WORDS, TASK)
    prompts = [f"<bos> {problem.question}" for problem in arith_examples("fresh", 9)]
    batched = reader.next_logprobs([WORDS.encode(prompt) for prompt in prompts])
    texts = reader.continuations(prompts, max_new_tokens=6)
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            alone = reader.model(torch.tensor([WORDS.encode(prompt)])).logits[0, -1].log_softmax(-1)
        assert torch.allclose(batched[row], alone, atol=1e-5)
        assert reader.continuations([prompt], max_new_tokens=6) == [texts[row]]


def test_half_precision_moves_no_answer_of_a_bundled_base():
    from transformers import LlamaForCausalLM

    folder = organism_path("base")
    full = load_organism(folder)
    half = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float()
    prompts = [f"<bos> {problem.question} A" for problem in arith_examples("twins", 60)]
    answers = [Reader(model, WORDS, TASK).next_words(prompts) for model in (full, half)]
    assert answers == [["unk"] * 60] * 2


def test_every_figure_of_a_card_is_a_share():
    for card in read_cards():
        for name, value in card.figures.items():
            # A model that writes no steps makes no claims, right or wrong.
            is_absent = name.endswith("/knowledge") and math.isnan(value)
            assert is_absent or 0 <= value <= 1, (card.name, name)
        assert card.name in RECIPES
