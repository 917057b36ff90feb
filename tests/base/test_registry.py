"""Registries: registration, look-up, and the message for a wrong name."""

from __future__ import annotations

import pytest

from atom_distill.base.errors import AtomError, UnknownNameError
from atom_distill.base.registry import Registry, unknown_name


@pytest.fixture
def shelf() -> Registry[int]:
    registry: Registry[int] = Registry("tool")
    registry.register("saw")(1)
    registry.register("hammer")(2)
    return registry


def test_registered_things_are_found_by_name(shelf):
    assert shelf.get("saw") == 1
    assert shelf.names() == list(shelf) == ["hammer", "saw"]
    assert "saw" in shelf
    assert "axe" not in shelf


def test_register_gives_the_decorated_object_back():
    registry: Registry[object] = Registry("thing")

    @registry.register("f")
    def f() -> int:
        return 3

    assert f() == 3
    assert registry.get("f") is f


def test_a_near_miss_gets_a_suggestion(shelf):
    with pytest.raises(UnknownNameError, match=r"^unknown tool 'hamer'. Did you mean 'hammer'\? Known: hammer, saw$"):
        shelf.get("hamer")


def test_a_name_far_from_all_gets_the_list_alone(shelf):
    with pytest.raises(UnknownNameError, match=r"^unknown tool 'zzz'. Known: hammer, saw$"):
        shelf.get("zzz")


def test_two_near_names_are_both_suggested():
    error = unknown_name("set", "cifar", ["cifar10", "cifar100", "digits"])
    assert str(error).startswith("unknown set 'cifar'. Did you mean 'cifar10' or 'cifar100'?")


def test_the_error_is_ours_and_a_key_error(shelf):
    with pytest.raises(AtomError):
        shelf.get("zzz")
    with pytest.raises(KeyError):
        shelf.get("zzz")


def test_a_taken_name_is_refused(shelf):
    with pytest.raises(ValueError, match="tool 'saw' is registered already"):
        shelf.register("saw")(3)
    assert shelf.get("saw") == 1


CELL = """
@tools.register("plane")
def plane():
    return {value}


class Chisel:
    size = {value}


tools.register("chisel")(Chisel())
"""


def run_cell(tools: Registry[object], value: int, module: str) -> None:
    exec(CELL.format(value=value), {"__name__": module, "tools": tools})


def test_a_cell_that_is_run_again_replaces_what_it_registered():
    tools: Registry[object] = Registry("tool")
    for value in (1, 2):
        run_cell(tools, value, "__main__")
        assert tools.get("plane")() == tools.get("chisel").size == value
    assert tools.names() == ["chisel", "plane"]


def test_the_same_name_from_another_module_is_refused():
    tools: Registry[object] = Registry("tool")
    run_cell(tools, 1, "some_package.tools")
    for name, entry in {"plane": lambda: 2, "chisel": type("Chisel", (), {})()}.items():
        with pytest.raises(ValueError, match=f"tool '{name}' is registered already; choose another name"):
            tools.register(name)(entry)
    with pytest.raises(ValueError, match="tool 'plane' is registered already"):
        run_cell(tools, 2, "__main__")
    assert tools.get("plane")() == tools.get("chisel").size == 1


def test_another_function_or_instance_of_the_same_module_is_refused():
    tools: Registry[object] = Registry("tool")
    run_cell(tools, 1, "__main__")
    names: dict[str, object] = {"__name__": "__main__"}
    exec("def adze(): pass\nclass Saw: pass", names)
    for name, entry in (("plane", names["adze"]), ("plane", names["Saw"]()), ("chisel", names["Saw"]())):
        with pytest.raises(ValueError, match="registered already"):
            tools.register(name)(entry)
