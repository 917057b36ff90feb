"""How much memory a piece of work takes at most."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""What Linux wants to hear in clear_refs to begin the peak anew (proc(5))."""
_SECONDS_BETWEEN_LOOKS = 0.02


class PeakMemory:
    """Peak of a device's memory within a `with`: on a GPU what torch holds there, elsewhere all of the process.

    Freed memory that the process holds for later is given back first, so that it does not count. Where the system
    cannot begin anew (not on Linux, or not allowed), it is the peak since the process began.

    Attributes:
        own_mib: the peak without the pages of mapped files, which the system takes back when it wants, MiB.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.own_mib = 0.0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_FORGET_PEAK)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.own_mib = self.mib
            return
        self._done.set()
        self._watch.join()

    @property
    def mib(self) -> float:
        """The peak so far, MiB; pages of mapped files count as long as the system leaves them."""
        if self._device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return _status_bytes("VmHWM") / 2**20

    def _follow(self) -> None:
        """Look now and then: of this peak the system keeps no account."""
        while True:
            self.own_mib = max(self.own_mib, held_bytes() / 2**20)
            if self._done.wait(_SECONDS_BETWEEN_LOOKS):
                return


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
