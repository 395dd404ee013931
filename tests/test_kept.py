"""Kept work: done once, done again when what it is made of differs, found whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interp.results import kept
from interp.results.kept import code_sha256, keep, kept_file


def write(file: Path, numbers: list[int]) -> None:
    file.write_text(json.dumps(numbers))


def read(file: Path) -> list[int]:
    return json.loads(file.read_text())


def test_a_piece_is_computed_once_for_what_it_is_made_of(tmp_path: Path):
    computed: list[int] = []

    def compute() -> list[int]:
        computed.append(1)
        return [*computed]

    def piece(**made_of: int) -> list[int]:
        return keep(kept_file(tmp_path, "a/b c", made_of, ".json"), compute, write, read)

    assert piece(n=1, seed=0) == piece(seed=0, n=1) == [1]
    assert piece(n=2, seed=0) == [1, 1]
    assert piece(n=1, seed=0) == [1]
    assert [file.name[:6] for file in tmp_path.iterdir()] == ["a-b-c-"] * 2


def test_names_that_look_alike_are_kept_apart(tmp_path: Path):
    assert kept_file(tmp_path, "a b", {}) != kept_file(tmp_path, "a-b", {})


def test_a_piece_that_fails_leaves_nothing(tmp_path: Path):
    file = kept_file(tmp_path, "a", {}, ".json")

    def fail() -> list[int]:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        keep(file, fail, write, read)
    assert keep(file, lambda: [3], write, read) == [3]


def test_code_is_what_a_module_imports_however_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {
        "probes/mine.py": "import math\nfrom interp.near import part",
        "probes/other.py": "",
        "interp/near/__init__.py": "",
        "interp/near/part.py": "def f():\n    from interp.far import thing",
        "interp/far.py": "thing = 1\nfrom interp.results.plots import curve",
        "interp/apart.py": "thing = 1",
        "interp/results/plots/__init__.py": "curve = 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(kept, "CODE", tmp_path)

    def checksum() -> str:
        return code_sha256.__wrapped__("probes.mine")

    before = checksum()
    for name in ("interp/apart.py", "probes/other.py", "interp/results/plots/__init__.py"):
        (tmp_path / name).write_text("changed = 1")
        assert checksum() == before
    for name in ("interp/far.py", "interp/near/__init__.py", "interp/near/part.py"):
        (tmp_path / name).write_text("changed = 1")
        assert checksum() != before
        (tmp_path / name).write_text(files[name])
        assert checksum() == before
