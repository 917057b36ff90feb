"""Optional packages: imported where they are used, with a message that says how to install them."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import packages_distributions
from types import ModuleType

from atom_distill.base.errors import MissingExtraError


def is_available(module: str) -> bool:
    """Return whether `module` is installed, without importing it; a mere folder of that name is no package."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return False
    return found is not None and (found.origin is not None or found.submodule_search_locations is None)


def require(module: str, *, extra: str, caller: str) -> ModuleType:
    """Return the imported `module`.

    Raises:
        MissingExtraError: it is not installed or cannot be imported; the message names the extra to install.
    """
    if not is_available(module):
        raise MissingExtraError(
            f"{caller} needs the package {module!r}. Install it with: pip install 'atom-distill[{extra}]'"
        )
    try:
        return importlib.import_module(module)
    except Exception as error:  # e.g. RuntimeError from a torchvision built for another torch
        package = packages_distributions().get(module, [module])[0]
        raise MissingExtraError(
            f"{caller} needs the package {package!r}, which is installed but cannot be imported here "
            f"({type(error).__name__}: {error}). Repair that package or the one named, "
            f"e.g. with: pip install --upgrade {package}"
        ) from error
