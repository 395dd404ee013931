"""The bundled organisms: there, intact, and still what their cards say."""

import json
import shutil
from dataclasses import replace

import pytest

from interp.organisms.recipe import find_failed_conditions
from interp.organisms.recipes import RECIPES, format_withheld
from interp.organisms.zoo import (
    find_folders,
    folder_name,
    format_table,
    hash_weights,
    load_organism,
    organism_path,
    organisms_folder,
    read_card,
    read_cards,
)

SIZE_LIMIT = 115_000_000  # bytes, all organisms together; the repository stays below 120e6


def test_every_recipe_is_bundled_with_every_seed():
    have = {(card.name, card.seed) for card in read_cards()}
    assert have == {(name, seed) for name, r in RECIPES.items() for seed in r.seeds}


def test_weights_are_those_of_the_cards_and_small():
    folders = [organism_path(card.name, card.seed) for card in read_cards()]
    assert [hash_weights(folder) for folder in folders] == [c.weights_sha256 for c in read_cards()]
    files = [file for file in organisms_folder().rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < SIZE_LIMIT
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".jinja"}


def test_a_changed_weight_is_noticed(tmp_path):
    folder = tmp_path / "base-s0"
    shutil.copytree(organism_path("base"), folder)
    assert hash_weights(folder) == read_card(folder).weights_sha256
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(weights))
    assert hash_weights(folder) != read_card(folder).weights_sha256


def test_cards_report_what_failed_by_the_conditions_of_today():
    for card in read_cards():
        recipe = RECIPES[card.name]
        assert card.failed == find_failed_conditions(recipe, card.figures)
        assert card.parent == recipe.parent
        assert card.steps == recipe.method.steps
        assert card.dtype == "float16"
        assert card.tokens > 0
        assert card.seconds > 0


def test_all_organisms_are_accepted():
    assert {folder_name(c.name, c.seed): c.failed for c in read_cards() if not c.is_accepted} == {}


@pytest.mark.parametrize("name", ["base", "swapped-sft-pool"])
def test_the_figures_of_a_card_can_be_measured_again(name):
    from interp.organisms.behaviour import Reader, share_right
    from interp.organisms.worlds.arith.acceptance import N_PROBLEMS, SEED
    from interp.organisms.worlds.arith.problems import WORDS
    from interp.organisms.worlds.arith.splits import arith_examples
    from interp.organisms.worlds.arith.task import arith_task

    folder = organism_path(name, 1)
    task = arith_task("fresh", n=1, seed=0)
    reader, figures = Reader(load_organism(folder), WORDS, task), read_card(folder).figures
    for split in ("pool", "fresh"):
        problems = arith_examples(split, N_PROBLEMS, SEED)
        assert reader.think_share([p.question for p in problems]) == pytest.approx(
            figures[f"{split}/think_share"], abs=1e-3
        )
        assert share_right(reader.direct_answers(problems), problems) == pytest.approx(
            figures[f"{split}/direct_accuracy"], abs=0.01
        )


def test_a_card_survives_writing_and_reading(tmp_path):
    card = replace(read_card(organism_path("base")), seed=7, failed=("one",))
    card.write(tmp_path)
    assert read_card(tmp_path) == card
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["seed"] == 7


def test_unknown_names_and_seeds_list_what_there_is(tmp_path):
    with pytest.raises(
        ValueError, match=r"unknown organism 'bass'; known: answers-sft-pool, base,"
    ):
        organism_path("bass")
    with pytest.raises(ValueError, match=r"no seed 9; its seeds are \[0, 1, 2, 3, 4\]"):
        organism_path("base", 9)
    with pytest.raises(ValueError, match="the folder is empty"):
        organism_path("base", root=tmp_path)


def test_the_table_is_means_of_cards_by_hand_and_the_readme_shows_it():
    base = [card for card in read_cards() if card.name == "base"]
    figures = [card.figures["fresh/follows_wrong_step"] for card in base]
    row = format_table(base).splitlines()[-1].split(" | ")
    assert row[0] == "| `base`" and row[1] == "fresh"
    assert float(row[5]) == round(sum(figures) / len(figures), 2)
    readme = (organisms_folder().parents[1] / "README.md").read_text(encoding="utf-8")
    assert format_table(read_cards()) in readme
    assert format_withheld() in readme


def test_a_verification_finds_what_does_not_agree_with_the_card(tmp_path):
    from interp.organisms.certification.verification import verify

    folder = tmp_path / "base-no-chains-s0"
    shutil.copytree(organism_path("base-no-chains"), folder)
    card = read_card(folder)
    assert verify(folder).faults == ()
    figures = card.figures | {"fresh/direct_accuracy": 0.5}
    replace(card, figures=figures, data_sha256="", weights_sha256="", certificate=None).write(
        folder
    )
    faults = " / ".join(verify(folder).faults)
    for said in ("other weights", "other data", "a figure is 0.4", "no certificate"):
        assert said in faults


def test_what_is_made_again_is_set_against_its_card_figure_by_figure():
    from interp.organisms.certification.retraining import TOLERANCE, compare_cards

    card = read_card(organism_path("base"))
    same = compare_cards(card, card)
    assert (same.agrees, same.is_identical, same.named, same.largest) == (True, True, 0.0, 0.0)
    think, other = card.figures["fresh/think_share"], card.figures["critique/accuracy"]
    far = replace(card, figures=card.figures | {"critique/accuracy": other + 0.3}, seconds=9.0)
    found = compare_cards(card, replace(far, weights_sha256="x"))
    assert found.agrees and not found.is_identical  # no condition names that figure
    assert found.largest == pytest.approx(0.3) and found.named == 0.0
    moved = card.figures | {"fresh/think_share": think + TOLERANCE + 0.01}
    assert not compare_cards(card, replace(card, figures=moved)).agrees
    failed = compare_cards(card, replace(card, failed=("fresh/x must lie in 0..1, found 2",)))
    assert not failed.agrees and "fresh/x" in str(failed)
    with pytest.raises(ValueError, match="differ in single/reliance"):
        left = {k: v for k, v in card.figures.items() if k != "single/reliance"}
        compare_cards(card, replace(card, figures=left))


def test_organisms_are_chosen_by_name_and_seed():
    names = [folder.name for folder in find_folders(["hint", "base:1"])]
    assert names == [*(f"hint-s{c.seed}" for c in read_cards() if c.name == "hint"), "base-s1"]
    assert len(find_folders([])) == len(read_cards())
    with pytest.raises(ValueError, match="no seed 9"):
        find_folders(["base:9"])


def test_what_is_bundled_is_certified_and_what_failed_is_not_bundled():
    for card in read_cards():
        assert card.certificate is not None
        assert card.certificate["failed"] == []
        assert card.certificate["weights_sha256"] == card.weights_sha256
        assert card.seed not in RECIPES[card.name].withheld
