"""Other commands that compute on this machine: each locks a file of its own in the cache as long as it lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from atom_distill.base.cache_folder import writable_cache
from atom_distill.base.errors import CacheError
from atom_distill.base.progress import is_main_process, note


@contextmanager
def announced(command: str) -> Iterator[None]:
    """Let others see that this process computes, and note if one of them does already on the same cores.

    Nothing happens where files cannot be written or locked, and in processes that do not print.

    Args:
        command: its name.
    """
    if not is_main_process():
        yield
        return
    with _locked_file(command):
        for other in _others():  # after the lock: of two that start together, one at least sees the other
            note(
                f"atom {other} is computing on this machine, too: they share its cores, and a distillation, whose "
                "threads wait for each other, can become several times slower"
            )
        yield


def _folder() -> Path:
    return writable_cache(quiet=True) / "running"


def _own() -> Path:
    return _folder() / f"{host()}.{os.getpid()}"


def host() -> str:
    """Return the name of this machine: others may share the cache."""
    return "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())


def _cores() -> set[int]:
    """Return the cores that this process may use, which `taskset` restricts; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _others() -> list[str]:
    """Return the commands of other processes that live and share cores; files of those that are dead are removed."""
    found = []
    with suppress(OSError, CacheError):
        for path in sorted({*_folder().glob(f"{host()}.*")} - {_own()}):
            with suppress(OSError), path.open("r+") as file:
                if _lock(file):
                    path.unlink()
                    continue
                command, _, cores = file.read().partition("\n")
                theirs = {int(core) for core in cores.split()}
                if not (theirs and _cores()) or theirs & _cores():
                    found.append(f"{command} (process {path.suffix[1:]})")
    return found


@contextmanager
def _locked_file(command: str) -> Iterator[None]:
    """Hold the lock of this process's file, which the system releases however the process ends."""
    with ExitStack() as kept:
        with suppress(OSError, CacheError):
            path = _own()
            path.parent.mkdir(parents=True, exist_ok=True)
            hidden = path.with_name(f".{path.name}")
            kept.callback(_remove, path)
            kept.callback(_remove, hidden)
            file = kept.enter_context(hidden.open("wb", buffering=0))
            file.write("\n".join([command, *map(str, sorted(_cores()))]).encode())
            _lock(file)
            hidden.replace(path)  # it appears when it is locked, or others would take it for that of a dead process
        yield


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _lock(file: IO[Any]) -> bool:
    """Return whether this process could lock a file, which another has not locked.

    Raises:
        OSError: nothing can be locked there, as on some network drives.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where nothing is noted
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
