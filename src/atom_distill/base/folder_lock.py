"""Locks on folders and files, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock a folder or file until the context, or the process, ends.

    Yields:
        True if it is locked now, False if another process has locked it, and None where nothing can be locked: on
        Windows, and on some network drives.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    held: bool | None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = True
    except BlockingIOError:
        held = False
    except OSError:
        held = None
    try:
        yield held
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for other processes, and threads, that are in a context of the same lock file, which exists meanwhile only.

    Where nothing can be locked, nobody waits.
    """
    descriptor = _waited_for(path)
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _waited_for(path: Path) -> int | None:
    """Return the descriptor of a lock file that is locked, or None where that cannot be done."""
    try:
        import fcntl

        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:  # else who had it before has removed it, and another may be there now
                    return descriptor
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except (ImportError, OSError):
        return None
