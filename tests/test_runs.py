"""Run folders: resumed to the same bytes, whole or not there, refused where they would lie."""

from __future__ import annotations

import json
import math
import resource
from dataclasses import replace
from pathlib import Path

import pytest

import interp.results.run_folder as runs
from interp.chains.chain import Step
from interp.chains.trace import Trace
from interp.files import write_file
from interp.results.rows import Item, Measurement
from interp.results.run_folder import Part, Run, load_run, read_rows, write_rows
from interp.results.summaries import summarise

MADE_OF = {"models": {"base": {"weights_sha256": "ab"}}, "settings": {"n": 2, "seed": 0}}


def make_items(probe: str = "probe", n: int = 3) -> tuple[Item, ...]:
    values = [0.1, math.nan, 1.0]
    return tuple(
        Item(
            probe=probe, task="t/pool", example=f"e{i}", problem=f"p{i}", condition="cut",
            metric="m", value=values[i % 3], writer="gold", reader="base", step=i,
            note="" if i != 1 else "no \u201cvalue\u201d </script>",
        )
        for i in range(n)
    )  # fmt: skip


def make_rows() -> list[Measurement]:
    return summarise(make_items(), pair="a -> b", chance={"t/pool": 0.1}, seed=0)


def make_trace() -> Trace:
    return Trace(
        "e0", "p0", "t/pool", "gold", "gold", "valid", (1, 2), (Step("a = 1 ;", (3, 4)),),
        "1", (5,), True,
    )  # fmt: skip


def fill(run: Run) -> None:
    part = run.part("probe t/pool", lambda: Part(make_items()))
    run.save_traces([make_trace()])
    run.save_results(part.items, make_rows())


def test_everything_comes_back(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "new" / "run", MADE_OF)
    fill(run)
    data = load_run(run.folder)
    assert repr(data.items) == repr(make_items())
    assert repr(data.rows) == repr(tuple(make_rows()))
    assert data.manifest["models"] == MADE_OF["models"]
    assert data.manifest["versions"]["numpy"] and len(data.manifest["source_sha256"]) == 64
    (trace,) = data.traces
    assert trace["example"] == "e0" and trace["steps"] == ["a = 1 ;"]


def test_examples_come_back(tmp_path: Path) -> None:
    from interp.tasks import make_task

    task = make_task("arith/fresh", n=3, seed=0)
    run = Run.create(tmp_path, MADE_OF)
    fill(run)
    assert load_run(tmp_path).examples == ()
    run.save_examples([task])
    first, *_ = load_run(tmp_path).examples
    assert first["question"] == task.examples[0].question and first["task"] == task.name
    assert first["steps"] == list(task.examples[0].steps)


def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole = Run.create(tmp_path / "whole", MADE_OF)
    fill(whole)
    calls: list[str] = []

    def compute(name: str):
        def work() -> Part:
            calls.append(name)
            if name == "second" and calls.count("second") == 1:
                raise KeyboardInterrupt
            return Part(make_items(name), {"verdict": name, "rates": [0.1, 2]})

        return work

    def attempt(folder: Path) -> bytes:
        run = Run.create(folder, MADE_OF)
        parts = [run.part("first", compute("first")), run.part("second", compute("second"))]
        assert [part.record["verdict"] for part in parts] == ["first", "second"]
        run.save_results([item for part in parts for item in part.items], make_rows())
        return (folder / "items.parquet").read_bytes()

    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path / "stopped")
    with pytest.raises(ValueError, match="not finished"):
        load_run(tmp_path / "stopped")
    created = json.loads((tmp_path / "stopped/manifest.json").read_text())["created"]
    resumed = attempt(tmp_path / "stopped")
    assert calls == ["first", "second", "second"]
    assert resumed == attempt(tmp_path / "fresh")
    assert json.loads((tmp_path / "stopped/manifest.json").read_text())["created"] == created
    assert list((tmp_path / "stopped").rglob(".*")) == []


def test_a_part_comes_back_with_its_record_and_files(tmp_path: Path) -> None:
    record = {"verdict": "no", "part": "a key of its own", "rates": [0.5, None], "depth": {"a": 1}}

    def work() -> Part:
        return Part(make_items(), record, {"w.bin": lambda path: write_file(path, b"weights")})

    run = Run.create(tmp_path, MADE_OF)
    part = run.part("probe t/pool", work)
    again = run.part("probe t/pool", lambda: pytest.fail("computed twice"))
    assert part.record == again.record == record
    assert repr(part.items) == repr(again.items) == repr(make_items())
    assert (tmp_path / "files/w.bin").read_bytes() == b"weights"
    bare = run.part("another", lambda: Part(make_items("another")))
    assert bare.record == {} and {item.probe for item in bare.items} == {"another"}
    run.save_results(part.items, make_rows())
    assert load_run(tmp_path).records == {"probe t/pool": record}


def test_a_part_is_finished_only_when_its_files_are_written(tmp_path: Path) -> None:
    run = Run.create(tmp_path, MADE_OF)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def killed() -> Part:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.part("p", killed)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before

    seen: list[list[Path]] = []

    def write(path: Path) -> None:
        seen.append(list(tmp_path.rglob("parts/*")))
        if len(seen) == 1:
            raise KeyboardInterrupt
        write_file(path, b"weights")

    def work() -> Part:
        return Part(make_items(), {"verdict": "yes"}, {"w.bin": write})

    with pytest.raises(KeyboardInterrupt):
        run.part("p", work)
    assert not list(tmp_path.rglob("*.parquet"))
    part = run.part("p", work)
    assert seen == [[], []], "the part is marked as finished after its files"
    assert part.record == {"verdict": "yes"}
    assert (tmp_path / "files/w.bin").read_bytes() == b"weights"


def test_other_settings_are_refused_and_name_what_differs(tmp_path: Path) -> None:
    fill(Run.create(tmp_path, MADE_OF))
    changed = {**MADE_OF, "settings": {"n": 5, "seed": 0}}
    with pytest.raises(ValueError, match=r"settings\.n: 2 -> 5.*another folder"):
        Run.create(tmp_path, changed)
    Run.create(tmp_path / "another", changed)


def test_other_code_makes_the_parts_again(tmp_path: Path, monkeypatch) -> None:
    run = Run.create(tmp_path, MADE_OF)
    fill(run)
    weights = {"w.bin": lambda path: write_file(path, b"old")}
    run.part("with files", lambda: Part(make_items(), {"verdict": "old"}, weights))
    (tmp_path / "report.html").write_text("old")
    results = {"items.parquet", "measurements.parquet", "report.html"}
    Run.create(tmp_path, MADE_OF)
    assert results <= {path.name for path in tmp_path.iterdir()}
    (tmp_path / "work" / "probe").mkdir(parents=True)
    (tmp_path / "work" / "probe" / "activations").write_text("of the code before")
    monkeypatch.setattr(runs, "_source_sha256", lambda: "other")
    again = Run.create(tmp_path, MADE_OF)
    assert not results & {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="not finished"):
        load_run(tmp_path)
    assert not (tmp_path / "files").exists()
    part = again.part("probe t/pool", lambda: Part(make_items("new")))
    assert {item.probe for item in part.items} == {"new"} and part.record == {}
    again.save_results(part.items, make_rows())
    assert not (tmp_path / "work").exists()
    assert load_run(tmp_path).manifest["source_sha256"] == "other"


def test_source_hash_sees_an_edit(tmp_path: Path, monkeypatch) -> None:
    assert sorted(folder.name for folder in runs._source_folders()) == ["interp", "probes"]
    package = tmp_path / "some_package_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runs, "PACKAGES", ("some_package_of_tests",))
    before = runs._source_sha256()
    (package / "__init__.py").write_text("a = 1\n")
    assert runs._source_sha256() != before


def test_a_strangers_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="'thesis.tex'"):
        Run.create(tmp_path, MADE_OF)
    with pytest.raises(ValueError, match="does not"):
        load_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_unwritable_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written to.*Nothing was computed"):
        Run.create(tmp_path / "file" / "run", MADE_OF)
    if Path("/proc/self").exists():
        with pytest.raises(OSError, match="cannot be written to"):
            Run.create(Path("/proc/posthoc-run"), MADE_OF)


def test_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """A limit on file size makes a real write fail half-way."""
    path = tmp_path / "file.bin"
    write_file(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="Nothing half-written was left"):
            write_file(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    write_file(path, b"x" * 100_000)
    assert path.stat().st_size == 100_000


def test_rows_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(path, Item, make_items())
    with pytest.raises(ValueError, match="another version"):
        read_rows(path, Measurement)
    assert read_rows(path, Item)[0] == make_items()[0]
    write_rows(path, Item, [])
    assert read_rows(path, Item) == ()
    same = tmp_path / "same.parquet"
    write_rows(path, Item, make_items())
    write_rows(same, Item, [replace(item) for item in make_items()])
    assert path.read_bytes() == same.read_bytes()
