"""What the README shows runs, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_of_patching_finds_the_running_value():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    block = next(block for block in blocks if "denoise" in block)
    names: dict[str, Any] = {}
    exec(block, names)
    words = names["model"].tokenizer.convert_ids_to_tokens(names["clean"])
    fractions = names["grid"].recovered_fraction()[0]
    value = max(place for place, word in enumerate(words) if word == "7")
    assert abs(fractions[0, value] - 1) < 0.05 and abs(fractions[-1, -1] - 1) < 0.05
    operand = words.index("3")
    assert abs(fractions[0, operand]) < 0.05
