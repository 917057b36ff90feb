"""The cache folder, and the temporary folder that takes its place where it cannot be written."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from atom_distill.base.errors import CacheError
from atom_distill.base.progress import note
from atom_distill.base.writable import is_there, write_problem

_ADVICE = "set ATOM_DATA to a folder where you may write"


def cache_root() -> Path:
    """Return the cache folder: the environment variable ATOM_DATA, or the platform's cache folder.

    It is a temporary folder for a user without a home folder, below which the platform's would be.
    """
    return _configured_root() or _temporary_folder()


def writable_cache(*, quiet: bool = False) -> Path:
    """Return the cache folder, or a temporary one where it cannot be written, which is noted once.

    The temporary folder is the same for all processes of a user, so that they find what one of them has cached.

    Args:
        quiet: print no note.

    Raises:
        CacheError: there is no temporary folder either.
    """
    problem = _problem()
    if problem is None:
        return cache_root()
    folder = _temporary_folder()
    if not quiet:
        _note_once(f"{problem}; using {folder}. To keep what is cached, {_ADVICE}")
    return folder


def cache_path(*parts: str) -> Path:
    """Return a place in the cache: where it is cached already, or else where it can be written.

    Args:
        parts: names of folders and of the file or folder, below the cache folder.

    Raises:
        CacheError: it is not cached, and nothing can be written.
    """
    path = cache_root().joinpath(*parts)
    if _problem() is None:
        return path
    return path if is_there(path) and not _is_replaced(*parts) else writable_cache().joinpath(*parts)


def writable(path: Path) -> Path:
    """Return a place in the cache, or the same place in the temporary folder where the cache cannot be written."""
    root = cache_root()
    return writable_cache() / path.relative_to(root) if path.is_relative_to(root) else path


def compiled_code_folder() -> Path | None:
    """Return the cache folder of compiled code; None, which leaves it to torch, where nothing can be written."""
    try:
        return writable_cache(quiet=True) / "compiled"
    except CacheError:
        return None


def make_hub_cache_writable() -> None:
    """Let the Hugging Face client download into this cache if its own folder is missing and cannot be created.

    It decides on its folder when it is imported, so this comes before. Variables that the user has set are kept.
    """
    above = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    own = Path(os.path.expanduser(above)) / "huggingface"  # noqa: PTH111 (as the client does, without a home folder too)
    if "HF_HOME" in os.environ or is_there(own):
        return
    if not own.is_absolute() or write_problem(own) is not None:
        os.environ["HF_HOME"] = str(writable_cache() / "huggingface")


def _is_replaced(*parts: str) -> bool:
    """Return whether there is a later version, which could not be written into the cache."""
    try:
        return is_there(_temporary_folder().joinpath(*parts))
    except CacheError:
        return False


def _configured_root() -> Path | None:
    """Return the cache folder; None if it would be in a home folder and there is none."""
    from platformdirs import user_cache_path

    given = os.environ.get("ATOM_DATA")
    try:
        return Path(given).expanduser().resolve() if given else user_cache_path("atom-distill").expanduser()
    except RuntimeError:
        return None


def _problem() -> str | None:
    """Return why the cache cannot be written; None if it can."""
    root = _configured_root()
    if root is None:
        return "there is no home folder for the cache"
    problem = write_problem(root)
    return problem and f"the cache folder {root} cannot be written ({problem})"


def _temporary_folder() -> Path:
    """Return the user's temporary folder, which nobody else may write to."""
    try:
        return _own_folder(tempfile.gettempdir(), os.geteuid() if hasattr(os, "geteuid") else 0)
    except OSError as error:
        raise CacheError(f"{_problem()}, and neither can a temporary one ({error}); {_ADVICE}") from None


@functools.cache
def _own_folder(parent: str, user: int) -> Path:
    folder = Path(parent) / f"atom-distill-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    # Compiled code is read from there: no other user may have made it, or be able to write to it.
    if folder.is_symlink() or (os.name == "posix" and (state.st_uid != user or state.st_mode & 0o022)):
        return Path(tempfile.mkdtemp(prefix=f"atom-distill-{user}-", dir=parent))
    return folder


@functools.cache
def _note_once(message: str) -> None:
    note(message)
