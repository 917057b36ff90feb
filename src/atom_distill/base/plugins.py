"""Names of a registry, and objects of the user's own modules as "package.module:name"."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, TypeVar, cast

from atom_distill.base.errors import UnknownNameError
from atom_distill.base.registry import Registry

Entry = TypeVar("Entry")


def find(registry: Registry[Entry], name: str, kind: type) -> Entry:
    """Return an entry of a registry, or the object that "package.module:name" names.

    Modules are looked for as Python does, and in the working folder.

    Args:
        registry: of what ships with the package or was registered.
        name: of an entry, or a module and a name in it, joined by a colon.
        kind: class that an imported object must be an instance of, or a callable.

    Raises:
        UnknownNameError: there is no such entry, module or object, or it is of another kind.
    """
    if ":" not in name:
        return registry.get(name)
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownNameError(f"{registry.kind} {name!r} cannot be imported ({error})") from None
    if not isinstance(found, kind):
        raise UnknownNameError(f"{name!r} is no {registry.kind}: it is of type {type(found).__name__}")
    return cast(Entry, found)
