"""Every attempt of this process to change a file, seen before it happens (Python's audit events)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NOT_FILES = ("/dev/", "/proc/", "/sys/")
_PATHS = {
    "os.mkdir": slice(1),
    "os.rename": slice(2),
    "os.remove": slice(1),
    "os.rmdir": slice(1),
    "os.link": slice(1, 2),
    "os.symlink": slice(1, 2),
    "os.truncate": slice(1),
}
"""Events, and which of their arguments are paths that change."""

REMOVING = ("os.remove", "os.rmdir")


class Write(NamedTuple):
    """An attempt: the name of the audit event ("open" for a file opened to write), and the absolute paths."""

    event: str
    paths: tuple[str, ...]


def watch_writes(act: Callable[[Write], None]) -> None:
    """Call `act` before each attempt of this process, to its end; an OSError that it raises makes the attempt fail."""
    busy = False  # what `act` does itself is not watched

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy or (event != "open" and event not in _PATHS):
            return
        busy = True
        try:
            paths = _written(event, arguments)
            if paths:
                act(Write(event, paths))
        finally:
            busy = False

    sys.addaudithook(hook)


def _written(event: str, arguments: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the files that an event changes; none if it only reads."""
    paths: tuple[Any, ...]
    if event == "open":
        # A folder is opened for a file without a name, which is gone when it is closed.
        paths = arguments[:1] if arguments[2] & _WRITING and not _is_folder(arguments[0]) else ()
    elif event in ("os.remove", "os.rmdir") and arguments[1] != -1:
        paths = ()  # relative to a folder that `shutil.rmtree` holds open
    else:
        paths = arguments[_PATHS[event]]
    named = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]
    return tuple(os.path.abspath(path) for path in named if not path.startswith(_NOT_FILES))  # noqa: PTH100


def _is_folder(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.path.isdir(path)  # noqa: PTH112
