"""Imports point one way: each module may import only from those before it in the order."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
ORDER = (
    "interp.errors",
    "interp.sites",
    "interp.progress",
    "interp.files",
    "interp.workers",
    "interp.models",
    "interp.interventions",
    "interp.engine",
    "interp.tasks",
    "interp.chains",
    "interp.stats",
    "interp.stats.divergences",
    "interp.stats.proportion_intervals",
    "interp.stats.seeds",
    "interp.stats.resampling",
    "interp.stats.kinds",
    "interp.stats.mean_limits",
    "interp.stats.estimates",
    "interp.stats.auroc",
    "interp.stats.gap_recovered",
    "interp.methods.directions",
    "interp.methods.steering",
    "interp.methods.patching",
    "interp.methods.attention",
    "interp.methods.activation_store",
    "interp.methods.vector_cards",
    "interp.methods.crosscoder",
    "interp.methods.saes",
    "interp.methods.decoding",
    "interp.results.kept",
    "interp.results.rows",
    "interp.results.frames",
    "interp.results.notes",
    "interp.results.worst_case",
    "interp.results.summaries",
    "interp.results.run_folder",
    "interp.results.plots",
    "interp.results.report",
    "interp.organisms",
    "probes",
)
PACKAGES = ("interp", "interp.methods", "interp.results")
"""Packages that hold nothing but others."""


def layer(module: str) -> int:
    found = [n for n, name in enumerate(ORDER) if f"{module}.".startswith(f"{name}.")]
    assert found, f"{module} has no place in the order of layers: add it to ORDER"
    return found[-1]


def imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.append(node.module or "")
    return [name for name in names if name.split(".")[0] in {"interp", "probes"}]


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("interp", "probes"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append((name.removesuffix(".__init__"), path))
    return found


def test_every_import_points_down():
    wrong = []
    for name, path in modules():
        if name in PACKAGES:
            continue
        for used in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if used in PACKAGES:
                wrong.append(f"{name} imports from {used}, which holds only packages")
            elif layer(used) > layer(name):
                wrong.append(f"{name} imports {used}, which comes after it")
    assert not wrong, "\n".join(wrong)


def test_the_rule_would_notice_an_upward_import():
    assert layer("probes.corruption") > layer("interp.chains") > layer("interp.models.hooks")


def test_files_and_functions_stay_under_their_ceilings():
    wrong = []
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            wrong.append(f"{name}: {text.count(chr(10))} lines, ceiling 400")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    wrong.append(f"{name}.{node.name}: {size} lines, ceiling 60")
    assert not wrong, "\n".join(wrong)


def test_hooks_are_registered_in_one_place():
    users = [n for n, path in modules() if "register_forward" in path.read_text(encoding="utf-8")]
    assert users == ["interp.models.hooks"]


def test_no_module_imports_itself_through_others():
    """Also inside a layer, and also through imports inside functions."""
    names = {name: path for name, path in modules()}
    uses = {
        name: {used for used in imports(ast.parse(path.read_text("utf-8"))) if used in names}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for used in sorted(uses[name] - {name}):
                visit(used, (*way, name))
            done.add(name)

    for name in names:
        visit(name, ())
