"""Names to things, and what a wrong name is told."""

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


def test_a_name_is_taken_once(shelf):
    with pytest.raises(ValueError, match="tool 'saw' is registered already"):
        shelf.register("saw")(3)
    assert shelf.get("saw") == 1
