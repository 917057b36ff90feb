"""How much memory a piece of work takes at most."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""What Linux wants to hear in clear_refs to begin the peak anew (proc(5))."""


class PeakMemory:
    """Peak of a device's memory since this was made: on a GPU what torch holds there, elsewhere all of the process.

    Freed memory that the process holds for later is given back first, so that it does not count. Where the system
    cannot begin anew (not on Linux, or not allowed), it is the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(device)
        elif _CLEAR.exists():
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
            with contextlib.suppress(OSError):
                _CLEAR.write_text(_FORGET_PEAK)

    @property
    def mib(self) -> float:
        """The peak so far, MiB; pages of mapped files count as long as the system leaves them."""
        if self._device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return _status_bytes("VmHWM") / 2**20


def held_bytes() -> int:
    """Give what this process holds now, bytes, without the pages of files, which the system can take back."""
    return _status_bytes("RssAnon")


def _status_bytes(field: str) -> int:
    """Read a line of Linux's account of the process; elsewhere, its peak since it began."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
