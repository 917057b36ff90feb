"""How this process uses the processor and its memory: set once, by a program that owns the process."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_SPINS = "10000"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt` (malloc.h)."""
_LARGEST = (1 << 31) - 1


def tune_process(compiled_code: Path | None = None) -> None:
    """Make tensor programs on a CPU faster; call it before torch is loaded. Measured in docs/performance.md.

    It changes the whole process, so the commands and benchmarks call it, and importing the package does not.
    What the user has set in the environment stays.

    Args:
        compiled_code: folder that keeps what torch.compile makes, so that the next process need not compile;
            None leaves torch's choice, a temporary folder.
    """
    # By default idle threads spin long for their next task, which makes everything five times slower where another
    # program wants the cores; a short spin is as fast alone, and yields.
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if compiled_code is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_code))
    keep_freed_memory(mapped_above=_LARGEST, returned_above=_LARGEST)


def keep_freed_memory(*, mapped_above: int, returned_above: int) -> None:
    """Let freed blocks serve again.

    glibc gives each large block back to the system when it is freed; the next one of the same size is then mapped and
    zeroed page by page again, which takes longer than the convolution that fills it. Other C libraries are left alone.

    Args:
        mapped_above: size (bytes) from which a block is mapped on its own and given back when freed.
        returned_above: free bytes at the heap's end from which they are given back.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, mapped_above)
        mallopt(_M_TRIM_THRESHOLD, returned_above)
