"""Locks on folders, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[bool | None]:
    """Lock a folder until the context, or the process, ends.

    Args:
        folder: any that exists.
        wait: whether to wait until no other process has it locked.

    Yields:
        True if it is locked now, False if another process has locked it, and None where folders cannot be locked: on
        Windows, and on some network drives.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    held: bool | None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = True
    except BlockingIOError:
        held = False
    except OSError:
        held = None
    try:
        yield held
    finally:
        os.close(descriptor)
