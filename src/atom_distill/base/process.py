"""The process as a whole: its cores, and its tuning: idle threads, kept memory, compiler cache."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

BRIEF_SPINS = {"GOMP_SPINCOUNT": "10000"}
"""By default idle threads spin for long, which makes everything five times slower when another program needs the cores.
A short spin is as fast on an idle machine. The variable is read when torch is imported."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""
_ALWAYS_ALLOWED = 32 << 20
"""The largest `_M_MMAP_THRESHOLD` that every glibc takes; older ones refuse more."""
_LARGEST = (1 << 31) - 1


_QUOTA_FILES = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Where a container's quota and period of processor time are: in version 2 of control groups, and in version 1."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota()))


def _quota() -> int:
    """Return the cores' worth of time that the container grants, rounded up; as good as no limit where it says none."""
    for paths in _QUOTA_FILES:
        try:
            quota, period = " ".join(Path(path).read_text() for path in paths).split()
            if int(quota) > 0:
                return math.ceil(int(quota) / int(period))
        except (OSError, ValueError):  # none, or "max"
            continue
    return _LARGEST


def tune_process(compiled_code: Path | None = None) -> None:
    """Make tensor programs on a CPU faster; call it before importing torch. Measured in docs/performance.md.

    It changes the whole process, so commands and benchmarks call it, and importing the package does not. Environment
    variables that the user has set are kept.

    Args:
        compiled_code: cache folder of torch.compile, so that the next process need not compile again; None keeps
            torch's default, a temporary folder.
    """
    cache = {} if compiled_code is None else {"TORCHINDUCTOR_CACHE_DIR": str(compiled_code)}
    for name, value in {**BRIEF_SPINS, **cache}.items():
        os.environ.setdefault(name, value)
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
        if not mallopt(_M_MMAP_THRESHOLD, mapped_above):  # unset, the next line would fix it at 128 KiB
            mallopt(_M_MMAP_THRESHOLD, _ALWAYS_ALLOWED)
        mallopt(_M_TRIM_THRESHOLD, returned_above)
