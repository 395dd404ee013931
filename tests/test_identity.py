"""Identity: a run and kept work are never taken up again under other inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import save_tiny
from test_runs import MADE_OF, fill, make_trace

from interp.methods.activation_store import capture
from interp.models import load_model
from interp.models.identity import describe_model, hash_folder
from interp.organisms.training.making import PARENT, is_current
from interp.organisms.zoo import CARD_FILE, organism_path
from interp.results.run_folder import Run
from interp.sites import Site
from probes.audit.run import AuditSettings, audit, describe_run
from probes.predictions import MADE_OF as PREDICTIONS_MADE_OF
from probes.predictions import predict

SETTINGS = AuditSettings(
    tasks=("arith/fresh",), n=3, probes=("early_answering",), writers=("gold",)
)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def swap_ids(folder: Path) -> None:
    def swap(content: dict[str, Any]) -> None:
        words = content["model"]["vocab"]
        words["3"], words["4"] = words["4"], words["3"]

    edit(folder / "tokenizer.json", swap)


def change_rotation(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["rope_parameters"]["rope_theta"] /= 50

    edit(folder / "config.json", change)


def add_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def change_norm(folder: Path) -> None:
    edit(folder / "config.json", lambda content: content.update(rms_norm_eps=1e-3))


def change_added_token(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda c: c["added_tokens"][0].update(lstrip=True))


CHANGES = {
    "config_sha256": (change_rotation, change_norm),
    "tokenizer_sha256": (swap_ids, add_template, change_added_token),
}


@pytest.mark.parametrize(
    ("field", "change"), [(field, one) for field, some in CHANGES.items() for one in some]
)
def test_a_changed_file_changes_the_identity_and_nothing_else_of_it(
    field: str, change: Callable[[Path], None], tmp_path: Path
):
    folder = save_tiny(tmp_path / "model")
    before, files = describe_model(load_model(folder)), hash_folder(folder)
    change(folder)
    after = describe_model(load_model(folder))
    assert {name for name in before if before[name] != after[name]} == {field}
    assert hash_folder(folder) != files


def test_files_written_anew_or_elsewhere_are_the_same_model(tmp_path: Path):
    folder = save_tiny(tmp_path / "a" / "model")
    model = load_model(folder)
    before = describe_model(model)
    model.tokenizer(["3 + 4", "3"], padding=True, truncation=True, max_length=2)  # leaves a state
    assert describe_model(model) == before
    shutil.copytree(folder, tmp_path / "b" / "model")
    other = tmp_path / "b" / "model"
    edit(other / "config.json", lambda content: content.update(transformers_version="4.0"))
    assert describe_model(load_model(other)) == before
    assert hash_folder(folder) == hash_folder(shutil.copytree(folder, tmp_path / "c"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_rotation, "models.base.config_sha256: "),
        (swap_ids, "models.base.tokenizer_sha256: "),
    ],
)
def test_a_run_goes_on_only_with_the_inputs_that_it_began_with(
    change: Callable[[Path], None], named: str, tmp_path: Path
):
    folder = save_tiny(tmp_path / "model")
    audit({"base": load_model(folder)}, SETTINGS, tmp_path / "run")
    items = (tmp_path / "run" / "items.parquet").read_bytes()
    again = audit({"base": load_model(folder)}, SETTINGS, tmp_path / "run")
    assert again.items and (tmp_path / "run" / "items.parquet").read_bytes() == items
    change(folder)
    with pytest.raises(ValueError, match=named) as told:
        audit({"base": load_model(folder)}, SETTINGS, tmp_path / "run")
    assert "weights_sha256" not in str(told.value) and "another folder" in str(told.value)
    assert (tmp_path / "run" / "items.parquet").read_bytes() == items
    audit({"base": load_model(folder)}, SETTINGS, tmp_path / "other")
    assert (tmp_path / "other" / "items.parquet").read_bytes() != items


def write_gsm8k(folder: Path, answer: int) -> None:
    folder.mkdir(exist_ok=True)
    line = {"question": "What is 3 + 4?", "answer": f"3 + 4 = {answer}\n#### {answer}"}
    (folder / "test.jsonl").write_text(json.dumps(line) + "\n")


def test_questions_are_known_by_their_content_and_not_by_the_path_of_their_file(
    tiny: Any, tmp_path: Path
):
    settings = AuditSettings(tasks=("gsm8k",), n=1, probes=("accuracy",), data=str(tmp_path / "d"))
    write_gsm8k(tmp_path / "d", 7)
    before = describe_run({"base": tiny}, settings)
    assert describe_run({"base": tiny}, settings) == before
    Run.create(tmp_path / "run", before)
    write_gsm8k(tmp_path / "d", 8)
    with pytest.raises(ValueError, match=r"examples\.gsm8k: \w{8}\.\.\. -> \w{8}\.\.\."):
        Run.create(tmp_path / "run", describe_run({"base": tiny}, settings))


def test_the_default_folder_is_another_one_for_other_inputs(tmp_path: Path):
    from probes.cli.console import name_folder

    folder = save_tiny(tmp_path / "model")
    names = set[Path]()
    for change in (lambda _: None, change_rotation, swap_ids):
        change(folder)
        names.add(name_folder(["m"], describe_run({"base": load_model(folder)}, SETTINGS)))
    assert len(names) == 3


def test_a_run_goes_on_only_with_the_chains_that_it_began_with(tmp_path: Path):
    run = Run.create(tmp_path, MADE_OF)
    fill(run)
    run.save_traces([make_trace()])
    kept = (tmp_path / "traces.jsonl").read_bytes()
    (tmp_path / "traces.jsonl").write_bytes(kept.replace(b"a = 1", b"a = 2"))
    with pytest.raises(ValueError, match=r"traces\.jsonl holds other chains"):
        run.save_traces([make_trace()])


def test_an_sae_that_a_setting_names_belongs_to_the_run(tiny: Any, tmp_path: Path):
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "cfg.json").write_text("{}")
    (tmp_path / "sae" / "sae_weights.safetensors").write_bytes(b"a")
    options = (("sae_transfer", (("sae", str(tmp_path / "sae")),)),)
    settings = AuditSettings(("arith/fresh",), 2, ("sae_transfer",), ("gold",), options=options)
    before = describe_run({"base": tiny}, settings)["files"]
    (tmp_path / "sae" / "sae_weights.safetensors").write_bytes(b"b")
    assert describe_run({"base": tiny}, settings)["files"] != before


def test_a_control_donor_belongs_to_the_run(tiny: Any, tmp_path: Path):
    donor = save_tiny(tmp_path / "donor", seed=3)
    options = (("cross_patching", (("control", str(donor)),)),)
    settings = AuditSettings(("arith/fresh",), 2, ("cross_patching",), ("gold",), options=options)
    before = describe_run({"base": tiny}, settings)["files"]
    change_rotation(donor)
    assert describe_run({"base": tiny}, settings)["files"] != before


def test_a_capture_goes_on_only_with_the_configuration_that_it_began_with(tmp_path: Path):
    folder = save_tiny(tmp_path / "model")
    asked = ([[5, 6, 7]], [Site(1, "resid_post")], tmp_path / "store")
    capture({"base": load_model(folder)}, *asked)
    capture({"base": load_model(folder)}, *asked)
    change_rotation(folder)
    with pytest.raises(ValueError, match=r"models\.0\.config_sha256: \w{8}"):
        capture({"base": load_model(folder)}, *asked)


def test_a_kept_organism_is_current_only_if_its_recipe_data_and_parent_are(tmp_path: Path):
    for name in ("base-s0", "grpo-s0"):
        shutil.copytree(organism_path(name[:-3]), tmp_path / name)
    base, child = tmp_path / "base-s0", tmp_path / "grpo-s0"
    assert is_current(base) and is_current(child)
    card = (base / CARD_FILE).read_text()
    for field, value in {"data_sha256": "x", "weights_sha256": "x", "recipe": {}}.items():
        edit(base / CARD_FILE, lambda c, f=field, v=value: c.update({f: v}))
        assert not is_current(base)
        (base / CARD_FILE).write_text(card)
    edit(child / CARD_FILE, lambda c: c["extra"].update({PARENT: "other weights"}))
    assert is_current(base) and not is_current(child)
    assert not is_current(tmp_path / "absent")


def test_a_table_of_predictions_is_not_replaced_by_one_of_fewer_problems(tmp_path: Path):
    predict(tmp_path, (1,), 5, keep=tmp_path / "keep", predictions=())
    assert json.loads((tmp_path / PREDICTIONS_MADE_OF).read_text())["n"] == 5
    predict(tmp_path, (1,), 5, keep=tmp_path / "keep", predictions=())
    with pytest.raises(ValueError, match="n: 5 -> 6"):
        predict(tmp_path, (1,), 6, keep=tmp_path / "keep", predictions=())
