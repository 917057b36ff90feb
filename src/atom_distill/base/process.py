"""Tuning of the whole process: idle threads, kept memory, compiler cache. For programs, not for importing."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_SPINS = "10000"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""
_LARGEST = (1 << 31) - 1


def tune_process(compiled_code: Path | None = None) -> None:
    """Make tensor programs on a CPU faster; call it before importing torch. Measured in docs/performance.md.

    It changes the whole process, so commands and benchmarks call it, and importing the package does not. Environment
    variables that the user has set are kept.

    Args:
        compiled_code: cache folder of torch.compile, so that the next process need not compile again; None keeps
            torch's default, a temporary folder.
    """
    # By default idle threads spin for long, which makes everything five times slower when another program needs the
    # cores. A short spin is as fast on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if compiled_code is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_code))
    keep_freed_memory(mapped_above=_LARGEST, returned_above=_LARGEST)


def keep_freed_memory(*, mapped_above: int, returned_above: int) -> None:
    """Keep freed memory in the process for the next allocation.

    By default glibc returns each large block to the system when it is freed. The next block of that size is mapped and
    zeroed page by page again, which takes longer than the convolution that fills it. Only glibc is changed.

    Args:
        mapped_above: size of a block from which it is mapped on its own and returned when freed, bytes.
        returned_above: free memory at the end of the heap from which it is returned, bytes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, mapped_above)
        mallopt(_M_TRIM_THRESHOLD, returned_above)
