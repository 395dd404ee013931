"""What calibration makes of a model beside itself, and which code an item is made by."""

import math

from interp.results.rows import Item
from probes.calibration import scores
from probes.calibration.scores import NULL, _against_itself


def test_a_number_against_none_is_no_equality():
    def items(*values):
        return [
            Item("p", "gold", reader, "t", "e", "e", "c", "m", value)
            for reader, value in zip(("base", "post"), values, strict=True)
        ]

    nan = float("nan")
    assert _against_itself(items(0.5, 0.5)) == 0
    assert _against_itself(items(0.5, nan)) == _against_itself(items(nan, 0.5)) == float("inf")
    assert _against_itself(items(nan, nan)) != 0


def test_a_pair_is_set_against_its_base_with_itself():
    """By counterpart where there is one; differences against 0; a refusal finds no difference."""

    def item(reader, writer, value, metric="m", note=""):
        return Item("p", writer, reader, "t", "e", "e", "c", metric, value, note=note)

    pair = [item("base", "base", 0.9), item("post", "base", 0.1)]
    null = [item(f"{NULL}base", "base", 0.5), item(f"{NULL}post", "post", 0.25)]
    lone = item(f"{NULL}base", "post", 0.7)
    assert _against_itself([*pair, *null, lone]) == 0.25
    gain = [item("base", "base", 1.0, "gain"), item(f"{NULL}base", "base", -0.5, "gain")]
    assert _against_itself(gain) == 0.5
    nan = float("nan")
    same = item(f"{NULL}base", "base", nan, note="a -> a do not differ at blocks.1.hook_resid_post")
    assert _against_itself([*pair, same]) == 0
    failed = item(f"{NULL}base", "base", nan, note="a context of 256 tokens is too short")
    assert math.isnan(_against_itself([*pair, failed]))
    assert math.isnan(_against_itself([*pair, lone]))


def test_code_is_what_a_probe_imports_however_far_away(tmp_path, monkeypatch):
    files = {
        "probes/mine.py": "import math\nfrom interp.near import part",
        "probes/other.py": "",
        "interp/near/__init__.py": "",
        "interp/near/part.py": "def f():\n    from interp.far import thing",
        "interp/far.py": "thing = 1",
        "interp/apart.py": "thing = 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(scores, "CODE", tmp_path)

    def found():
        return scores._code_sha256.__wrapped__("mine")

    before = found()
    for name in ("interp/apart.py", "probes/other.py"):
        (tmp_path / name).write_text("changed = 1")
        assert found() == before
    for name in ("interp/far.py", "interp/near/__init__.py", "interp/near/part.py"):
        (tmp_path / name).write_text("changed = 1")
        assert found() != before
        (tmp_path / name).write_text(files[name])
        assert found() == before
