"""Imports go downwards only: read from the source with `ast`, wherever in a file they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "atom_distill"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE
ORACLES = Path(__file__).parent / "oracles"

LEVELS = {
    "base": 0,
    "config": 1,
    "ops": 1,
    "processes": 1,
    "models": 2,
    "data": 2,
    "artifact": 2,
    "training": 3,
    "evaluation": 4,
    "distillation": 5,
    "api": 6,
    "exporting": 6,
    "importing": 6,
    "reproduce": 7,
    "search": 7,
    "report": 7,
    "cli": 8,
}
"""Rooms and their layers; DESIGN's table, kept true in docs/architecture.md."""
NEVER = {("ops", "config"), ("models", "config")}
"""Downwards, and still not allowed: tensors know nothing of settings."""
EDGES = {"api", "cli", "processes"}
"""Rooms that may ask which processes there are; the others are told."""
EXEMPT = {"__init__.py", "__main__.py"}
"""The package's own doors, which may open on any room."""


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of all that `module` imports, function-level and TYPE_CHECKING included."""
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import room` imports a room as `import package.room` does.
            yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def violations(source: str, module: str) -> list[str]:
    """Say which imports of `module` (dotted, e.g. atom_distill.ops.dsa) go up or sideways."""
    room, found = module.split(".")[1], []
    if room not in LEVELS:
        return [f"{module}: the room {room!r} has no layer; give it one in LEVELS and docs/architecture.md"]
    for line, name in imported(ast.parse(source), module):
        parts = name.split(".")
        if parts[0] != PACKAGE or (len(parts) > 1 and parts[1] in (room, "__version__")):
            continue
        target = parts[1] if len(parts) > 1 else ""
        if target not in LEVELS:
            found.append(f"{module}:{line}: {name} is not a room; import from where it lives")
        elif LEVELS[target] >= LEVELS[room] or (room, target) in NEVER:
            found.append(
                f"{module}:{line}: {room} (layer {LEVELS[room]}) imports {target} (layer {LEVELS[target]}): {name}"
            )
    return found


def modules() -> dict[str, Path]:
    paths = (path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE or path.name not in EXEMPT)
    return {".".join([PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts]): path for path in paths}


def test_imports_go_downwards_only():
    assert len(modules()) > 15
    found = [line for name, path in modules().items() for line in violations(path.read_text("utf-8"), name)]
    assert not found, "\n" + "\n".join(found)


def dependencies() -> dict[str, set[str]]:
    """Return which files import which, functions and type checking included; a package's door is not a file."""
    files = {name: path for name, path in modules().items() if path.name != "__init__.py"}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        names = {imported_name for _, imported_name in imported(ast.parse(path.read_text("utf-8")), name)}
        names |= {one.rpartition(".")[0] for one in names}  # `from file import name` imports a file
        found[name] = (names & files.keys()) - {name}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the files that import themselves by way of others."""

    def reaches_itself(start: str) -> bool:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += graph[name]
        return start in seen

    return sorted(filter(reaches_itself, graph))


def test_no_files_import_each_other_in_a_circle():
    graph = dependencies()
    assert sum(map(len, graph.values())) > 300
    assert circle(graph) == []


def test_the_search_for_circles_finds_one_and_lets_a_ladder_pass():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_only_the_edges_ask_which_processes_there_are():
    for name, path in modules().items():
        if name.split(".")[1] not in EDGES:
            assert "current_ranks" not in path.read_text("utf-8"), name


def test_every_room_has_a_docstring_that_names_its_layer():
    for room, level in LEVELS.items():
        door = SOURCE / room / "__init__.py"
        if door.exists():
            assert f"Layer {level}" in (ast.get_docstring(ast.parse(door.read_text("utf-8"))) or ""), door


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param("base.files", "import atom_distill.ops.dsa", id="up"),
        pytest.param("ops.dsa", "from atom_distill.config.distill import X", id="sideways"),
        pytest.param("models.convnet", "from atom_distill.config import X", id="models never see config"),
        pytest.param("data.load", "from atom_distill import models", id="sideways through the package"),
        pytest.param("data.load", "from ..artifact import folder", id="relative"),
        pytest.param("data.load", "from .. import artifact", id="relative through the package"),
        pytest.param(
            "evaluation.evaluate", "def f():\n    from atom_distill.distillation import run", id="in a function"
        ),
        pytest.param(
            "artifact.card",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from atom_distill.data.dataset import X",
            id="for types only",
        ),
        pytest.param("evaluation.a", "import importlib\nimportlib.import_module('atom_distill.api')", id="by name"),
        pytest.param("report.a", "import json, atom_distill.search", id="second in a list"),
        pytest.param("importing.a", "from atom_distill.exporting import b", id="importing to exporting"),
        pytest.param("api", "from atom_distill.cli.main import main", id="api to cli"),
        pytest.param("data.load", "from atom_distill import load_dataset", id="a public name"),
        pytest.param("data.load", "import atom_distill", id="the package"),
        pytest.param("data.load", "from atom_distill.nowhere import x", id="no such room"),
        pytest.param("utils.misc", "import json", id="a room without a layer"),
    ],
)
def test_the_checker_finds(module, source):
    assert len(violations(source, f"{PACKAGE}.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ops.dsa", "import torch\nfrom atom_distill.base.errors import ShapeError"),
        ("ops.matching", "from atom_distill.ops.attention import f\nfrom . import features\nfrom .dsa import augment"),
        ("models.convnet", "from atom_distill.ops.features import Features"),
        ("distillation.run", "from atom_distill.config.distill import X\nfrom ..evaluation import evaluate"),
        ("api", "from atom_distill.distillation import run\nfrom atom_distill.evaluation import evaluate"),
        ("search.trial", "import atom_distill.training.train"),
        ("cli.main", "from atom_distill import __version__, api"),
        ("base.files", "import atom_distillery"),
    ],
)
def test_the_checker_lets_pass(module, source):
    assert violations(source, f"{PACKAGE}.{module}") == []


def test_oracles_import_nothing_from_the_package():
    allowed = {"__future__", "collections", "dataclasses", "math", "numpy", "oracles", "typing"}
    files = sorted(ORACLES.rglob("*.py"))
    assert len(files) > 5
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        roots = {name.split(".")[0] for _, name in imported(tree, f"oracles.{path.stem}")}
        assert roots <= allowed, f"{path.name} imports {sorted(roots - allowed)}"
