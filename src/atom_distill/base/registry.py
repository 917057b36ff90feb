"""Registries: named objects, added by a decorator and looked up by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Generic, TypeVar

from atom_distill.base.errors import UnknownNameError

T = TypeVar("T")


def unknown_name(kind: str, name: str, known: list[str]) -> UnknownNameError:
    """Return the error for an unknown name; its message suggests the nearest known ones."""
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}")


class Registry(Generic[T]):
    """A collection of named objects that is filled by a decorator and suggests a name where a wrong one is given."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its object under `name`.

        Running a definition again, as in a notebook cell, replaces what it registered before.

        Raises:
            ValueError: another object has the name.
        """

        def add(entry: T) -> T:
            if name in self._entries and not _is_redefined(self._entries[name], entry):
                raise ValueError(f"{self.kind} {name!r} is registered already; choose another name")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest ones.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self.names()) from None

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)

    def in_order(self) -> list[str]:
        """Return all names in the order in which they were registered."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def _is_redefined(old: object, new: object) -> bool:
    """Return whether both come from one definition: of one name in one module, or built from such things alike."""
    if hasattr(new, "__qualname__"):
        places = {(getattr(each, "__module__", ""), getattr(each, "__qualname__", id(each))) for each in (old, new)}
        return len(places) == 1
    if type(new).__module__ == "__main__":
        return _is_redefined(type(old), type(new))
    if type(old) is not type(new) or not is_dataclass(new):
        return old == new
    pairs = ((getattr(old, field.name), getattr(new, field.name)) for field in fields(new))
    return all(before == after or _is_redefined(before, after) for before, after in pairs)
