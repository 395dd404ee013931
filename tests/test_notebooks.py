"""Every notebook runs from start to end; its own assertions are the checks."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
FIGURES = {
    "did_it_pre_exist": 4,
    "quickstart": 4,
    "steer_with_a_feature": 1,
    "what_did_it_learn": 1,
}
"""Fewest figures that each notebook draws."""


def test_there_are_notebooks():
    assert [path.stem for path in SOURCES] == list(FIGURES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own start, not of the notebook
def test_notebook_runs(path):
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    drawn = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(drawn) >= FIGURES[path.stem]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_both_forms_of_a_notebook_hold_the_same_cells(path):
    import jupytext

    text, stored = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in text.cells] == [
        (cell.cell_type, cell.source) for cell in stored.cells
    ]
