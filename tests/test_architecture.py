"""The rules about imports and export lists, read from the source of every module."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ("spaces", "objectives", "search", "studies")
"""Each folder imports from itself and from those to its left."""

SLOW = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}
MODULES = sorted(path for folder in ORDER for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(params=MODULES, ids=name_of)
def module(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Dotted names that these nodes import; `from a import b` counts as `a.b`, for b may be a module."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that their direction shows"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def top_packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below this one that run when the module is imported: no bodies of functions, nothing for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from run_at_import(other)
            continue
        yield child
        yield from run_at_import(child)


def defined_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in run_at_import(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names | {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def export_list(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return None


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(ORDER)


def test_imports_point_one_way(module: Path) -> None:
    own = module.relative_to(ROOT).parts[0]
    allowed = set(ORDER[: ORDER.index(own) + 1])
    ours = {name for name in imported(ast.walk(tree_of(module))) if name.split(".")[0] == "litefront"}
    wrong = {name for name in ours if name.split(".")[1] not in allowed}
    assert not wrong, f"{own} must import from {sorted(allowed)} only"


def test_the_folders_are_imported_by_their_installed_names(module: Path) -> None:
    bare = top_packages(imported(ast.walk(tree_of(module)))) & set(ORDER)
    assert not bare, "a folder is imported as litefront.<folder>"


def test_ray_is_imported_in_one_module(module: Path) -> None:
    if name_of(module) != "search/ray_workers.py":
        assert "ray" not in top_packages(imported(ast.walk(tree_of(module))))


def test_tensorflow_is_imported_inside_functions_only(module: Path) -> None:
    assert not top_packages(imported(run_at_import(tree_of(module)))) & SLOW


def test_the_export_list_is_honest(module: Path) -> None:
    tree = tree_of(module)
    names = export_list(tree) or []
    assert len(names) == len(set(names))
    assert set(names) <= defined_names(tree)


def test_a_module_says_first_why_it_exists(module: Path) -> None:
    tree = tree_of(module)
    assert not tree.body or ast.get_docstring(tree)


def test_the_runner_runs_where_litefront_is_not_installed() -> None:
    packages = top_packages(imported(ast.walk(tree_of(ROOT / "objectives" / "runner.py"))))
    assert packages - set(sys.stdlib_module_names) <= {"numpy", "ai_edge_litert"}
    assert "ai_edge_litert" in packages


@pytest.mark.parametrize(
    "name", ["search.study_file", "search.study_results", "search.front", "search.tiers", "objectives.devices"]
)
def test_what_answers_without_a_run_imports_neither_tensorflow_nor_ray(name: str) -> None:
    code = f"import json, sys, litefront.{name}; print(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    reply = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {module.split(".")[0] for module in json.loads(reply.stdout)} & (SLOW | {"ray"})


# ------------------------------------------------------------------------------- the checks themselves can fail


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import tensorflow as tf", True),
        ("try:\n    from tf_keras import models\nexcept ImportError:\n    pass", True),
        ("class A:\n    import keras", True),
        ("if TYPE_CHECKING:\n    import tensorflow", False),
        ("def f():\n    import tensorflow", False),
        ("class A:\n    def f(self):\n        import tensorflow", False),
    ],
)
def test_an_import_at_module_level_is_seen(source: str, found: bool) -> None:
    assert bool(top_packages(imported(run_at_import(ast.parse(source)))) & SLOW) is found


def test_a_name_that_is_not_defined_is_seen() -> None:
    tree = ast.parse("from a import b as c\nX: int = 1\ndef f(): y = 1\nclass D: pass\n")
    assert defined_names(tree) >= {"c", "X", "f", "D"}
    assert not defined_names(tree) & {"b", "y", "a"}
