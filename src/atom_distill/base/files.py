"""Atomic writes: a file or folder appears complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atom_distill.base.errors import ArtifactError
from atom_distill.base.folder_lock import locked

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_MAX_PREFIX = 50
"""Characters, of up to 4 bytes, of a path's name in its temporary name."""


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
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        with locked(temporary):
            yield temporary
            _put_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path_alone(path: Path) -> Iterator[Path]:
    """Yield a path as `atomic_path` does, for what writes other files beside its own: in a temporary folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=_prefix(path), suffix=".part") as folder,
        locked(Path(folder)),
    ):
        temporary = Path(folder) / "new"
        yield temporary
        _put_file(temporary, path)


def _put_file(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())  # otherwise a power cut could leave the new name without content
    temporary.chmod(0o666 & ~_umask())  # a temporary file is private; set the mode of a plain open
    temporary.replace(path)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; on success it replaces `path`, on failure it is removed.

    Those that killed processes left behind are removed, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".part"))
    try:
        with locked(temporary):
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            _replace_folder(path, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, new: Path) -> None:
    """Put `new` in the place of `path`, which is there as before if that fails, or else where the error says."""
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".old"))
    kept = old / path.name
    with locked(old):
        try:
            path.replace(kept)
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                kept.replace(path)
            if not path.exists():
                raise OSError(f"{path} cannot be replaced ({error}); what it held is in {kept}") from None
            shutil.rmtree(old, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """Clear away what killed processes left that wrote `path`, which is moved back if it was about to be replaced."""
    prefix = glob.escape(_prefix(path))
    for leftover in [*path.parent.glob(f"{prefix}*.part"), *path.parent.glob(f"{prefix}*.old")]:
        _clear_away(leftover)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of atomic writes into `folder`, but for those that another process has locked.

    A folder that was about to be replaced is moved back. Where nothing can be locked, everything stays.
    """
    for leftover in [*folder.glob(".*.part"), *folder.glob(".*.old")]:
        _clear_away(leftover)


def _clear_away(leftover: Path) -> None:
    """Remove a temporary file or folder unless another process has locked it; what it kept for a name is moved back."""
    with locked(leftover) as abandoned:
        if not abandoned:
            return
        for kept in leftover.glob("*") if leftover.suffix == ".old" else ():
            if not (leftover.parent / kept.name).exists():
                kept.replace(leftover.parent / kept.name)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a path may be no valid text


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
        count = error.error_count()
        problems = f"{count} problem{'' if count == 1 else 's'}"
        raise ArtifactError(f"{path} is damaged ({problems}); move it away and {advice}") from None


def _prefix(path: Path) -> str:
    """Return how the temporary names of a path begin: cut, since a name of 255 bytes cannot become longer."""
    return f".{path.name[:_MAX_PREFIX]}."


def _umask() -> int:
    mask = os.umask(0)  # the only portable way to read it is to set it
    os.umask(mask)
    return mask
