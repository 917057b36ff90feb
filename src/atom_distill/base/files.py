"""Atomic writes: a file or folder appears complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atom_distill.base.errors import ArtifactError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def expand_home(path: str | Path) -> Path:
    """Return a path with a leading "~" replaced by the home folder, or left as it is where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # otherwise a power cut could leave the new name without content
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; set the mode of a plain open
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; on success it replaces `path`, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.replace(old / "old")
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of atomic writes into `folder` whose process was killed."""
    for leftover in [*folder.glob(".*.part"), *folder.glob(".*.old")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json_as(kind: TypeAdapter[T], path: Path, *, advice: str) -> T:
    """Return the validated content of a JSON file that this package wrote.

    Args:
        kind: expected type of the content.
        path: of the file.
        advice: how to create the file again, e.g. "evaluate again".

    Raises:
        ArtifactError: the content is of another type.
    """
    from pydantic import ValidationError

    try:
        return kind.validate_json(path.read_bytes())
    except ValidationError as error:
        problems = f"{error.error_count()} problems"
        raise ArtifactError(f"{path} is damaged ({problems}); move it away and {advice}") from None


def _umask() -> int:
    mask = os.umask(0)  # the only portable way to read it is to set it
    os.umask(mask)
    return mask
