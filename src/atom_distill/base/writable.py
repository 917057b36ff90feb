"""Whether a place can be written to, asked before the work whose result goes there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import note


def write_problem(folder: Path) -> str | None:
    """Return why no file can be created in a folder, which need not exist yet; None if one can.

    A file is really created: the mode of a folder tells little about network drives and read-only file systems.
    """
    existing = next((place for place in (folder, *folder.parents) if is_there(place)), Path())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return error.strerror or str(error)


def require_writable(path: Path, argument: str) -> None:
    """Make sure that a file or folder can be created at a path, or replaced if it is there.

    Args:
        path: what is going to be written.
        argument: the name of the argument that says where, for the message.

    Raises:
        ConfigError: it cannot be written.
    """
    folder = path if is_there(path) and path.is_dir() else path.parent
    problem = write_problem(folder)
    if problem is not None:
        raise ConfigError(f"{path} cannot be written ({problem}): give another place with `{argument}`")


@contextlib.contextmanager
def noting_failure(folder: Path, what: str) -> Iterator[None]:
    """Print a note if `what` cannot be written into `folder`, for results that are shown to the user anyway."""
    try:
        yield
    except OSError as error:
        note(f"{folder} cannot be written ({error.strerror or error}): {what} is not kept there")


def is_there(path: Path) -> bool:
    """Return whether a file or folder exists and can be seen; unlike `Path.exists`, this never raises."""
    try:
        return path.exists()
    except OSError:
        return False
