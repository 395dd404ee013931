"""The table of silent failures in tests/README.md: each has a test, and each test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"`(test_\w+)\.py::(test_\w+)`")


def table() -> dict[int, str]:
    """Number of a failure -> its guard, from tests/README.md."""
    rows = ROW.findall((TESTS / "README.md").read_text(encoding="utf-8"))
    assert len({number for number, _, _ in rows}) == len(rows), "a failure is listed twice"
    return {int(number): guard for number, _, guard in rows}


def names(file: str) -> list[str]:
    """The functions of a file of tests."""
    tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_the_table_lists_every_failure_with_a_test():
    rows = table()
    assert sorted(rows) == list(range(1, 25))
    for number, guard in rows.items():
        assert NAME.search(guard), f"row {number}"


def test_every_test_of_the_table_exists():
    for file, name in NAME.findall(" ".join(table().values())):
        assert name in names(file), name


def test_every_numbered_test_is_in_its_row():
    rows = table()
    for name in (name for name in names("test_silent_failures") if re.match(r"test_\d\d_", name)):
        assert f"`test_silent_failures.py::{name}`" in rows[int(name[5:7])], name
