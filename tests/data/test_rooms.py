"""Inside the room: sources import the cache, the cache imports the type, and nothing the other way round."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import atom_distill.data

ROOM = Path(atom_distill.data.__file__).parent
PACKAGE = "atom_distill.data"


def imports() -> dict[str, set[str]]:
    """Return the modules of the room that each of its modules imports, wherever in the file, as dotted names."""
    modules = {
        ".".join([PACKAGE, *path.relative_to(ROOM).with_suffix("").parts]): path
        for path in ROOM.rglob("*.py")
        if path.name != "__init__.py"
    }
    found = {}
    for name, path in modules.items():
        statements = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        assert not any(node.level for node in statements), f"{name} has a relative import"
        named = {
            f"{node.module}{end}" for node in statements for end in ("", *(f".{alias.name}" for alias in node.names))
        }
        found[name] = named & modules.keys()
    return found


def test_imports_have_no_circle():
    found = imports()
    assert found[f"{PACKAGE}.load"] >= {f"{PACKAGE}.dataset", f"{PACKAGE}.sources.named"}
    assert list(TopologicalSorter(found).static_order())


def test_imports_go_one_way():
    for name, targets in imports().items():
        rooms = {target.split(".")[2] for target in targets}
        if ".cache." in name:
            assert "sources" not in rooms, name
        elif ".sources." not in name and not name.endswith((".load", ".original")):  # these two say what loads a set
            assert not rooms & {"sources", "cache", "load"}, name
