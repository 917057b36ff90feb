"""Optional packages are imported at the point of use, with a message that says how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from atom_distill.base.errors import MissingExtraError


def is_available(module: str) -> bool:
    """Say whether `module` can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require(module: str, *, extra: str, caller: str) -> ModuleType:
    """Import `module`, or say which extra of atom-distill brings it.

    Raises:
        MissingExtraError: the module is not installed, or is and cannot be imported.
    """
    if not is_available(module):
        raise MissingExtraError(
            f"{caller} needs the package {module!r}. Install it with: pip install 'atom-distill[{extra}]'"
        )
    try:
        return importlib.import_module(module)
    except Exception as error:  # torchvision beside another torch than its own dies of a RuntimeError
        raise MissingExtraError(
            f"{caller} needs the package {module!r}, which is installed but cannot be imported here "
            f"({type(error).__name__}: {error}). Repair that package or the one named, "
            f"e.g. with: pip install --upgrade 'atom-distill[{extra}]'"
        ) from error
